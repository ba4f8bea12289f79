"""CTR: would they like it (four stars or more)? Yes or no, read as a probability."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Moment, Question, Targets, Task
from ckf_demo.tasks.negatives import not_chosen

LIKED = 4.0


@dataclass(frozen=True)
class CTR(Task):
    """Answers are logits (m,) of yes, learnt by binary cross-entropy."""

    def about_row(self, moment: Moment, row: int, *, hide_title: bool) -> list[Question]:
        """One question, about the item of the row; positive-only data adds a sampled negative."""
        data = moment.prepared
        targets = {int(data.item[row]): float(data.liked[row])}
        if data.positive_only:
            negative = not_chosen(data, moment.knowledge, row, 1, moment.rng)[0]
            targets[int(negative)] = 0.0
        return [
            moment.question(self.name, row, item, target, hide_title=hide_title)
            for item, target in targets.items()
        ]

    def example_answer(self, stars: float, liked: bool) -> int | None:
        return 0 if liked else 1

    def within_user(self, answer: Tensor, targets: Targets) -> Tensor | None:
        """Pairwise logistic loss of one user's liked items above the others (BPR), mean over pairs.

        Zero for a user with one kind alone.
        """
        liked = targets.values.bool()
        above, below = answer[liked], answer[~liked]
        pairs = above[:, None] - below[None, :]
        return F.softplus(-pairs).mean() if pairs.numel() else answer.sum() * 0.0


TASK = CTR("ctr", "Like", "\nWould like it:", lead=" would like:")
