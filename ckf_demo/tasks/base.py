"""What a task is: a question at the end of a branch, and how its answer is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A question about a (person, item) pair.

    ``cue`` ends the branch; ``answers`` are the single-token answers that are scored, empty for a
    task that is answered in free text.
    """

    name: str
    label: str
    cue: str
    answers: tuple[str, ...] = ()
