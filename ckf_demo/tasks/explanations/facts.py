"""The facts that explain why a film suits a person.

MovieLens has no reviews, so the texts that the explanation adapter learns from are composed of
facts that code has checked. `gather` chooses at most two films of the history and what ties them to
the candidate; it is deterministic, so that the model can learn which. `Facts.line` writes those
facts compactly, in the prompt of training and serving, and `ckf_demo.tasks.explanations.wording`
puts exactly them into one to three sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

from ckf_demo.data.sources import movielens100k

Polarity = Literal["positive", "mixed", "negative"]
CoLikedItems = Callable[[str, str], bool]

POSITIVE_FROM = 3.75
"""Ratings from here on call for a positive text."""
MIXED_FROM = 2.75
"""Ratings from here up to `POSITIVE_FROM` call for a mixed text, lower ones for a negative text."""
LIKED_FROM = 4.0
"""A film of the history counts as liked from this rating on (the same line as the CTR label)."""
LOW_UP_TO = 2.5
"""A film of the history counts as disliked up to this rating."""
TITLES_UP_TO = 48
"""Two films of the history are named only where all titles have no more characters than this."""

VERDICTS: dict[Polarity, str] = {"positive": "good", "mixed": "mixed", "negative": "poor"}

GENRES = movielens100k.GENRES[1:]
"""MovieLens' genre labels, for reading a taste line and for naming genres in the checker."""

_NO_GENRE = ("unknown", "(no genres listed)")


@dataclass(frozen=True)
class Film:
    """A film as the prompt shows it: the title without its year, None for an unknown year.

    The other fields are as in `ckf_demo.data.item_facts.ItemFacts`, empty where nothing is known.
    """

    item: str
    title: str
    year: int | None
    genres: tuple[str, ...]
    directors: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    description: str = ""

    @property
    def people(self) -> tuple[str, ...]:
        """Who made it and who plays in it."""
        return self.directors + self.actors

    @property
    def decade(self) -> int | None:
        """First year of the decade, 1990 for 1995; None when the year is unknown."""
        return None if not self.year else self.year - self.year % 10

    @property
    def labels(self) -> tuple[str, ...]:
        """The genres that say something: without the data's placeholder for "unknown"."""
        return tuple(g for g in self.genres if g and g.lower() not in _NO_GENRE)


@dataclass(frozen=True)
class Tie:
    """What joins one film of the history to the candidate.

    `genres` are shared, `decade` is the decade of both, `fans` says that the same people like both,
    `different` that the two have no genre in common. None of them set: nothing can be said.
    """

    film: Film
    rating: float
    genres: tuple[str, ...] = ()
    decade: int | None = None
    fans: bool = False
    different: bool = False

    @property
    def kind(self) -> str:
        """Which wordings apply: letters of g(enre), f(ans), d(ecade); x: different; n: nothing."""
        if self.different:
            return "x"
        letters = [("g", bool(self.genres)), ("f", self.fans), ("d", self.decade is not None)]
        return "".join(letter for letter, there in letters if there) or "n"

    @property
    def liked(self) -> bool:
        return self.rating >= LIKED_FROM

    def single(self) -> Tie:
        """The tie cut down to one fact, for texts that name two films."""
        if self.genres:
            return Tie(self.film, self.rating, genres=self.genres[:1])
        if self.fans:
            return Tie(self.film, self.rating, fans=True)
        return Tie(self.film, self.rating, decade=self.decade, different=self.different)

    @property
    def note(self) -> str:
        """The tie in the fact line: `Fargo (you 5; Crime, Drama; same fans)`."""
        parts = [
            f"you {number(self.rating)}",
            ", ".join(self.genres),
            "same fans" if self.fans else "",
            "" if self.decade is None else f"{self.decade}s",
            "no shared genre" if self.different else "",
        ]
        return f"{self.film.title} ({'; '.join(filter(None, parts))})"


@dataclass(frozen=True)
class Wish:
    """What the taste line says of a genre: wanted and there, avoided but there, or missing."""

    kind: Literal["wanted", "avoided", "missing"]
    genre: str

    @property
    def note(self) -> str:
        verb = {"wanted": "asked for", "avoided": "avoids", "missing": "misses"}[self.kind]
        return f"{verb} {self.genre}"


