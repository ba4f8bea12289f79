"""A person as all questions see them, and how callers describe one.

Callers name a known user, or describe a person by a history, a taste and a profile:

    people.person(user="405")
    people.person(history=[{"item": "50", "rating": 5}], taste="quiet science fiction")
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore, moment
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.ctr import LIKED
from ckf_demo.tasks.domains import DOMAINS, Domain
from ckf_demo.tasks.prompts import profile_text

PROFILE_FIELDS = ("age", "gender", "occupation")
LONGEST_TASTE, LONGEST_WORD, MOST_RATED = 300, 40, 1000
"""Characters of a taste and of a profile's words, and items of a given history, at most."""


class Described(TypedDict, total=False):
    """A person as callers give them.

    ``user`` is an id of the data set. Instead, or for further ratings of a known user, ``history``
    is ``[{"item", "rating"}]``, ``taste`` a sentence, and ``profile`` has age, gender and
    occupation. ``at`` (seconds since 1970) is the moment of the question: of a known user only
    what they rated strictly before it is used.
    """

    user: str | int | None
    history: Sequence[Mapping] | None
    taste: str | None
    profile: Mapping | None
    at: int | None


@dataclass(frozen=True)
class Person:
    """A person as all questions see them.

    ``items`` int64 (n,) and ``ratings`` float32 (n,) are the whole history, oldest first;
    ``profile`` and ``taste`` are prompt lines, ``user`` the id of a known user, ``at`` the moment.
    """

    items: np.ndarray
    ratings: np.ndarray
    profile: str
    taste: str
    user: str | None
    at: int | None

    def first(self, n: int | None) -> "Person":
        """The person with only the first ``n`` (0 to 100) ratings; None for all of the history.

        Their id is dropped with the rest: the training part knows more of a user than these
        ratings.
        """
        if n is None:
            return self
        n = whole(n, "first", least=0)
        return replace(self, items=self.items[:n], ratings=self.ratings[:n], user=None)


def nobody() -> Person:
    """A person of whom nothing is known."""
    return Person(np.array([], np.int64), np.array([], np.float32), "", "", None, None)


class People:
    """Reads and checks descriptions of people, for one data set.

    All methods raise `UserError` for what does not fit the data or the limits of this module.
    """

    def __init__(self, prepared: Prepared, store: InteractionStore):
        self.prepared, self.store = prepared, store

    @property
    def domain(self) -> Domain:
        """What the data set's items and people are called."""
        return DOMAINS[self.prepared.domain]

    def item(self, item: object) -> int:
        """The index of an item id among the data's items."""
        index = self.prepared.item_index.get(str(item)) if item not in (None, "") else None
        if index is None:
            thing = self.domain.thing
            problem = f"No {thing} was given" if item in (None, "") else f"Unknown {thing} '{item}'"
            raise UserError(f"{problem}; search for one by title to get its id.")
        return index

    def anyone(
        self,
        user: str | int | None = None,
        history: Sequence[Mapping] | None = None,
        taste: str | None = None,
        profile: Mapping | None = None,
        at: int | None = None,
    ) -> Person:
        """The person, or `nobody` where nothing is given."""
        if user in (None, "") and not (history or taste or profile):
            return nobody()
        return self.person(user, history, taste, profile, at)

    def person(
        self,
        user: str | int | None = None,
        history: Sequence[Mapping] | None = None,
        taste: str | None = None,
        profile: Mapping | None = None,
        at: int | None = None,
    ) -> Person:
        """The person that `Described` says, with the whole history that is known of them.

        The history of a known user begins with what they rated before the moment.
        """
        user = None if user in (None, "") else str(user)
        history = history or ()
        taste = _line("taste", taste, LONGEST_TASTE)
        fields = _profile(profile)
        if len(history) > MOST_RATED:
            raise UserError(
                f"A history of {len(history):,} {self.domain.things} is too long; give the last "
                f"{MOST_RATED:,}."
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
            item, stars = self._entry(entry)
            if self.prepared.feedback == "likes" and stars < LIKED:
                # histories of this data hold likes alone, and nothing was learnt from others
                continue
            if item in items:
                # a newer opinion replaces the older one
                place = items.index(item)
                del items[place], ratings[place]
            items.append(item)
            ratings.append(stars)
        return Person(
            np.array(items, np.int64),
            np.array(ratings, np.float32),
            profile_text(fields),
            taste,
            user,
            at,
        )

    def history(self, user: str, at: int | None) -> list[dict]:
        """What a known user had rated before a moment, oldest first.

        Returns
        -------
        ``[{"item", "title", "rating", "timestamp"}]``
        """
        at = self.store.default_at(user) if at is None else moment(at)
        rows = self.store.history(user, at)
        return _records(rows[["item", "title", "rating", "timestamp"]])

    def search_items(self, query: str, limit: int) -> list[dict]:
        """Items by title: ``[{"item", "title", "year", "genres"}]``, best match first."""
        matches = self.store.search_items(query, limit=limit)
        return _records(matches[["item", "title", "year", "genres"]])

    def _entry(self, entry: object) -> tuple[int, float]:
        """Item index and stars of one entry of a history."""
        if not isinstance(entry, Mapping) or "item" not in entry or "rating" not in entry:
            raise UserError(
                f"{entry!r} is no history entry; give item and rating for each {self.domain.thing}."
            )
        return self.item(entry["item"]), _stars(entry["rating"])


def _stars(value: Any) -> float:
    try:
        stars = float(value)
    except (TypeError, ValueError):
        stars = math.nan
    if not 1 <= stars <= 5:
        raise UserError(f"A rating of {value!r} is outside 1 to 5; give one to five stars.")
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
            raise UserError(f"An age of {age!r} is no whole number of years.") from error
        if not 1 <= given["age"] <= 120:
            raise UserError(f"An age of {age} is outside 1 to 120 years.")
    for name in set(given) - {"age"}:
        given[name] = _line(name, given[name], LONGEST_WORD)
    return {k: given.get(k) for k in PROFILE_FIELDS}


def _line(name: str, text: object, longest: int) -> str:
    """A visitor's text as one line of printable characters, so that it cannot begin another line.

    Raises
    ------
    UserError
        When it is no text, or too long.
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise UserError(f"A {name} of {text!r} is no text; give words.")
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) > longest:
        raise UserError(f"The {name} has {len(plain):,} characters; say it in at most {longest:,}.")
    return plain


def whole(value: object, name: str, least: int = 1) -> int:
    """A whole number from ``least`` to 100 that a caller gave; UserError for anything else."""
    if not isinstance(value, int | float) or not least <= value <= 100 or value != int(value):
        raise UserError(f"{name} = {value!r} is no whole number from {least} to 100.")
    return int(value)


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows of a frame as plain Python values, None where something is missing."""
    records = []
    for row in frame.to_dict("records"):
        record: dict[str, Any] = {}
        for key, value in row.items():
            if isinstance(value, list | tuple | np.ndarray):
                record[key] = [str(v) for v in value]
            elif value is None or value != value or str(value) == "<NA>":
                record[key] = None
            else:
                record[key] = value.item() if hasattr(value, "item") else value
        records.append(record)
    return records
