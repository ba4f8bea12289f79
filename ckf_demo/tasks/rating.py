"""Rating: how many stars would they give? Five answers, read as a distribution."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Moment, Question, Targets, Task, pool

STARS = torch.arange(1.0, 6.0)
HALVES = np.arange(1, 11) / 2
STEEPEST = 60.0
"""The largest t of `in_halves`; beyond it numbers are too large."""


def nearest_star(stars: Tensor | float) -> Tensor:
    """Places int64 of the nearest whole stars in 1–5; halves count for the upper one."""
    return (torch.as_tensor(stars) + 0.5).floor().long() - 1


def expectation(log_probabilities: Tensor) -> Tensor:
    """Expected stars (m,), from (m, 5)."""
    return log_probabilities.exp() @ STARS.to(log_probabilities)


def in_halves(probabilities: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Probabilities of half a star to five in steps of a half (10,), with the same expectation.

    The five answers are trained on the nearest whole star, where halves count for the upper one. So
    the answer of d stars stands for d and d - ½ stars, as frequent to one another as in the data.
    These are then weighed by exp(t · stars) with the t that keeps the expectation.

    Parameters
    ----------
    probabilities : (5,)
        Of one to five stars.
    frequencies : (10,)
        How often each rating was given.
    """
    pairs = frequencies.reshape(5, 2) + 1e-9
    halves = (probabilities[:, None] * pairs / pairs.sum(1, keepdims=True)).ravel()
    mean = float(np.clip(probabilities @ np.arange(1, 6), HALVES[0] + 0.01, HALVES[-1] - 0.01))

    def tilted(t: float) -> np.ndarray:
        weights = halves * np.exp(t * (HALVES - mean))
        return weights / weights.sum()

    t = brentq(lambda t: tilted(t) @ HALVES - mean, -STEEPEST, STEEPEST)
    return tilted(t)


@dataclass(frozen=True)
class Rating(Task):
    """Answers are log-probabilities (m, 5) of one to five stars."""

    def about_row(self, moment: Moment, row: int, *, hide_title: bool) -> list[Question]:
        """One question, about the item of the row."""
        data = moment.prepared
        item, stars = int(data.item[row]), float(data.rating[row])
        return [moment.question(self.name, row, item, stars, hide_title=hide_title)]

    def example_answer(self, stars: float, liked: bool) -> int | None:
        return int(nearest_star(stars))

    def combine(self, logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
        """Log-probabilities (m, 5), from the language model's logits and the prior's (m, 5)."""
        return pool(logits, prior, weight).log_softmax(-1)

    def of_prior(self, prior: Tensor) -> Tensor:
        """Log-probabilities (m, 5)."""
        return prior.log_softmax(-1)

    def probabilities(self, answer: Tensor) -> Tensor:
        """Probabilities (m, 5)."""
        return answer.softmax(-1)

    def loss(self, answer: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy plus half the squared error of the expectation, mean over m."""
        error = expectation(answer) - targets.values
        return F.nll_loss(answer, nearest_star(targets.values)) + 0.5 * error.square().mean()

    def alignment(self, answer: Tensor, prior: Tensor, targets: Targets) -> Tensor:
        """Divergence of the language model's own answer (m, 5) from the prior's, mean over m."""
        return F.kl_div(answer, prior.softmax(-1), reduction="batchmean")


TASK = Rating("rating", "Rating", "\nStars:", ("1", "2", "3", "4", "5"))
