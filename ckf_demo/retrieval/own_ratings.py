"""Which items of a catalogue somebody's own ratings are about.

A title is compared without case, accents, marks and its article, under every title that either side
has. Years may differ by one, because countries differ. What is only similar becomes a question and
counts once it is answered.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from rapidfuzz import fuzz, process

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.rating_rows import OwnRating, OwnRatings
from ckf_demo.data.sources.base import FILMS
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.retrieval.terms import words_of
from ckf_demo.retrieval.titles import normal
from ckf_demo.runtime.assets import asset, word_list

MATCHED, QUESTION, NOT_FOUND = "matched", "question", "not found"
YEARS_OFF = 1
"""By how many years a match may differ."""
ASKED_OFF = 3
"""By how many years an equal title may differ that is asked about."""
SIMILAR = 84
"""Least similarity (`rapidfuzz.fuzz.ratio`, 0 to 100) of a title that is asked about."""
CONTAINED = 96
"""Least similarity of the words of one title within the other that is asked about."""
SHORTEST = 4
"""Letters of a title that may be misspelt."""
CHOICES = 3
"""Most items that a question offers."""
MOST = 1000
"""Most ratings of a history."""

_PARTS = re.compile(r":\s|\s[-–—]\s|[()/]")


@dataclass(frozen=True)
class Match:
    """What one rating is about: ``item`` is an index of the catalogue, None where it is open.

    ``candidates`` are offered, best first, and ``reason`` says why it was not simply matched.
    """

    rating: OwnRating
    status: str
    item: int | None = None
    candidates: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Matches:
    """All ratings of one person with their matches, and what was read."""

    read: OwnRatings
    rows: tuple[Match, ...]

    def of(self, status: str) -> list[Match]:
        """The matches of a status."""
        return [row for row in self.rows if row.status == status]

    @property
    def repeated(self) -> int:
        """How many matched ratings give way to a later one of the same item."""
        matched = self.of(MATCHED)
        return len(matched) - len({row.item for row in matched})

    def history(self) -> dict[int, float]:
        """Stars by item, oldest first; of several ratings of an item the newest."""
        stars: dict[int, float] = {}
        for row in self.of(MATCHED):
            if row.item is not None:
                stars.pop(row.item, None)
                stars[row.item] = row.rating.stars
        return stars

    def changed(self, place: int, item: int | None) -> "Matches":
        """The same with the rating at ``place`` about another item, or about none."""
        row = self.rows[place]
        if item is None:
            row = replace(row, status=NOT_FOUND, item=None, reason="left out")
        else:
            row = replace(row, status=MATCHED, item=item, reason="chosen")
        return replace(self, rows=(*self.rows[:place], row, *self.rows[place + 1 :]))


def as_answer(prepared: Prepared, matches: Matches) -> dict:
    """Matches as plain values.

    Returns
    -------
    ``{"source", "scale", "matched": [{"title", "year", "rating", "item", "item_title",
    "item_year"}], "questions": [{"title", "year", "rating", "reason", "candidates": [{"item",
    "title", "year"}]}], "not_found": [{"title", "year", "rating", "reason"}], "left_out": {reason:
    rows}, "notes", "history": [{"item", "rating", "imported"}]}``: ratings are stars from 0.5 to 5,
    years None where they are unknown, and the history as questions about a person take it.
    """
    film = partial(_film, prepared)
    stars = matches.history()
    notes = list(matches.read.notes)
    if matches.repeated:
        notes.append(f"{matches.repeated} ratings give way to newer ones of the same title.")
    disliked = [item for item, rating in stars.items() if rating < prepared.liked_from]
    if prepared.positive_only and disliked:
        notes.append(f"{len(disliked)} ratings are no likes, and this data set knows likes alone.")
        stars = {item: rating for item, rating in stars.items() if item not in disliked}
    if len(stars) > MOST:
        notes.append(f"The newest {MOST:,} of {len(stars):,} ratings are used.")
    return {
        "source": matches.read.source,
        "scale": matches.read.scale,
        "matched": [
            _rated(row.rating)
            | {"item": each["item"], "item_title": each["title"]}
            | {"item_year": each["year"]}
            for row in matches.of(MATCHED)
            if row.item is not None and (each := film(row.item))
        ],
        "questions": [
            _rated(row.rating)
            | {"reason": row.reason, "candidates": list(map(film, row.candidates))}
            for row in matches.of(QUESTION)
        ],
        "not_found": [_rated(row.rating) | {"reason": row.reason} for row in matches.of(NOT_FOUND)],
        "left_out": dict(matches.read.left_out),
        "notes": notes,
        "history": [
            {"item": prepared.item_ids[item], "rating": rating, "imported": True}
            for item, rating in list(stars.items())[-MOST:]
        ],
    }


def open_rows(matches: Matches) -> list[dict]:
    """The ratings that are about no item, as rows of a file: title, year, rating and reason."""
    return [
        _rated(row.rating) | {"reason": row.reason}
        for row in (*matches.of(QUESTION), *matches.of(NOT_FOUND))
    ]


def _rated(rating: OwnRating) -> dict:
    return {"title": rating.title, "year": rating.year or None, "rating": rating.stars}


def _film(prepared: Prepared, item: int) -> dict:
    year = int(prepared.years[item])
    return {"item": prepared.item_ids[item], "title": prepared.titles[item], "year": year or None}


class TitleMatcher:
    """Matches ratings with the items of a data set.

    Of several items with one title and year the one with most interactions is meant.
    """

    def __init__(self, prepared: Prepared):
        self.prepared = prepared
        self._counts = np.bincount(prepared.item, minlength=prepared.n_items)
        known = [year for year in prepared.years.tolist() if year]
        self._latest = max(known, default=0)

    def match(self, read: OwnRatings) -> Matches:
        """Match all ratings that were read."""
        return Matches(read, tuple(map(self._match, read.ratings)))

    def _match(self, rating: OwnRating) -> Match:
        by_id = self.prepared.item_index.get(rating.item) if rating.item else None
        if by_id is not None and self._agrees(by_id, rating):
            return Match(rating, MATCHED, by_id)
        names = [name for name in (rating.title, *rating.others) if name]
        keys = [key for name in names for key in _keys(name)]
        equal = self._under(self._whole, keys) or self._under(self._loose, map(_loose_key, names))
        by_title = self._by_year(rating, equal)
        if by_title is not None and by_title.status == MATCHED:
            return by_title
        return self._by_part(rating, names) or by_title or self._similar(rating, names, equal)

    def _agrees(self, item: int, rating: OwnRating) -> bool:
        """Whether an item's id may be trusted: the title, where there is one, must be its own."""
        return not rating.title or item in self._under(self._whole, _keys(rating.title))

    # The catalogue's titles

    @cached_property
    def _names(self) -> list[list[str]]:
        """The titles of each item: as a whole, those in brackets, and those of other countries."""
        others = asset("film_titles.toml")["titles"] if self.prepared.domain == FILMS else {}
        names = []
        for title, year in zip(self.prepared.titles, self.prepared.years.tolist(), strict=True):
            brackets = re.split(r"[()]", title)
            names.append([title, *brackets, *others.get(f"{title} ({year})", ())] if title else [])
        return names

    @cached_property
    def _whole(self) -> dict[str, list[int]]:
        return self._index(_keys, self._names)

    @cached_property
    def _loose(self) -> dict[str, list[int]]:
        return self._index(lambda name: [_loose_key(name)], self._names)

    @cached_property
    def _parts(self) -> dict[str, list[int]]:
        """Items by the parts of titles of several parts."""
        return self._index(_keys, [[p for n in names for p in _parts(n)] for names in self._names])

    @staticmethod
    def _index(
        keys: Callable[[str], list[str]], names: Sequence[Iterable[str]]
    ) -> dict[str, list[int]]:
        index: dict[str, list[int]] = defaultdict(list)
        for item, its in enumerate(names):
            for each in {key for name in its for key in keys(name)} - {""}:
                index[each].append(item)
        return dict(index)

    @cached_property
    def _texts(self) -> dict[int, list[tuple[str, int]]]:
        """Words of titles with their items, by year."""
        texts: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for item, names in enumerate(self._names):
            for words in {" ".join(normal(tuple(words_of(name)))) for name in names} - {""}:
                texts[int(self.prepared.years[item])].append((words, item))
        return dict(texts)

    def _under(self, index: Mapping[str, list[int]], keys: Iterable[str]) -> list[int]:
        return list(dict.fromkeys(item for key in keys for item in index.get(key, ())))

    # Ways to match

    def _off(self, item: int, year: int) -> int:
        """By how many years an item differs; 0 where a year is unknown."""
        own = int(self.prepared.years[item])
        return abs(own - year) if own and year else 0

    def _best_first(self, items: Iterable[int], year: int) -> list[int]:
        return sorted(items, key=lambda item: (self._off(item, year), -self._counts[item]))

    def _by_year(self, rating: OwnRating, items: Sequence[int]) -> Match | None:
        """Match items of an equal title by their years; None where no year is near."""
        near = [item for item in items if self._off(item, rating.year) <= ASKED_OFF]
        if not near:
            return None
        best = self._best_first(near, rating.year)
        first, years = best[0], {int(self.prepared.years[item]) for item in best}
        if rating.year and not self.prepared.years[first]:
            return self._ask(rating, best, "the catalogue does not know its year")
        if self._off(first, rating.year) > YEARS_OFF:
            year = int(self.prepared.years[first])
            return self._ask(rating, best, f"the catalogue has one of {year}")
        if not rating.year and len(years) > 1:
            return self._ask(rating, best, "several have this title, and no year is given")
        return Match(rating, MATCHED, first, tuple(best[:CHOICES]))

    def _by_part(self, rating: OwnRating, names: Sequence[str]) -> Match | None:
        """Match by a part of a title before or after a colon, a dash or a bracket.

        A part of one word alone is a question, and so is one that both titles have as a part.
        """
        if not rating.year:
            return None
        for name in names:
            for part in _parts(name):
                items = self._under(self._whole, _keys(part))
                if match := self._part(rating, items, part):
                    return match
            if match := self._part(rating, self._under(self._parts, _keys(name)), name):
                return match
        long = [part for name in names for part in _parts(name) if _words(part) > 2]
        for part in long:
            items = self._under(self._parts, _keys(part))
            if match := self._part(rating, items, ""):
                return match
        return None

    def _part(self, rating: OwnRating, items: Sequence[int], part: str) -> Match | None:
        near = [item for item in items if self._off(item, rating.year) <= YEARS_OFF]
        near = [item for item in near if self.prepared.years[item]]
        if not near:
            return None
        best = self._best_first(near, rating.year)
        if _words(part) < 2:
            return self._ask(rating, best, "only a part of the title is the same")
        return Match(rating, MATCHED, best[0], tuple(best[:CHOICES]))

    def _similar(self, rating: OwnRating, names: Sequence[str], equal: Sequence[int]) -> Match:
        """Ask about items whose titles are nearly the same; otherwise say why there is none."""
        texts = [" ".join(normal(tuple(words_of(name)))) for name in names]
        found: dict[int, float] = {}
        for text in filter(None, texts):
            for item, score in self._nearest(text, rating.year):
                found[item] = max(score, found.get(item, 0))
        if found:
            best = sorted(found, key=lambda item: (-found[item], -self._counts[item]))
            return self._ask(rating, best, "the title is only similar")
        reason = "the catalogue has no such title"
        if equal:
            years = sorted({int(self.prepared.years[item]) for item in equal} - {0})
            reason = f"the catalogue has that title from {', '.join(map(str, years))} alone"
        elif rating.year > self._latest > 0:
            reason = f"the catalogue ends in {self._latest}"
        best = tuple(self._best_first(equal, rating.year)[:CHOICES])
        return Match(rating, NOT_FOUND, None, best, reason)

    def _nearest(self, text: str, year: int) -> list[tuple[int, float]]:
        """Items with similar titles and their similarity."""
        if len(text) < SHORTEST:
            return []
        if year:
            near = [t for y in range(year - YEARS_OFF, year + 2) for t in self._texts.get(y, ())]
        else:
            near = [each for texts in self._texts.values() for each in texts]
        choices = [words for words, _ in near]
        scored = process.extract(text, choices, scorer=fuzz.ratio, score_cutoff=SIMILAR, limit=5)
        if not scored and year and " " in text:
            scored = process.extract(
                text, choices, scorer=fuzz.token_set_ratio, score_cutoff=CONTAINED, limit=5
            )
            scored = [one for one in scored if " " in one[0]]
        # "Scream 2" is not a misspelt "Scream 3"
        numbers = _numbers(text)
        return [
            (near[place][1], score) for words, score, place in scored if _numbers(words) == numbers
        ]

    def _ask(self, rating: OwnRating, items: Sequence[int], reason: str) -> Match:
        # a catalogue may have a film twice
        titles = {(self.prepared.titles[i], self.prepared.years[i]): i for i in reversed(items)}
        distinct = [item for item in items if item in titles.values()]
        return Match(rating, QUESTION, None, tuple(distinct[:CHOICES]), reason)


