"""Reviews: who rated what and wrote what about it, as several formats hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckf_demo.data.sources.base import PRODUCTS, RawData
from ckf_demo.data.sources.names import names_from_reviews
from ckf_demo.data.splits import FIT_SHARE, time_order
from ckf_demo.runtime.errors import UserError


@dataclass(frozen=True)
class Review:
    """One usable line: ``time`` in seconds since 1970, ``text`` empty when nothing was said."""

    user: str
    item: str
    rating: float
    time: int
    text: str


def reviewed(
    reviews: Sequence[Review], titles: dict[str, str], notes: Sequence[str] = ()
) -> RawData:
    """Users, items and interactions with their texts, in time; UserError if there are none.

    Items without a title are named after what their reviews say (`names_from_reviews`), by the
    newest reviews of the part that collaborative models are fitted on.
    """
    if not reviews:
        raise UserError("the data set has no reviews; use a complete copy of it")
    order = time_order(np.array([r.time for r in reviews]), np.arange(len(reviews)))
    ordered = [reviews[place] for place in order]
    items = list(dict.fromkeys(review.item for review in ordered))
    untitled = [item for item in items if not titles.get(item)]
    newest: dict[tuple[str, str], Review] = {}
    for review in reversed(ordered):
        newest.setdefault((review.user, review.item), review)
    fitted = list(newest.values())[::-1][: int(FIT_SHARE * len(newest))]
    named = names_from_reviews(untitled, [(r.item, r.text) for r in fitted]) if untitled else {}
    notes = list(notes)
    if untitled:
        notes.append(f"{len(untitled):,} of {len(items):,} items have no title and were named.")
    return RawData.from_rows(
        [(user, None, None, None) for user in dict.fromkeys(review.user for review in ordered)],
        [(item, titles.get(item) or named[item], None, ()) for item in items],
        [(review.user, review.item, review.rating, review.time) for review in ordered],
        texts=[review.text for review in ordered],
        notes=notes,
        domain=PRODUCTS,
    )
