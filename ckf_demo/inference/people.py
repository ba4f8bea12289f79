"""How callers describe a person, and the `Person` that all questions use.

people.read_person(user="405")
people.read_person(history=[{"item": "50", "rating": 5}], taste="quiet science fiction")
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.rating_rows import LEAST, read_ratings
from ckf_demo.data.store import InteractionStore, moment
from ckf_demo.retrieval.own_ratings import MOST, Matches, TitleMatcher, as_answer
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.ctr import LIKED
from ckf_demo.tasks.domains import DOMAINS, Domain
from ckf_demo.tasks.prompts import profile_text

STRENGTH, LEARNT = 0.5, 0.1
"""How much a taste counts, from 0 to 1, unless the caller says otherwise, and where it counts as
much as training found right. Above that its wishes become constraints."""

PROFILE_FIELDS = ("age", "gender", "occupation")
MAX_TASTE_CHARS, MAX_PROFILE_CHARS, MAX_HISTORY = 300, 40, MOST
"""Limits: characters of a taste, characters of a profile field, items of a history."""


class Described(TypedDict, total=False):
    """A person as callers describe them.

    ``user`` is an id of the data set. Instead, or to add to a known user, ``history`` is
    ``[{"item", "rating"}]``, ``taste`` a sentence, and ``profile`` has age, gender and occupation.
    An entry of the history that is "imported" may have half a star.
    ``strength``, from 0 to 1, is how much the taste counts beside the model. ``at`` (seconds since
    1970) is the moment of the question: for a known user, only ratings
    strictly before it are used.
    """

    user: str | int | None
    history: Sequence[Mapping] | None
    taste: str | None
    profile: Mapping | None
    at: int | None
    strength: float | None


@dataclass(frozen=True)
class Person:
    """A person as all questions use them.

    ``items`` int64 (n,) and ``ratings`` float32 (n,) are the whole history, oldest first, behind
    the ``named`` items that the taste names. ``profile`` and ``taste`` are prompt lines, ``user``
    the id of a known user, ``at`` the moment.
    """

    items: np.ndarray
    ratings: np.ndarray
    profile: str
    taste: str
    user: str | None
    at: int | None
    strength: float = STRENGTH
    named: int = 0

    def without(self, item: int) -> "Person":
        """The person with an item (by index) left out of the history."""
        kept = self.items != item
        if kept.all():
            return self
        named = int(kept[: self.named].sum())
        return replace(self, items=self.items[kept], ratings=self.ratings[kept], named=named)

    def rating_of(self, item: int) -> float | None:
        """What they gave an item (by index) last; None if it is not in the history."""
        given = self.ratings[self.items == item]
        return float(given[-1]) if len(given) else None

    def first(self, n: int | None) -> "Person":
        """The person with only the first ``n`` (0 to 100) ratings; None for all of the history.

        What the taste names stays, and does not count. Their id is dropped, because the training
        part has more ratings of the user than these.
        """
        if n is None:
            return self
        n = self.named + whole(n, "first", least=0)
        return replace(self, items=self.items[:n], ratings=self.ratings[:n], user=None)


def nobody() -> Person:
    """A person without any description."""
    return Person(np.array([], np.int64), np.array([], np.float32), "", "", None, None)


class People:
    """Reads and checks descriptions of people, for one data set.

    All methods raise `UserError` for input that does not fit the data or the limits of this module.
    ``opinions`` gives the items that a taste names, by index, with the stars that it says of them.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: InteractionStore,
        opinions: Callable[[str], list[tuple[int, float]]] = lambda taste: [],
    ):
        self.prepared, self.store, self.opinions = prepared, store, opinions

    @property
    def domain(self) -> Domain:
        """The words for the data set's items and people."""
        return DOMAINS[self.prepared.domain]

    def item(self, item: object) -> int:
        """The index of the item with an id."""
        index = self.prepared.item_index.get(str(item)) if item not in (None, "") else None
        if index is None:
            thing = self.domain.thing
            problem = f"No {thing} was given" if item in (None, "") else f"Unknown {thing} '{item}'"
            raise UserError(f"{problem}; search for one by title to get its id.")
        return index

    @cached_property
    def least(self) -> float:
        """The lowest rating that somebody may give: half a star where the data have half stars."""
        return LEAST if np.any(self.prepared.rating % 1 == LEAST) else 1.0

    def match_ratings(self, ratings: object, scale: object = None) -> Matches:
        """The items that somebody's own ratings are about, as `read_ratings` takes them."""
        return self.matcher.match(read_ratings(ratings, scale))

    @cached_property
    def matcher(self) -> TitleMatcher:
        """Finds the items of titles."""
        return TitleMatcher(self.prepared)

    def own_ratings(self, ratings: object, scale: object = None) -> dict:
        """See `Recommender.match_ratings`."""
        return as_answer(self.prepared, self.match_ratings(ratings, scale))

    def taste(self, text: object) -> str:
        """A taste sentence as one printable line; UserError if it is no text or too long."""
        return _line("taste", text, MAX_TASTE_CHARS)

    def anyone(self, **person: Unpack[Described]) -> Person:
        """Read the person, or return `nobody` without a description."""
        nothing = not any(person.get(key) for key in ("history", "taste", "profile"))
        if person.get("user") in (None, "") and nothing:
            return nobody()
        return self.read_person(**person)

    def read_person(
        self,
        user: str | int | None = None,
        history: Sequence[Mapping] | None = None,
        taste: str | None = None,
        profile: Mapping | None = None,
        at: int | None = None,
        strength: float | None = None,
    ) -> Person:
        """Read the person that these arguments describe, with their whole history.

        The history of a known user begins with their ratings before the moment.
        """
        user = None if user in (None, "") else str(user)
        history = history or ()
        taste = self.taste(taste)
        fields = _profile(profile)
        if len(history) > MAX_HISTORY:
            raise UserError(
                f"A history of {len(history):,} {self.domain.things} is too long; give the last "
                f"{MAX_HISTORY:,}."
            )
        at = None if at is None else moment(at)
        if user is None and not (history or taste or any(fields.values())):
            raise UserError(
                f"Nobody is described: give a user id, or {self.domain.things} with stars, a taste "
                "or a profile."
            )
        items: list[int] = []
        ratings: list[float] = []
        if user is not None:
            recorded = self.store.user(user)
            at = self.store.default_at(user) if at is None else at
            rows = self.store.history(user, at)
            if self.prepared.feedback == "likes":
                rows = rows[rows["rating"] > 0]
            items += [self.prepared.item_index[i] for i in rows["item"]]
            ratings += rows["rating"].tolist()
            fields = {k: fields[k] or recorded[k] for k in PROFILE_FIELDS}
        for entry in history:
            if not isinstance(entry, Mapping) or "item" not in entry or "rating" not in entry:
                thing = self.domain.thing
                raise UserError(
                    f"{entry!r} is not a history entry; give item and rating for each {thing}."
                )
            least = LEAST if entry.get("imported") else self.least
            item, stars = self.item(entry["item"]), _stars(entry["rating"], least)
            if self.prepared.feedback == "likes" and stars < LIKED:
                # histories of this data contain only likes, so the model knows no other ratings
                continue
            if item in items:
                # a newer opinion replaces the older one
                earlier = items.index(item)
                del items[earlier], ratings[earlier]
            items.append(item)
            ratings.append(stars)
        strength = _strength(strength)
        # what a taste says of items counts like ratings, before those that were given
        named = {i: stars for i, stars in self._named(taste, strength).items() if i not in items}
        shown = np.array([*named, *items], np.int64)
        given = np.array([*named.values(), *ratings], np.float32)
        line = profile_text(fields)
        return Person(shown, given, line, taste, user, at, strength, named=len(named))

    def _named(self, taste: str, strength: float) -> dict[int, float]:
        """The items that a taste names, each once, with the stars that it says of them."""
        if not (taste and strength):
            return {}
        lowest = LIKED if self.prepared.feedback == "likes" else 0
        return {item: stars for item, stars in self.opinions(taste) if stars >= lowest}

    def history(self, user: str, at: int | None) -> list[dict]:
        """A known user's ratings before a moment: ``[{"item", "title", "rating", "timestamp"}]``,
        oldest first."""
        at = self.store.default_at(user) if at is None else moment(at)
        rows = self.store.history(user, at)
        return _records(rows[["item", "title", "rating", "timestamp"]])

    def search_items(self, query: str, limit: int) -> list[dict]:
        """See `Recommender.search_items`."""
        if not (isinstance(limit, int) or (isinstance(limit, float) and limit.is_integer())):
            raise UserError(f"limit = {limit!r} is not a whole number.")
        matches = self.store.search_items(query, limit=int(limit))
        return _records(matches[["item", "title", "year", "genres", "directors", "tags"]])


