"""Requests for a ranking: who asks when, what they had rated, and what is to be found."""

from dataclasses import dataclass

import numpy as np

from ckf_demo.data.prepared import Prepared

TENTH = 9
"""Position of the interaction at which a user without an earlier row is asked about."""


@dataclass(frozen=True)
class Query:
    """One user's request for a ranking of the whole catalogue.

    ``items`` and ``ratings`` are the history that a method may see, oldest first; ``seen`` are all
    items rated before ``at``, which are no candidates; ``relevant`` are items to be found.
    """

    user: int
    at: int
    items: np.ndarray
    ratings: np.ndarray
    seen: np.ndarray
    relevant: np.ndarray


def ranking_queries(prepared: Prepared, split: int, k: int | None = None) -> list[Query]:
    """One query for each user of a part who has something to be found.

    A query stands at the user's first row in that part; for a user without any earlier row it
    stands at their tenth interaction, as in the app, since nobody can rank for a stranger who has
    said nothing. History: everything strictly before that moment (its last ``k`` interactions).
    Relevant: items of the part at or after that moment with a rating of at least 4. Candidates:
    the whole catalogue minus everything rated before.
    """
    queries = []
    for user in np.unique(prepared.user[prepared.split == split]):
        rows = prepared.history.rows_of(int(user))
        first = int(np.argmax(prepared.split[rows] == split))
        at = int(prepared.timestamp[rows[first]])
        if prepared.history.length(int(rows[first])) == 0:
            at = int(prepared.timestamp[rows[min(TENTH, len(rows) - 1)]])
        moments = prepared.timestamp[rows]
        before = rows[moments < at]
        later = rows[(moments >= at) & (prepared.split[rows] == split)]
        relevant = prepared.item[later[prepared.liked[later]]]
        if not len(relevant):
            continue
        known = before if k is None else before[max(0, len(before) - k) :]
        queries.append(
            Query(
                user=int(user),
                at=at,
                items=prepared.item[known],
                ratings=prepared.rating[known],
                seen=prepared.item[before],
                relevant=relevant,
            )
        )
    return queries
