"""Reviews by anyone: one table of user, item, rating, and what else there is of text, time, title.

``reviews.csv`` or ``reviews.parquet`` in a folder, with columns ``user``, ``item`` and ``rating``
(1–5), and, where they are known, ``text``, ``time`` (seconds since 1970, or an ISO date) and
``title``. Lines that cannot be used are counted, reported and left out.

`reviewed` is what this format shares with other sources of reviews.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ckf_demo.data.sources.base import PRODUCTS, RawData, Skipping, Source
from ckf_demo.data.sources.frames import read_table
from ckf_demo.data.sources.names import names_from_reviews
from ckf_demo.data.splits import FIT_SHARE, time_order
from ckf_demo.runtime.errors import UserError

CSV, PARQUET = "reviews.csv", "reviews.parquet"
NEEDED, OPTIONAL = ("user", "item", "rating"), ("text", "time", "title")
EXPECTED = "a user, an item, and a rating from 1 to 5"


@dataclass(frozen=True)
class Review:
    """One usable line: ``time`` in seconds since 1970, ``text`` empty when nothing was said."""

    user: str
    item: str
    rating: float
    time: int
    text: str


def plain(text: object) -> str:
    """Text on one line, composed, without control characters; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(c if c.isprintable() else " " for c in composed).split())


def reviewed(
    reviews: Sequence[Review], titles: dict[str, str], notes: Sequence[str] = ()
) -> RawData:
    """Users, items and interactions with their texts; UserError if there are none.

    Of several reviews by one person of one item the first in time stays: a later one would have
    the item in its own history. Items without a title are named after what their reviews say
    (`names_from_reviews`), by the reviews of the part that collaborative models are fitted on.
    """
    if not reviews:
        raise UserError("the data set has no reviews; use a complete copy of it")
    order = time_order(np.array([r.time for r in reviews]), np.arange(len(reviews)))
    first: dict[tuple[str, str], Review] = {}
    for review in map(reviews.__getitem__, order):
        first.setdefault((review.user, review.item), review)
    kept = list(first.values())
    items = list(dict.fromkeys(review.item for review in kept))
    untitled = [item for item in items if not titles.get(item)]
    fitted = kept[: int(FIT_SHARE * len(kept))]
    named = names_from_reviews(untitled, [(r.item, r.text) for r in fitted]) if untitled else {}
    notes = list(notes)
    if len(kept) < len(reviews):
        notes.append(
            f"{len(reviews) - len(kept):,} of {len(reviews):,} reviews are by the same person of "
            "the same item as an earlier one, and were left out."
        )
    if untitled:
        notes.append(f"{len(untitled):,} of {len(items):,} items have no title and were named.")
    return RawData.from_rows(
        [(user, None, None, None) for user in dict.fromkeys(review.user for review in kept)],
        [(item, titles.get(item) or named[item], None, ()) for item in items],
        [(review.user, review.item, review.rating, review.time) for review in kept],
        texts=[review.text for review in kept],
        notes=notes,
        domain=PRODUCTS,
    )


def read(folder: Path) -> RawData:
    """Read the table from a folder.

    Raises UserError when there is none, it lacks a column, or half of its lines cannot be used.
    """
    path = next((folder / name for name in (PARQUET, CSV) if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} holds no {SOURCE.label}; it must hold {SOURCE.files}")
    needed = f", and must have {', '.join(NEEDED)} (and may have {', '.join(OPTIONAL)})"
    table = read_table(path, NEEDED, needed)
    skipping = Skipping(path, EXPECTED)
    ratings = pd.to_numeric(table["rating"], errors="coerce")
    times = _seconds(table["time"]) if "time" in table else pd.Series(range(len(table)))
    texts = table["text"] if "text" in table else [""] * len(table)
    reviews, titles = [], {}
    for number, (user, item, rating, time, text) in enumerate(
        zip(table["user"], table["item"], ratings, times, texts, strict=True),
        start=2 if path.name == CSV else 1,
    ):
        skipping.lines += 1
        user, item = _id(user), _id(item)
        if not (user and item):
            skipping.leave(number, "no user or no item")
        elif not 1 <= rating <= 5:
            skipping.leave(number, "no rating from 1 to 5")
        elif pd.isna(time):
            skipping.leave(number, "no time in seconds or as a date")
        else:
            reviews.append(Review(user, item, float(rating), int(time), plain(text)))
    if "title" in table:
        for item, title in zip(table["item"], table["title"], strict=True):
            titles.setdefault(_id(item), plain(title))
    return reviewed(reviews, titles, [skipping.note()])


def _id(value: object) -> str:
    """An id as text; whole numbers that a table held as floats lose their ``.0``."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _seconds(column: pd.Series) -> pd.Series:
    """Seconds since 1970; missing where a value is neither a number of them nor a date."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.notna().any():
            return numbers.where(numbers.abs() < 2**53)
    dates = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    return (dates - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)


SOURCE = Source(
    name="reviews",
    label="a table of reviews",
    files=f"{CSV} or {PARQUET} with columns {', '.join(NEEDED)} (and, where known, "
    f"{', '.join(OPTIONAL)})",
    holds=lambda folder: any((folder / name).is_file() for name in (CSV, PARQUET)),
    read=read,
)