@dataclass(frozen=True)
class Facts:
    """Everything that one explanation may say beside the candidate's own title, year and genres."""

    candidate: Film
    polarity: Polarity
    ties: tuple[Tie, ...] = ()
    wish: Wish | None = None

    @cached_property
    def line(self) -> str:
        """The facts in about 15 to 40 tokens, as they stand in the prompt."""
        notes = [tie.note for tie in self.ties] or ["none"]
        if self.wish is not None:
            notes.append(self.wish.note)
        return f"Ties: {' | '.join(notes)}. Verdict: {VERDICTS[self.polarity]}."

    @property
    def evidence(self) -> list[Film]:
        return [tie.film for tie in self.ties]


def polarity_for(rating: float) -> Polarity:
    """The tone that a rating on the scale 1–5 calls for."""
    if rating >= POSITIVE_FROM:
        return "positive"
    return "mixed" if rating >= MIXED_FROM else "negative"


def number(rating: float) -> str:
    """A rating as it is written: "5", "4.5"."""
    return f"{rating:g}"


# Choosing the facts


def gather(
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    taste: str | None = None,
) -> Facts:
    """The most convincing true facts for the polarity of ``rating``.

    ``history`` are the films that the prompt shows with the person's ratings (1–5), oldest first,
    and ``rating`` (1–5) is the true one in training, else the predicted one. ``liked_together``
    says whether the same people like two items, by their ids; ``taste`` is the person's line.
    """
    polarity = polarity_for(rating)
    wish = _wish(taste, candidate, polarity)
    # A title that equals the candidate's (a remake) could not be told apart in the text.
    shown = [(f, r) for f, r in history if f.title != candidate.title]
    if not shown:
        return Facts(candidate, polarity, (), wish)
    telling = _telling_decade(shown, candidate)
    ties = [tie_between(film, given, candidate, liked_together, telling) for film, given in shown]
    scores = [_closeness(tie) + 1e-3 * place / len(shown) for place, tie in enumerate(ties)]
    # the most convincing first
    ranked = [ties[i] for i in sorted(range(len(ties)), key=lambda i: -scores[i])]
    choose = {"positive": _for_positive, "mixed": _for_mixed, "negative": _for_negative}
    told = choose[polarity](ranked, candidate)
    return Facts(candidate, polarity, tuple(told if wish is None else told[:1]), wish)


def _telling_decade(shown: Sequence[tuple[Film, float]], candidate: Film) -> bool:
    """A common decade is worth a word only where it is not the decade of most films anyway."""
    same = sum(film.decade == candidate.decade for film, _ in shown)
    return 2 * same <= len(shown)


def tie_between(
    film: Film, given: float, candidate: Film, liked_together: CoLikedItems, telling: bool = True
) -> Tie:
    """The facts about one film that fit into one clause: two genres, and same fans or decade."""
    genres = tuple(g for g in candidate.labels if g in film.labels)[:2]
    fans = liked_together(film.item, candidate.item)
    same_decade = candidate.decade is not None and film.decade == candidate.decade
    decade = candidate.decade if same_decade and not fans and (telling or not genres) else None
    different = bool(
        candidate.labels and film.labels and not (genres or fans or decade is not None)
    )
    return Tie(film, given, genres, decade, fans, different)


def _closeness(tie: Tie) -> float:
    """How much a tie convinces. A long title, which is harder to copy, is a slight handicap."""
    mine = tie.film.labels
    genre = len(tie.genres) / (1 + 0.5 * len(mine)) if tie.genres else 0.0
    extra = 0.6 * tie.fans + 0.2 * (tie.decade is not None) - 0.5 * tie.different
    return genre + extra + 0.1 * abs(tie.rating - 3) - 0.01 * max(0, len(tie.film.title) - 15)


def _tied(tie: Tie) -> bool:
    return tie.kind not in ("x", "n")


def _first_of(ties: list[Tie], *wishes: Callable[[Tie], bool]) -> list[Tie]:
    """The ties that fit the first wish that any fits; all ties where none does."""
    return next((fitting for fits in wishes if (fitting := list(filter(fits, ties)))), ties)


def _pair(ties: list[Tie], candidate: Film) -> list[Tie]:
    """The first tie, and a second one when both are single facts and the titles are short."""
    first = ties[0]
    for other in ties[1:3]:
        single = first.kind in ("g", "f") and other.kind in ("g", "f")
        if single and _short(first, other, candidate):
            return [first, other]
    return [first]


