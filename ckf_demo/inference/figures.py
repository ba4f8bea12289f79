"""Answers as figures that can be compared: expected stars, a probability, a score."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from ckf_demo.fusion.base import Fused
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.system import System
from ckf_demo.tasks import rating

QUANTITIES = {"rating": "rating", "ctr": "probability", "ranking": "score"}
"""The name of each task's answer: expected stars, a probability, a logit."""

Figures = dict[str, float | None]
"""A figure for each of `QUANTITIES`; None for tasks that were not trained."""


def figures(answers: Mapping[str, Tensor]) -> Figures:
    """Answers by task, as `System.read` returns them, as figures."""
    out: Figures = dict.fromkeys(QUANTITIES.values())
    for task, answer in answers.items():
        if task == "rating":
            answer = rating.expectation(answer)
        elif task == "ctr":
            answer = answer.sigmoid()
        out[QUANTITIES[task]] = float(answer)
    return out


def read(system: System, tasks: Sequence[str], states: Sequence, fused: Fused | None) -> Figures:
    """Figures from the hidden states (1, D) of each task about one pair."""
    pairs = zip(tasks, states, strict=True)
    return figures(
        {t: system.read(t, hidden, fused, [0], calibrate=True)[0] for t, hidden in pairs}
    )


def of_prior(system: System, tasks: Sequence[str], fused: Fused) -> Figures:
    """Figures of one pair for tasks that the prior answers alone (`System.asks_prior_alone`)."""
    return figures({task: system.of_prior(task, fused, [0])[0] for task in tasks})


def compared_tasks(predictor: Predictor) -> tuple[str, ...]:
    """Tasks whose answers are compared: rating and CTR if trained, else ranking."""
    return tuple(predictor.scored_tasks) or tuple(t for t in ("ranking",) if t in predictor.tasks)


def present(predictor: Predictor, person: Person, target: int) -> Figures:
    """The answers without any change."""
    tasks = compared_tasks(predictor)
    answers = predictor.ask(person, [(task, target, predictor.methods[0]) for task in tasks])
    return figures(dict(zip(tasks, answers, strict=True)))
