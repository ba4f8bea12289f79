"""The evidence for explanations where a data set has texts: what users wrote, and who chose both.

`Evidence.line` puts it into the prompt, in training as in serving. The text that is to be predicted
is never among it, nor anything later.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.tasks.explanations.facts import number

OF_ITEM, OF_PERSON, TOGETHER = 2, 1, 2
"""How many texts of the item, texts of the user and items of the history are shown."""
LEAST_COMMON = 3
"""Users who must have chosen two items for these to count as chosen together."""
UNNAMED = "this one"
"""How texts call an item without a title."""
LONGEST = 32
"""Words of a text that are shown, at most."""
SENTENCE_WORDS = 5, 30
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'])")


@dataclass(frozen=True)
class Said:
    """A text of interaction ``row`` (-1 for a summary of many) with its writer's rating, if any."""

    item: int
    row: int
    text: str
    stars: float | None = None


@dataclass(frozen=True)
class Chosen:
    """An item of the history, and how many ``people`` chose both it and the item in question."""

    item: int
    title: str
    people: int


@dataclass(frozen=True)
class Evidence:
    """The evidence for a (user, item) pair, most telling first."""

    of_item: tuple[Said, ...] = ()
    """What others wrote of the item, nearest in rating and then in words first."""
    of_person: tuple[Said, ...] = ()
    """What the user wrote of other items."""
    together: tuple[Chosen, ...] = ()
    """Items of the history that the same users chose."""
    stars: float | None = None
    """The rating that is predicted, or None where the data have none."""
    summaries: tuple[Said, ...] = ()

    @property
    def line(self) -> str:
        """The evidence as the prompt shows it."""
        lines = [] if self.stars is None else [f"Stars: {self.stars:.1f}"]
        lines += [f"Others: {_clipped(said.text)}" for said in (*self.summaries, *self.of_item)]
        lines += [f"Before: {_clipped(said.text)}" for said in self.of_person]
        if self.together:
            lines.append(f"Same people: {'; '.join(chosen.title for chosen in self.together)}")
        return "\n".join(lines)

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, against which an explanation is checked."""
        return tuple(said.text for said in (*self.summaries, *self.of_item, *self.of_person))

    def closing(self, title: str) -> str:
        """A sentence that no language model wrote: a quotation where users rate, or who chose both.

        Empty where there is neither.
        """
        for said in self.of_item:
            if said.stars is not None:
                return (
                    f"Somebody who gave it {number(said.stars)} of 5 wrote: “{quotable(said.text)}”"
                )
        if not self.together:
            return ""
        first = self.together[0]
        name = title or UNNAMED
        return f"{first.people} people who chose {first.title} chose {name} too."

    def otherwise(self, title: str) -> str:
        """What can be said where neither a text nor a closing sentence holds."""
        name = title or UNNAMED
        for said in (*self.of_item, *self.summaries):
            return f"Of {name} it was said: “{quotable(said.text)}”"
        return f"Nobody has written about {name} yet, so this rests on who chose what."


def quotable(text: str) -> str:
    """The beginning of a text, without quotation marks that would end a quotation."""
    return _clipped(text).replace("“", '"').replace("”", '"')


class TextEvidence:
    """Gathers evidence from the texts and choices of the training part."""

    def __init__(self, prepared: Prepared):
        self._data = prepared
        rows = np.flatnonzero(prepared.written & (prepared.split == TRAIN))
        self._texts = {int(row): prepared.texts[int(row)] for row in rows}
        self._by_item: dict[int, list[int]] = defaultdict(list)
        self._by_user: dict[int, list[int]] = defaultdict(list)
        for row in rows.tolist():
            self._by_item[int(prepared.item[row])].append(row)
            self._by_user[int(prepared.user[row])].append(row)
        self._sentences: dict[int, str] = {}

    def text(self, row: int) -> str:
        """What is learnt of a text: all of a given explanation, or a review's telling sentence."""
        if self._data.given_split:
            return self._data.texts[row]
        if row not in self._sentences:
            self._sentences[row] = self._telling(row)
        return self._sentences[row]

    def gather(
        self,
        items: np.ndarray,
        target: int,
        *,
        stars: float | None = None,
        user: int | None = None,
        before: int | None = None,
        summaries: bool = False,
    ) -> Evidence:
        """The evidence for a history (n,) and an item.

        ``stars`` is the predicted rating, and ``user`` a known user, whose texts count as their
        own. Only what was written earlier than ``before``, in seconds, counts. A summary of the
        item's texts counts with ``summaries``, though the target may be among them.
        """
        data = self._data
        # rows are in time order, and those of the same moment are not in each other's past
        end = len(data.user)
        if before is not None:
            end = int(np.searchsorted(data.timestamp, before, side="left"))
        others = [r for r in self._by_item.get(target, ()) if r < end and data.user[r] != user]
        of_user = () if user is None else self._by_user.get(user, ())
        before_it = [r for r in of_user if r < end and data.item[r] != target]
        near = dict(zip(others, self._nearness(others, before_it), strict=True))

        def order(row: int) -> tuple[float, float, int]:
            """Nearest in rating first, then in words; the latest first where nothing differs."""
            apart = 0.0 if stars is None else abs(float(data.rating[row]) - stars)
            return apart, -near[row], -row

        others.sort(key=order)
        summary = data.about_items.get(target) if summaries else None
        return Evidence(
            tuple(self._said(row) for row in others[:OF_ITEM]),
            tuple(self._said(row) for row in before_it[::-1][:OF_PERSON]),
            self.together(items, target),
            stars,
            (Said(target, -1, summary),) if summary else (),
        )

    def together(self, items: np.ndarray, target: int) -> tuple[Chosen, ...]:
        """Titled items of a history that the same users chose as ``target``, by cosine."""
        items = np.unique(np.asarray(items, np.int64))
        items = items[[bool(self._data.titles[i]) and i != target for i in items]]
        if not len(items):
            return ()
        common = (self._chosen[:, items].T @ self._chosen[:, [target]]).toarray().ravel()
        cosine = common / np.sqrt(np.maximum(self._times[items] * self._times[target], 1.0))
        best = np.lexsort((items, -cosine))
        return tuple(
            Chosen(int(items[i]), self._data.titles[items[i]], int(common[i]))
            for i in best[:TOGETHER]
            if common[i] >= LEAST_COMMON
        )

    @cached_property
    def _chosen(self) -> sparse.csc_matrix:
        """Which users liked which items among the rows of collaborative models: 0/1, (U, I)."""
        data = self._data
        rows = np.flatnonzero(data.fit & data.liked)
        matrix = sparse.csc_matrix(
            (np.ones(len(rows), np.float32), (data.user[rows], data.item[rows])),
            shape=(data.n_users, data.n_items),
        )
        matrix.data[:] = 1.0
        return matrix

    @cached_property
    def _times(self) -> np.ndarray:
        return np.asarray(self._chosen.sum(0)).ravel()

    def _nearness(self, rows: list[int], of_user: list[int]) -> list[float]:
        """Similarity by tf-idf of texts (``rows``) to what a user wrote."""
        if not rows or not of_user:
            return [0.0] * len(rows)
        theirs = np.asarray(self._vectors[[self._place[r] for r in of_user]].sum(0)).ravel()
        return (self._vectors[[self._place[r] for r in rows]] @ theirs).tolist()

    def _said(self, row: int) -> Said:
        data = self._data
        stars = float(data.rating[row]) if data.feedback == "ratings" else None
        return Said(int(data.item[row]), row, self.text(row), stars)

    @cached_property
    def _words(self) -> TfidfVectorizer:
        vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2)
        return vectorizer.fit(self._texts.values())

    @cached_property
    def _vectors(self) -> sparse.csr_matrix:
        """All texts of the training part, in the order of their interactions."""
        return sparse.csr_matrix(self._words.transform(self._texts.values()))

    @cached_property
    def _place(self) -> dict[int, int]:
        return {row: place for place, row in enumerate(self._texts)}

    def _telling(self, row: int) -> str:
        """The sentence of a review that is nearest to all training reviews of its item."""
        least, most = SENTENCE_WORDS
        parts = [part.strip() for part in _SENTENCE.split(self._data.texts[row])]
        fitting = [part for part in parts if least <= len(part.split()) <= most] or parts[:1]
        of_item = [self._texts[r] for r in self._by_item.get(int(self._data.item[row]), ())]
        if len(fitting) == 1 or not of_item:
            return _clipped(fitting[0])
        centre = np.asarray(self._words.transform(of_item).mean(0)).ravel()
        return fitting[int((self._words.transform(fitting) @ centre).argmax())]


def _clipped(text: str) -> str:
    words = text.split()
    return " ".join(words[:LONGEST]) + (" …" if len(words) > LONGEST else "")