def _numbers(text: str) -> list[str]:
    return sorted(word for word in text.split() if word.isdigit())


def _keys(name: str) -> list[str]:
    """A title as it is compared; spaces do not count, "Spider-Man" being "Spiderman".

    A second key is without apostrophes, "Schindler's" being "Schindlers".
    """
    turned = _turned(name)
    spellings = dict.fromkeys((turned, re.sub("['’`´]", "", turned)))
    return ["".join(normal(tuple(words_of(spelling)))) for spelling in spellings]


def _words(name: str) -> int:
    """How many words of a title count."""
    return len(normal(tuple(words_of(name))))


def _loose_key(name: str) -> str:
    """The same without an article of another language."""
    words = tuple(words_of(_turned(name)))
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return "".join(normal(words))


def _turned(name: str) -> str:
    """A title whose article stands behind it, in small letters too, with the article in front."""
    title = tidy_title(name)[0]
    head, comma, article = title.rpartition(", ")
    return f"{article} {head}" if comma and article.lower() in _ARTICLES else title


def _parts(name: str) -> list[str]:
    """The parts of a title that has several, longest first."""
    parts = [part.strip() for part in _PARTS.split(name) if part.strip()]
    return sorted(parts, key=len, reverse=True) if len(parts) > 1 else []


_ARTICLES = word_list("articles") | {"l", "un"}
