"""Ratings on any scale as stars from half a star to five, or as choices without ratings.

The scale is that of the whole column. Values outside it, such as a 99 among stars, are errors of
single rows and do not change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ckf_demo.data.sources.numbers import as_numbers
from ckf_demo.runtime.errors import UserError

WITHIN = 0.98
"""Share of the values that a scale must hold."""
LEAST_STAR = 0.5
COUNTS_FROM = 100
"""Whole numbers beyond it count something, such as plays."""
LIKES = {
    **dict.fromkeys(("true", "yes", "y", "like", "liked", "up", "thumbs up", "positive"), 1.0),
    **dict.fromkeys(("false", "no", "n", "dislike", "disliked", "down"), 0.0),
    **dict.fromkeys(("thumbs down", "negative"), 0.0),
}
"""Words for a like and a dislike."""


@dataclass(frozen=True)
class Scale:
    """The range of ratings in a source."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    @classmethod
    def read(cls, text: str) -> Scale:
        """A scale as the command line takes it, such as ``1-10``; UserError for another form."""
        low, dash, high = text.strip().rpartition("-")
        try:
            scale = cls(float(low), float(high))
        except ValueError:
            scale = cls(0, 0)
        if not dash or scale.low >= scale.high:
            raise UserError(
                f"the scale {text!r} is not understood; give the lowest and the highest rating, "
                "such as --scale 1-10"
            )
        return scale

    def stars(self, ratings: pd.Series) -> pd.Series:
        """Ratings as stars in 0.5 to 5, missing outside the scale."""
        inside = ratings.where(ratings.between(self.low, self.high))
        if 0 <= self.low <= 1 and self.high in (5, 10, 100):
            return (inside * 5 / self.high).clip(lower=LEAST_STAR)
        return 1 + 4 * (inside - self.low) / (self.high - self.low)

    @property
    def change(self) -> str:
        """What `stars` does, as a clause; empty where stars stay."""
        if (self.low, self.high) in {(1, 5), (0.5, 5)}:
            return ""
        if 0 <= self.low <= 1 and self.high in (5, 10, 100):
            divided = {5: "kept", 10: "halved", 100: "divided by 20"}[int(self.high)]
            small = "" if self.low == 1 and self.high == 10 else ", at least half a star"
            return f"{divided}{small}"
        return "put on 1 to 5 stars"


USUAL = tuple(
    Scale(*ends)
    for ends in ((1, 5), (0.5, 5), (0, 5), (1, 6), (1, 7), (1, 10), (0, 10), (0, 100), (-10, 10))
)
"""From the narrowest; the first that holds nearly all values is taken."""


@dataclass(frozen=True)
class Feedback:
    """A column of ratings, understood.

    ``values`` are stars with ``kind`` "ratings", and 1 or 0 with "likes"; missing where a cell is
    none. ``said`` is what the column was understood as, and ``lacking`` what other cells lack.
    """

    values: pd.Series
    kind: str
    said: str
    lacking: str


def read_ratings(column: pd.Series, scale: Scale | None = None) -> Feedback:
    """Understand a column of ratings, by a given scale or the one that its values show.

    Raises
    ------
    UserError
        When no cell holds a rating.
    """
    numbers = _numbers(column)
    given = numbers.dropna()
    if not len(given):
        examples = ", ".join(map(repr, column.dropna().astype(str).unique()[:3]))
        raise UserError(
            f"column {column.name!r} holds no ratings (it has {examples or 'nothing'}); name "
            "another one with --columns rating=NAME, or none with --columns rating="
        )
    if scale is not None:
        return _on(scale, numbers)
    kinds = set(given.unique())
    if len(kinds) == 2 and max(kinds) == 1 and min(kinds) in (0, -1):
        low = min(kinds)
        stars = numbers.map({low: 1.0, 1.0: 5.0})
        said = f"dislikes ({low:g}) and likes (1), which became one star and five"
        return Feedback(stars, "ratings", said, f"neither {low:g} nor 1")
    if len(kinds) == 1:
        (only,) = kinds
        ones = numbers.where(numbers.isna(), 1.0)
        said = f"always {only:g}, so a row says only that something was chosen"
        return Feedback(ones, "likes", said, "no number")
    if _counts(given):
        ones = (numbers > 0).astype("float64").where(numbers > 0)
        said = f"counts up to {given.max():,.0f}, so a row says only that something was chosen"
        return Feedback(ones, "likes", said, "no count above 0")
    for usual in USUAL:
        if given.between(usual.low, usual.high).mean() >= WITHIN:
            return _on(usual, numbers)
    return _on(Scale(float(given.min()), float(given.max())), numbers)


def _on(scale: Scale, numbers: pd.Series) -> Feedback:
    change = f", {scale.change}" if scale.change else ""
    return Feedback(
        scale.stars(numbers),
        "ratings",
        f"ratings from {scale}{change}",
        f"no rating from {scale}",
    )


def _counts(given: pd.Series) -> bool:
    return bool((given % 1 == 0).all() and given.min() >= 0 and given.quantile(0.99) > COUNTS_FROM)


def _numbers(column: pd.Series) -> pd.Series:
    """Cells as numbers: ``4``, ``4,5``, ``4/5``, ``★★★½``, ``yes``."""
    numbers = as_numbers(column)
    if pd.api.types.is_numeric_dtype(column) or numbers.notna().mean() > 0.5:
        return numbers
    text = column.astype(str).str.strip().str.lower()
    words = text.map(LIKES)
    if words.notna().any():
        return words
    stars = text.str.count("★") + 0.5 * text.str.count("½")
    if (stars > 0).any():
        return stars.where(stars > 0)
    parts = as_numbers(text.str.extract(r"^([\d.,]+)\s*(?:/|of|out of|stars?)", expand=False))
    return parts if parts.notna().sum() > numbers.notna().sum() else numbers
