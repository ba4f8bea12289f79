"""Losses of packed sequences by task, and what they add up to."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.model.predict import answer_states, fuse
from ckf_demo.model.system import COMPLETE, Ablation, System
from ckf_demo.tasks.base import Targets
from ckf_demo.tasks.registry import TASKS
from ckf_demo.training.sequences import PackedSequence

Loss = TypeVar("Loss", float, Tensor)


def sequence_losses(
    system: System,
    sequence: PackedSequence,
    ablation: Ablation = COMPLETE,
    *,
    teach: bool = False,
) -> dict[str, Tensor]:
    """Mean loss per task of one packed sequence, in one forward pass.

    With ``teach`` the language model also answers without the prior, and these answers must stay
    near the prior's (``own_weight`` and ``alignment`` of the configuration). Without that, a good
    prior leaves tokens and adapters nothing to learn.
    """
    questions = sequence.questions
    if not questions:
        # a single task may have no question, as ranking for a user without likes
        return {}
    fused = None if sequence.text_only else fuse(system, sequence, questions, ablation)
    hidden = answer_states(system, sequence, questions, fused, ablation, training=True)
    prior = fused if ablation.prior else None
    device, train = system.engine.device, system.config.train
    values = torch.tensor([q.target for q in questions], device=device)
    counts = torch.from_numpy(system.knowledge.item_count[[q.item for q in questions]]).to(device)
    losses: dict[str, Tensor] = {}
    for name in dict.fromkeys(q.task for q in questions):
        task = system.writer.tasks[name]
        rows = [i for i, q in enumerate(questions) if q.task == name]
        if not task.answers:
            texts = [_text_loss(system, hidden[i], questions[i].text) for i in rows]
            losses[name] = torch.stack(texts).mean()
            continue
        last = torch.cat([hidden[i] for i in rows])
        targets = Targets(values[rows], counts[rows], train.negatives + 1)
        ensemble = system.read(name, last, prior, rows, calibrate=False)
        losses[name] = task.loss(ensemble, targets)
        if teach and prior is not None and name in prior.prior:
            lm_only = system.read(name, last, None, rows, calibrate=False)
            losses[name] = (
                losses[name]
                + train.own_weight * task.loss(lm_only, targets)
                + train.alignment * task.alignment(lm_only, prior.prior[name][rows], targets)
            )
            within_user = task.within_user(lm_only, targets) if train.within_user else None
            if within_user is not None:
                losses[name] = losses[name] + train.within_user * within_user
    return losses


def _text_loss(system: System, hidden: Tensor, text: str) -> Tensor:
    target = torch.tensor(system.writer.continuation(text), device=hidden.device)
    return F.cross_entropy(system.engine.logits(hidden), target)


@torch.inference_mode()
def sequence_losses_of(
    system: System, sequences: Iterable[PackedSequence], ablation: Ablation = COMPLETE
) -> dict[str, np.ndarray]:
    """Loss per task and sequence; NaN where a sequence has no such question: float64 (n,).

    Questions of tasks that the system does not know are left out.
    """
    system.lora.eval()
    system.fusion.eval()
    tasks = system.config.train.tasks
    rows = []
    for sequence in sequences:
        answerable = [q for q in sequence.questions if q.task in tasks]
        losses = sequence_losses(system, replace(sequence, questions=answerable), ablation)
        rows.append([losses[t].item() if t in losses else np.nan for t in tasks])
    return dict(zip(tasks, np.array(rows).reshape(-1, len(tasks)).T, strict=True))


def weighted_sum(losses: Mapping[str, Loss]) -> Loss:
    """The sum of losses by task, each with its task's weight."""
    return sum(TASKS[name].weight * loss for name, loss in losses.items())


def selection_loss(losses: Mapping[str, float]) -> float:
    """The loss for early stopping: the weighted sum over tasks that select.

    Explanations still improve when the other tasks already overfit, and they have a last stage of
    their own. They decide only when there is no other task.
    """
    return weighted_sum({t: x for t, x in losses.items() if TASKS[t].selects} or losses)
