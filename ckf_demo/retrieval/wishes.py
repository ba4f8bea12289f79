"""How well each item of a catalogue fits a taste sentence."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cachetools import LRUCache

from ckf_demo.data.prepared import Prepared
from ckf_demo.retrieval.reading import Reader, Reading, Wish
from ckf_demo.retrieval.terms import FULFILLED, THEME, Lexicon
from ckf_demo.retrieval.texts import TextIndex, standardised
from ckf_demo.runtime.assets import asset

TONES = frozenset(asset("film_themes.toml")["tone"])

WEIGHT, TONE_WEIGHT = 8.0, 4.0
"""What a fulfilled wish is worth, and one for a tone, in standard deviations of similarity: a
constraint that some items fulfil comes before all likeness."""

SEVERAL = 0.05
"""Bonus of an item that fulfils a second of several alternatives."""

RULED_OUT = 0.6
"""An item with at least this fit to an unwanted term is ruled out."""

NEAR = 0.35
"""Least cosine of the nearest item of a sentence that names nothing and has only its meaning."""

SIMILARITY_EVIDENCE = 0.25
"""What a standard deviation of similarity says beside fulfilling all wishes, which says 1."""

NAMED_LIKED, NAMED_DISLIKED = 4.5, 2.0
"""Stars that "like Casablanca" and "nothing like Casablanca" say of Casablanca."""

REMEMBERED = 64
"""Sentences whose scores are kept."""


@dataclass(frozen=True)
class TextMatch:
    """A sentence held against a catalogue of I items.

    ``fits`` is float32 (groups, I), how well each item fulfils each group of wishes, ``weights``
    (groups,) what they are worth, and ``similarity`` float32 (I,) how alike its text is, in
    standard deviations. ``ruled_out`` is bool (I,): what the sentence does not want, and ``named``
    bool (I,) the items that it names itself, which are not proposed.
    """

    reading: Reading
    fits: np.ndarray
    weights: np.ndarray
    similarity: np.ndarray
    ruled_out: np.ndarray
    named: np.ndarray

    @cached_property
    def scores(self) -> np.ndarray:
        """One number for each item, float32 (I,); ruled-out items are below all others."""
        scores = self.weights @ self.fits + self.similarity
        if self.excluded.any():
            scores = scores - np.where(self.excluded, np.ptp(scores) + WEIGHT, 0)
        return scores.astype(np.float32)

    @property
    def excluded(self) -> np.ndarray:
        """Items that are not proposed: bool (I,)."""
        return self.ruled_out | self.named

    @property
    def fulfilling(self) -> np.ndarray:
        """Items that fulfil every wish but those for a tone, and no unwanted one: bool (I,)."""
        named = self.fits[self.weights == WEIGHT]
        return (named >= FULFILLED).all(axis=0) & ~self.excluded

    @property
    def share(self) -> np.ndarray:
        """The share of the wishes that each item fulfils, by weight: float32 (I,)."""
        if not len(self.weights):
            return np.where(self.ruled_out, 0, 1).astype(np.float32)
        return np.where(self.ruled_out, 0, self.weights @ self.fits / self.weights.sum())

    @cached_property
    def features(self) -> np.ndarray:
        """What the words say of every item, as collaborative knowledge reads it: float32 (I, 3)."""
        fit = 2 * self.share - 1 if len(self.weights) else np.zeros(len(self.ruled_out))
        return np.stack([fit, self.similarity, self.ruled_out], axis=1).astype(np.float32)

    @property
    def opinions(self) -> list[tuple[int, float]]:
        """Items that the sentence names, each with the stars that it says of it."""
        reading = self.reading
        stars = [(reading.like, NAMED_LIKED), (reading.unlike, NAMED_DISLIKED)]
        return [(wish.like[0], value) for wishes, value in stars for wish in wishes]

    @cached_property
    def evidence(self) -> np.ndarray:
        """For or against each item, about −2 to 2: float32 (I,), for stars and probabilities."""
        named = 2 * self.share - 1 if len(self.weights) else np.where(self.ruled_out, -1, 0)
        return (named + SIMILARITY_EVIDENCE * self.similarity).astype(np.float32)

    def messages(self, things: str) -> list[str]:
        """What the catalogue cannot answer, in sentences; ``things`` is the word for items."""
        reading = self.reading
        lines = [f"Nothing here is by or with {name}." for name in reading.absent]
        if reading.groups and not self.fulfilling.any():
            wishes = " and ".join(" or ".join(w.name for w in group) for group in reading.groups)
            lines.append(f"No {things} here fulfil all of it: {wishes}. The nearest come first.")
        if reading.not_understood:
            words = ", ".join(f"“{word}”" for word in reading.not_understood)
            lines.append(f"Not understood: {words}.")
        return lines


class TasteMatcher:
    """Reads sentences and scores the catalogue of a data set by them."""

    def __init__(self, prepared: Prepared, device: str = "cpu"):
        self.prepared = prepared
        self.index = TextIndex(prepared, device)
        self._matches: LRUCache[str, TextMatch | None] = LRUCache(REMEMBERED)

    @cached_property
    def reader(self) -> Reader:
        """Reads sentences in the catalogue's terms."""
        return Reader(Lexicon(self.prepared), self.index.vocabulary)

    def match(self, sentence: str) -> TextMatch | None:
        """Hold a sentence against the catalogue; None where it says nothing about items."""
        if sentence not in self._matches:
            self._matches[sentence] = self._match(sentence)
        return self._matches[sentence]

    def _match(self, sentence: str) -> TextMatch | None:
        reading = self.reader.read(sentence)
        if reading.empty or (reading.only_meaning and not self._is_near(reading)):
            return None
        n = self.prepared.n_items
        fits = np.array([self._group_fit(group) for group in reading.groups], np.float32)
        weights = [TONE_WEIGHT if self._is_tone(group) else WEIGHT for group in reading.groups]
        ruled_out, named = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        for wish in reading.unwanted:
            ruled_out |= wish.fit >= RULED_OUT
        parts = []
        wanted = " ".join([*map(self._content, reading.groups), reading.remainder])
        if wanted.strip():
            parts.append(self.index.similarity(wanted, reading.remainder))
        for wish in (*reading.like, *reading.unlike):
            # of several films of that title, the first
            near = self.index.similarity_to_item(wish.like[0])
            parts.append(near if wish.wanted else -near)
            named[list(wish.like)] = True
        if reading.unwanted_remainder:
            parts.append(-self.index.similarity(*[reading.unwanted_remainder] * 2))
        similarity = standardised(np.sum(parts, axis=0)) if parts else np.zeros(n, np.float32)
        weighted = np.array(weights, np.float32)
        return TextMatch(reading, fits.reshape(-1, n), weighted, similarity, ruled_out, named)

    @staticmethod
    def _is_tone(group: tuple[Wish, ...]) -> bool:
        return all(term.name in TONES for wish in group for term in wish.terms)

    @staticmethod
    def _content(group: tuple[Wish, ...]) -> str:
        """The words of a group that speak of contents: not of people, places of origin or years."""
        return " ".join(
            f"{wish.words} {wish.name}"
            for wish in group
            if any(term.kind == THEME for term in wish.terms)
        )

    def _is_near(self, reading: Reading) -> bool:
        """Whether words that name nothing are near any item, and most of them known."""
        words = f"{reading.remainder} {reading.unwanted_remainder}".strip()
        known = len(words.split()) > len(reading.not_understood)
        return known and float(self.index.by_meaning(words).max()) >= NEAR

    @staticmethod
    def _group_fit(group: tuple[Wish, ...]) -> np.ndarray:
        fits = np.stack([wish.fit for wish in group])
        best = fits.max(axis=0)
        return best + SEVERAL * (fits.sum(axis=0) - best) / len(group)
