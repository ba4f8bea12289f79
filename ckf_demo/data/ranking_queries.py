"""Ranking queries: a user, a moment, the history before it, and the relevant items after it."""

from dataclasses import dataclass

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import NEWCOMER_INTERACTIONS


@dataclass(frozen=True)
class Query:
    """One user's request for a ranking of the whole catalogue.

    ``items`` and ``ratings`` are the history that a method may see, oldest first. ``seen`` holds
    all items rated before ``at``, which are no candidates; ``relevant`` holds the items to find.
    """

    user: int
    at: int
    items: np.ndarray
    ratings: np.ndarray
    seen: np.ndarray
    relevant: np.ndarray


def ranking_queries(prepared: Prepared, split: int, k: int | None = None) -> list[Query]:
    """One query for each user of a part who has relevant items.

    A query is at the user's first row in that part. For a user without earlier rows it is at their
    tenth interaction, as in the app, since a ranking needs a history. History: all interactions
    strictly before that moment (or the last ``k``). Relevant: liked items of the part at or after
    that moment. Candidates: the whole catalogue without items rated before.
    """
    queries = []
    for user in np.unique(prepared.user[prepared.split == split]):
        rows = prepared.history.rows_of(int(user))
        first = int(np.argmax(prepared.split[rows] == split))
        at = int(prepared.timestamp[rows[first]])
        if prepared.history.length(int(rows[first])) == 0:
            at = int(prepared.timestamp[rows[min(NEWCOMER_INTERACTIONS, len(rows)) - 1]])
        moments = prepared.timestamp[rows]
        before = rows[moments < at]
        later = rows[(moments >= at) & (prepared.split[rows] == split)]
        relevant = prepared.item[later[prepared.liked[later]]]
        if not len(relevant):
            continue
        shown = before[0 if k is None else max(0, len(before) - k) :]
        queries.append(
            Query(
                user=int(user),
                at=at,
                items=prepared.item[shown],
                ratings=prepared.rating[shown],
                seen=prepared.item[before],
                relevant=relevant,
            )
        )
    return queries