def _strength(value: Any) -> float:
    try:
        strength = STRENGTH if value is None else float(value)
    except (TypeError, ValueError):
        strength = math.nan
    if not 0 <= strength <= 1:
        raise UserError(f"A strength of {value!r} is outside 0 to 1; 0 ignores the taste.")
    return strength


def _stars(value: Any, least: float) -> float:
    try:
        stars = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        stars = math.nan
    if not least <= stars <= 5:
        half = "" if least < 1 else "; imported ratings may have half a star"
        raise UserError(
            f"A rating of {value!r} is outside {least:g} to 5; give {least:g} to 5 stars{half}."
        )
    return stars


def _profile(profile: Mapping | None) -> dict:
    given = {k: v for k, v in (profile or {}).items() if v not in (None, "")}
    unknown = set(given) - set(PROFILE_FIELDS)
    if unknown:
        raise UserError(
            f"Unknown profile field '{sorted(unknown)[0]}'; known are {', '.join(PROFILE_FIELDS)}."
        )
    age = given.get("age")
    if age is not None:
        try:
            given["age"] = int(age)
        except (TypeError, ValueError) as error:
            raise UserError(f"An age of {age!r} is not a whole number of years.") from error
        if not 1 <= given["age"] <= 120:
            raise UserError(f"An age of {age} is outside 1 to 120 years.")
    for name in set(given) - {"age"}:
        given[name] = _line(name, given[name], MAX_PROFILE_CHARS)
    return {k: given.get(k) for k in PROFILE_FIELDS}


def _line(name: str, text: object, longest: int) -> str:
    """Make a visitor's text one printable line, so that it cannot add lines to the prompt."""
    if text is None:
        return ""
    if not isinstance(text, str):
        raise UserError(f"A {name} of {text!r} is not a text; give words.")
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) > longest:
        raise UserError(f"The {name} has {len(plain):,} characters; say it in at most {longest:,}.")
    return plain


def whole(value: object, name: str, least: int = 1) -> int:
    """Check that a value is a whole number from ``least`` to 100; UserError for anything else."""
    if not isinstance(value, int | float) or not least <= value <= 100 or value != int(value):
        raise UserError(f"{name} = {value!r} is not a whole number from {least} to 100.")
    return int(value)


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows of a frame as plain Python values; missing values become None."""
    return [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> object:
    if isinstance(value, list | tuple | np.ndarray):
        return [str(v) for v in value]
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
