"""Ranking: which item do they choose next and like? One score per candidate.

Another question than CTR: that one asks about items that the user did choose. Here the items that
they had not seen compete, so what is learnt is choice and liking together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Moment, Question, Targets, Task
from ckf_demo.tasks.negatives import POWER, not_chosen


def sampled(scores: Tensor, counts: Tensor, group: int) -> Tensor:
    """Log-probabilities (n, group) within groups of scores (n·group,), corrected for sampling.

    Negatives are drawn by `sample_negatives`, popular ones more often; taking the logarithm of
    that weight off (sampled softmax) leaves scores that are right for the whole catalogue.
    ``counts`` (n·group,) are the items' rating counts.
    """
    return (scores - POWER * torch.log(counts + 1.0)).view(-1, group).log_softmax(-1)


@dataclass(frozen=True)
class Ranking(Task):
    """Answers are scores (m,), comparable within one user's candidates."""

    def about_moment(self, moment: Moment) -> list[Question]:
        """Groups of one liked item and sampled negatives, the liked one first."""
        data = moment.prepared
        liked = [int(r) for r in moment.rows if data.liked[r]]
        moment.rng.shuffle(liked)
        questions = []
        for row in liked[: moment.choices]:
            others = not_chosen(data, moment.knowledge, row, moment.negatives, moment.rng)
            for item in (int(data.item[row]), *map(int, others)):
                questions.append(Question(self.name, item, moment.visible[row]))
        return questions

    def loss(self, answer: Tensor, targets: Targets) -> Tensor:
        """Sampled softmax cross-entropy of the first item of every group, mean over groups."""
        return -sampled(answer, targets.counts, targets.group)[:, 0].mean()

    def alignment(self, answer: Tensor, prior: Tensor, targets: Targets) -> Tensor:
        """Divergence of the language model's own choice from the prior's, mean over groups."""
        lm_only = sampled(answer, targets.counts, targets.group)
        other = sampled(prior, targets.counts, targets.group)
        return F.kl_div(lm_only, other, reduction="batchmean", log_target=True)


TASK = Ranking("ranking", "Top-K", "\nWatches it next:", lead=" watches next:", weight=0.7)
