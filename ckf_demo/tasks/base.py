"""What a task is: a question at the end of a branch, and how its answer is read."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Task:
    """A question about a (person, item) pair.

    ``cue`` ends the branch; ``answers`` are the single-token answers that are scored, empty for a
    task that is answered in free text. Where a configuration asks the question first
    (`PromptConfig.question_first`), ``lead`` stands before the film instead, so that all candidates
    share it.
    """

    name: str
    label: str
    cue: str
    answers: tuple[str, ...] = ()
    lead: str = ""


def pool(own: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """Logarithmic opinion pool of the language model's logits and the collaborative prior's.

    ``weight`` in 0–1 is the language model's; without a prior its own logits stand.
    """
    if prior is None:
        return own
    assert weight is not None  # a prior comes with its weight
    return (1 - weight) * prior + weight * own
