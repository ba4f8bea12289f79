"""Ranking: which film do they choose next and like? One score per candidate.

Another question than CTR: that one asks about films that somebody did watch. Here the films that
they had not seen compete, so what is learnt is choice and liking together.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Task, pool

TASK = Task("ranking", "Top-K", "\nWatches it next:", (" Yes", " No"))
POWER = 0.75
SHORTLIST = 100


def combine(logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Scores (m,), comparable within one person."""
    return pool(logits[:, 0] - logits[:, 1], prior, weight)


def sampled(scores: Tensor, offered: Tensor, group: int) -> Tensor:
    """Log-probabilities (n, group) within groups of scores (n·group,), corrected for sampling.

    ``offered`` (n·group,) is the logarithm of each item's `proposal` weight; taking it off (sampled
    softmax) leaves scores that are right for the whole catalogue.
    """
    return (scores - offered).view(-1, group).log_softmax(-1)


def loss(scores: Tensor, offered: Tensor, group: int) -> Tensor:
    """Sampled softmax cross-entropy of the first item of every ``group``, mean over groups."""
    return -sampled(scores, offered, group)[:, 0].mean()


def alignment(scores: Tensor, prior: Tensor, offered: Tensor, group: int) -> Tensor:
    """Divergence of the language model's own choice from the prior's, mean over groups."""
    own, other = sampled(scores, offered, group), sampled(prior, offered, group)
    return F.kl_div(own, other, reduction="batchmean", log_target=True)


def proposal(scores: np.ndarray, counts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """What negatives are drawn from: float64 (I,), sums to one, zero where ``seen`` (bool (I,)).

    Half of the weight lies evenly on the `SHORTLIST` best by the candidate stage's ``scores`` (I,),
    the films that a ranking has to put in order, and half goes by popularity over all others too
    (∝ (count + 1)^`POWER`), so that nothing unseen is left out.
    """
    popular = np.where(seen, 0.0, (counts + 1.0) ** POWER)
    best = np.argsort(np.where(seen, -np.inf, scores))[::-1][:SHORTLIST]
    best = best[~seen[best]]
    weights = 0.5 * popular / popular.sum()
    weights[best] += 0.5 / len(best)
    return weights


def sample_negatives(
    weights: np.ndarray, chosen: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Items (size,) other than ``chosen``, all different, drawn by a `proposal`."""
    others = weights.copy()
    others[chosen] = 0.0
    return rng.choice(len(others), size=size, replace=False, p=others / others.sum())
