"""Rating: how many stars would they give? Five answers, read as a distribution."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Moment, Question, Targets, Task, pool

STARS = torch.arange(1.0, 6.0)


def nearest_star(stars: Tensor | float) -> Tensor:
    """Places int64 of the nearest whole stars in 1–5; halves count for the upper one."""
    return (torch.as_tensor(stars) + 0.5).floor().long() - 1


def expectation(log_probabilities: Tensor) -> Tensor:
    """Expected stars (m,), from (m, 5)."""
    return log_probabilities.exp() @ STARS.to(log_probabilities)


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
