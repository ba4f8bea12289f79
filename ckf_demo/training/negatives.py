"""What somebody did not choose, in the place of dislikes and as the rest of a choice."""

import numpy as np

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.tasks import ranking


def not_chosen(
    prepared: Prepared, knowledge: Knowledge, row: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) that a row's user chooses nowhere up to its part, popular ones more often."""
    own = prepared.history.rows_of(int(prepared.user[row]))
    seen = prepared.item[own[prepared.split[own] <= prepared.split[row]]]
    return ranking.sample_negatives(knowledge.item_count, seen, size, rng)


def with_negatives(
    prepared: Prepared, knowledge: Knowledge, rows: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n,) as CTR asks about them: rows, items and whether they were liked.

    Where nobody says no, each row comes a second time with an item that its user never chose.
    """
    items, liked = prepared.item[rows], prepared.liked[rows]
    if not prepared.positive_only:
        return rows, items, liked
    others = [not_chosen(prepared, knowledge, int(row), 1, rng)[0] for row in rows]
    nobody = np.zeros(len(rows), dtype=bool)
    return np.r_[rows, rows], np.r_[items, others], np.r_[liked, nobody]
