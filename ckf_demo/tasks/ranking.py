"""Ranking: which film do they choose next and like? One score per candidate.

Another question than CTR: that one asks about films that somebody did watch. Here the films that
they had not seen compete, so what is learnt is choice and liking together.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Task, pool

TASK = Task("ranking", "Top-K", "\nWatches it next:", (" Yes", " No"), lead=" watches next:")
POWER = 0.75


def combine(logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Scores (m,), comparable within one person."""
    return pool(logits[:, 0] - logits[:, 1], prior, weight)


def sampled(scores: Tensor, counts: Tensor, group: int) -> Tensor:
    """Log-probabilities (n, group) within groups of scores (n·group,), corrected for sampling.

    Negatives are drawn by `sample_negatives`, popular ones more often; taking the logarithm of
    that weight off (sampled softmax) leaves scores that are right for the whole catalogue.
    ``counts`` (n·group,) are the items' rating counts.
    """
    return (scores - POWER * torch.log(counts + 1.0)).view(-1, group).log_softmax(-1)


def loss(scores: Tensor, counts: Tensor, group: int) -> Tensor:
    """Sampled softmax cross-entropy of the first item of every ``group``, mean over groups."""
    return -sampled(scores, counts, group)[:, 0].mean()


def alignment(scores: Tensor, prior: Tensor, counts: Tensor, group: int) -> Tensor:
    """Divergence of the language model's own choice from the prior's, mean over groups."""
    own, other = sampled(scores, counts, group), sampled(prior, counts, group)
    return F.kl_div(own, other, reduction="batchmean", log_target=True)


def sample_negatives(
    counts: np.ndarray, seen: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) that a person never rated, popular ones more often (∝ (count + 1)^`POWER`)."""
    weights = (counts + 1.0) ** POWER
    weights[seen] = 0.0
    return rng.choice(len(counts), size=size, replace=False, p=weights / weights.sum())
