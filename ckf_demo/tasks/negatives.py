"""Sampled negatives: items that a user did not choose, for CTR without dislikes and for ranking."""

import numpy as np

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared

POWER = 0.75
"""Negatives are drawn in proportion to (count + 1)^`POWER`."""


def sample_negatives(
    counts: np.ndarray, seen: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) outside ``seen``, popular ones more often (∝ (count + 1)^`POWER`)."""
    weights = (counts + 1.0) ** POWER
    weights[seen] = 0.0
    return rng.choice(len(counts), size=size, replace=False, p=weights / weights.sum())


def not_chosen(
    prepared: Prepared, knowledge: Knowledge, row: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) that a row's user chooses nowhere up to its part, popular ones more often."""
    rows = prepared.history.rows_of(int(prepared.user[row]))
    seen = prepared.item[rows[prepared.split[rows] <= prepared.split[row]]]
    return sample_negatives(knowledge.item_count, seen, size, rng)


def with_negatives(
    prepared: Prepared, knowledge: Knowledge, rows: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n,) as CTR asks about them: rows, items and whether they were liked.

    Positive-only data has no negatives, so each row comes a second time with a sampled item.
    """
    items, liked = prepared.item[rows], prepared.liked[rows]
    if not prepared.positive_only:
        return rows, items, liked
    others = [not_chosen(prepared, knowledge, int(row), 1, rng)[0] for row in rows]
    negatives = np.zeros(len(rows), dtype=bool)
    return np.r_[rows, rows], np.r_[items, others], np.r_[liked, negatives]
