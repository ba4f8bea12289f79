"""Ranking: which film do they choose next and like? One score per candidate.

Another question than CTR: that one asks about films that somebody did watch. Here the films that
they had not seen compete, so what is learnt is choice and liking together.
"""

import numpy as np
from torch import Tensor

from ckf_demo.tasks.base import Task

TASK = Task("ranking", "Top-K", "\nWatches it next:", (" Yes", " No"))


def combine(logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Scores (m,), comparable within one person."""
    own = logits[:, 0] - logits[:, 1]
    return own if prior is None else prior + weight * own


def loss(scores: Tensor, group: int) -> Tensor:
    """Softmax cross-entropy of the first of every ``group`` scores; ``scores`` (n·group,)."""
    return -scores.view(-1, group).log_softmax(-1)[:, 0].mean()


def sample_negatives(
    counts: np.ndarray, seen: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) that a person never rated, popular ones more often (∝ count^0.75).

    Popularity alone must not tell a chosen film from the others, or the model learns nothing else.
    """
    weights = (counts + 1.0) ** 0.75
    weights[seen] = 0.0
    return rng.choice(len(counts), size=size, replace=False, p=weights / weights.sum())
