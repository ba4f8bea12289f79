"""A task: a question at the end of a branch, how it is learnt and how its answer is read."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.explanations.facts import CoLikedItems

NOTHING = torch.zeros(0)


@dataclass(frozen=True)
class Question:
    """A question about an item, asked when the first ``length`` items of the history are known."""

    task: str
    item: int
    length: int
    _: KW_ONLY
    labels: int = 0
    """How many labels of the training part count, where the collaborative side uses any."""
    tokens: bool = True
    """Whether collaborative tokens or weight updates enter, for methods that have any."""
    facts: str = ""
    """What is known of the pair, in words; for explanations."""
    hide_title: bool = False
    text: str = ""
    """An explanation to be learnt; its states are then one per token."""
    target: float = 0.0
    """In training, the right answer as the task reads it: stars, or 1 for yes."""


@dataclass(frozen=True)
class Targets:
    """What is true of m questions of one task.

    ``values`` float32 (m,) are their `Question.target`; ``counts`` float32 (m,) how often the items
    were rated; ``group`` the number of candidates of each ranking. A task may leave some unread.
    """

    values: Tensor = NOTHING
    counts: Tensor = NOTHING
    group: int = 1


@dataclass(frozen=True)
class Moment:
    """What the questions of one training sequence are drawn from."""

    prepared: Prepared
    knowledge: Knowledge
    rows: np.ndarray
    """Target interactions int (n,), whose user is the same."""
    visible: dict[int, int]
    """`Question.length` by target row."""
    labels: dict[int, int]
    history: np.ndarray
    """Interactions of the history, oldest first."""
    shown_from: int
    taste: str
    liked_together: CoLikedItems
    writings: TextEvidence | None
    """Texts that explanations are learnt from; None where the data have none."""
    choices: int
    """Ranking groups per sequence."""
    negatives: int
    """Sampled items per ranking group."""
    show_summaries: float
    """Share of explanations that are learnt with a summary of the item."""
    rng: np.random.Generator

    def question(
        self, task: str, row: int, item: int, target: float, *, hide_title: bool
    ) -> Question:
        """A question about an item, asked when a target row was."""
        visible, labels = self.visible[row], self.labels[row]
        return Question(task, item, visible, labels=labels, hide_title=hide_title, target=target)


@dataclass(frozen=True)
class Task:
    """A question about a (user, item) pair.

    A new task is a subclass in a file of its own and one line in the registry. It says which
    questions it draws from a sequence (`about_row`, `about_moment`), how the logits of its answer
    words become an answer (`combine`, `alone`), and what is lost by an answer (`loss`). What is
    written here is a task that is answered by yes or no.

    ``name`` stands in configurations and results, ``label`` on pages.
    """

    name: str
    label: str
    cue: str
    """Ends the branch."""
    answers: tuple[str, ...] = (" Yes", " No")
    """The single-token answers that are scored; empty for a task answered in free text."""
    lead: str = ""
    """Where a configuration asks the question first (`PromptConfig.question_first`), it stands
    before the item instead of the cue, so that all candidates share it. Empty for a task that
    cannot be asked first."""
    weight: float = 1.0
    """Of its loss in the total."""
    selects: bool = True
    """Whether its validation loss decides when training stops."""

    def about_row(self, moment: Moment, row: int, *, hide_title: bool) -> list[Question]:
        """The questions that the task asks about one of ``moment.rows``; none by default."""
        return []

    def about_moment(self, moment: Moment) -> list[Question]:
        """The questions that the task asks once per sequence; none by default."""
        return []

    def example_answer(self, stars: float, liked: bool) -> int | None:
        """Which of ``answers`` is right in a worked example; None for a task that has none."""
        return None

    def combine(self, logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
        """The answer, by default the logit (m,) of yes.

        ``logits`` (m, A) are the language model's of ``answers``. ``prior`` is the collaborative
        prior's answer, as in `ckf_demo.fusion.base.Fused`, and ``weight`` the language model's in
        the pool of both; None for the language model alone.
        """
        return pool(logits[:, 0] - logits[:, 1], prior, weight)

    def of_prior(self, prior: Tensor) -> Tensor:
        """The answer of the collaborative prior alone, in the form of `combine`."""
        return prior

    def probabilities(self, answer: Tensor) -> Tensor:
        """The answer of `combine` as probabilities, by default (m,) of yes."""
        return answer.sigmoid()

    def loss(self, answer: Tensor, targets: Targets) -> Tensor:
        """By default binary cross-entropy of logits (m,), mean over m."""
        return F.binary_cross_entropy_with_logits(answer, targets.values)

    def alignment(self, answer: Tensor, prior: Tensor, targets: Targets) -> Tensor:
        """How far the language model's own answer is from the prior's, mean over m.

        By default the cross-entropy of two logits (m,).
        """
        return F.binary_cross_entropy_with_logits(answer, prior.sigmoid())

    def within_user(self, answer: Tensor, targets: Targets) -> Tensor | None:
        """A loss on the order of one user's answers; None for a task without one."""
        return None


def pool(lm_only: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Logarithmic opinion pool of the language model's logits and the collaborative prior's.

    ``weight`` in 0–1 is the language model's; without a prior its own logits are the answer.
    """
    if prior is None:
        return lm_only
    assert weight is not None  # a prior comes with its weight
    return (1 - weight) * prior + weight * lm_only