def _short(first: Tie, second: Tie, candidate: Film) -> bool:
    """Whether a text that names two films beside the candidate stays short; False for namesakes."""
    titles = {first.film.title, second.film.title, candidate.title}
    return len(titles) == 3 and sum(map(len, titles)) <= TITLES_UP_TO


def _for_positive(ties: list[Tie], candidate: Film) -> list[Tie]:
    best = _first_of(ties, lambda t: t.liked and _tied(t), lambda t: t.liked, _tied)
    return _pair(best, candidate) if best[0].liked and _tied(best[0]) else best[:1]


def _for_negative(ties: list[Tie], candidate: Film) -> list[Tie]:
    best = _first_of(
        ties,
        lambda t: t.rating <= LOW_UP_TO and bool(t.genres or t.fans),
        lambda t: not t.liked and bool(t.genres),
        lambda t: t.liked and t.different,
        lambda t: not t.liked and _tied(t),
    )
    low = not best[0].liked and _tied(best[0])
    return _pair(best, candidate) if low else best[:1]


def _for_mixed(ties: list[Tie], candidate: Film) -> list[Tie]:
    """One reason for and one against where the history has both, else a film in the middle."""
    strong = [t for t in ties if t.genres or t.fans]
    speaking_for = [t for t in strong if t.liked]
    against = [t for t in strong if t.rating <= LOW_UP_TO]
    against = against or [t for t in ties if t.liked and t.different]
    for pro, con in product(speaking_for[:3], against[:3]):
        if _short(pro, con, candidate):
            return [pro.single(), con.single()]
    return _first_of(ties, lambda t: LOW_UP_TO < t.rating < LIKED_FROM and _tied(t), _tied)[:1]


# The taste line

_NEGATED = re.compile(
    r"\b(no|not|never|don't|dont|doesn't|hate|hates|dislike|dislikes|avoid|avoids|without|except|"
    r"nothing|neither|nor|can't stand|tired of|less)\b",
    re.I,
)
_OTHER_WORDS = {
    "Animation": "animated|animations?|cartoons?",
    "Children's": "children'?s?|kids'?|family",
    "Comedy": "comed(?:y|ies)",
    "Documentary": "documentar(?:y|ies)",
    "Fantasy": "fantas(?:y|ies)",
    "Film-Noir": "film[- ]noirs?|noirs?",
    "Mystery": "myster(?:y|ies)",
    "Romance": "romances?|romantic",
    "Sci-Fi": "sci-?fi|science[- ]fiction",
}


def taste_genres(
    taste: str | None, labels: Iterable[str] = GENRES
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Genres that a taste line asks for and genres it turns down, each in the order of `labels`.

    A word such as "no" or "avoid" turns down the genres after it, up to the end of its clause or
    to "but".
    """
    wanted, avoided = [], []
    clauses = re.split(r"[.;!?\n]|\bbut\b|\byet\b|\bthough\b", taste or "", flags=re.I)
    for label in labels:
        words = re.compile(rf"\b(?:{_OTHER_WORDS.get(label, re.escape(label) + 's?')})(?!\w)", re.I)
        signs = {
            bool(_NEGATED.search(clause, 0, found.start()))
            for clause in clauses
            for found in words.finditer(clause)
        }
        # A genre both asked for and turned down says nothing that can be relied on.
        if signs == {False}:
            wanted.append(label)
        elif signs == {True}:
            avoided.append(label)
    return tuple(wanted), tuple(avoided)


def _wish(taste: str | None, candidate: Film, polarity: Polarity) -> Wish | None:
    """The part of the taste line that speaks for the polarity, if there is one."""
    if not taste or not candidate.labels or polarity == "mixed":
        return None
    wanted, avoided = taste_genres(taste, dict.fromkeys((*GENRES, *candidate.labels)))
    if polarity == "positive":
        there = [g for g in wanted if g in candidate.labels]
        return Wish("wanted", there[0]) if there else None
    unwelcome = [g for g in avoided if g in candidate.labels]
    if unwelcome:
        return Wish("avoided", unwelcome[0])
    if wanted and not any(g in candidate.labels for g in wanted):
        return Wish("missing", wanted[0])
    return None
