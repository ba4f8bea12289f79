"""Rating: how many stars would they give? Five answers, read as a distribution."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Task, pool

TASK = Task("rating", "Rating", "\nStars:", ("1", "2", "3", "4", "5"))
STARS = torch.arange(1.0, 6.0)


def combine(logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Log-probabilities (m, 5) of one to five stars.

    ``logits`` (m, 5) are the language model's, pooled with those of a ``prior`` (m, 5).
    """
    return pool(logits, prior, weight).log_softmax(-1)


def expectation(log_probabilities: Tensor) -> Tensor:
    """Expected stars (m,), from (m, 5)."""
    return log_probabilities.exp() @ STARS.to(log_probabilities)


def loss(log_probabilities: Tensor, stars: Tensor) -> Tensor:
    """Cross-entropy plus half the squared error of the expectation, mean over m.

    ``stars`` float (m,) in 1–5; halves count for the nearer whole star (up).
    """
    index = (stars + 0.5).floor().long() - 1
    error = expectation(log_probabilities) - stars
    return F.nll_loss(log_probabilities, index) + 0.5 * error.square().mean()


def alignment(log_probabilities: Tensor, prior: Tensor) -> Tensor:
    """Divergence of the language model's own answer (m, 5) from the prior's, mean over m."""
    return F.kl_div(log_probabilities, prior.softmax(-1), reduction="batchmean")
