"""Answers with a part of the model swapped or switched off."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from torch import Tensor

from ckf_demo.inference.figures import Figures, figures, needed_tasks, present
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.predict import answer_states, fuse
from ckf_demo.model.system import COMPLETE, Ablation
from ckf_demo.runtime.errors import UserError

AVERAGE_OF = 200
"""Number of people whose bridges are averaged."""


@dataclass(frozen=True)
class Part:
    """A part of the model that is switched off, or replaced by another person's.

    ``bridges`` are W^user and W^item (1, D, D).
    """

    name: str
    label: str
    ablation: Ablation = COMPLETE
    bridges: tuple[Tensor, Tensor] | None = None


class Components:
    """The parts of one checkpoint that can be swapped or switched off."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor
        self._average: tuple[tuple[Tensor, Tensor], int] | None = None

    @property
    def has_bridges(self) -> bool:
        """Whether the method has personal bridges, which can be swapped."""
        return self._predictor.system.fusion.has_personal_bridges

    @property
    def missing(self) -> list[str]:
        """Names of the parts that the checkpoint does not have."""
        lora, fusion = self._predictor.system.lora.config, self._predictor.system.fusion
        present_parts = {
            "personal bridges": fusion.has_personal_bridges,
            "collaborative tokens": fusion.uses_tokens,
            "shared adapter": bool(lora.shared_targets),
            "task adapters": bool(lora.task_targets),
            "collaborative prior": fusion.prior is not None,
        }
        return [name for name, is_present in present_parts.items() if not is_present]

    def swap(
        self, person: Person, target: int, other: str | None, stop: Event | None
    ) -> Iterator[dict]:
        """The answers with one part changed; see `Counterfactuals.swap_components`."""
        needed_tasks(self._predictor)
        parts = self._parts(other)
        base = present(self._predictor, person, target)
        yield {"part": "own", "label": "As it is", **base}
        for part in parts:
            if stop is not None and stop.is_set():
                return
            with self._predictor.lock:
                answers = self._answers(part, person, target)
            yield {"part": part.name, "label": part.label, **answers}

    def _parts(self, other: str | None) -> list[Part]:
        system = self._predictor.system
        fusion, lora = system.fusion, system.lora.config
        parts = []
        if other is not None:
            bridges = self.bridges_of(other)
            parts.append(Part("other bridges", f"Bridges of user {other}", bridges=bridges))
        if self.has_bridges:
            bridges, n = self.average_bridges()
            parts.append(Part("average bridges", f"Average bridges (n = {n})", bridges=bridges))
            identity = Ablation(user_bridge=False, item_bridge=False)
            parts.append(Part("no bridges", "No bridges (identity)", identity))
        if fusion.fuses:
            label = "Collaborative tokens off" if fusion.uses_tokens else "Weight updates off"
            parts.append(Part("no tokens", label, Ablation(tokens=False)))
        if lora.shared_targets:
            parts.append(Part("no shared", "Shared adapter off", Ablation(shared_adapter=False)))
        if lora.task_targets:
            parts.append(Part("no task", "Task adapter off", Ablation(task_adapter=False)))
        if fusion.prior is not None:
            parts.append(Part("no prior", "Collaborative prior off", Ablation(prior=False)))
        return parts

    @torch.inference_mode()
    def bridges_of(self, user: str, at: int | None = None) -> tuple[Tensor, Tensor]:
        """W^user and W^item, each (1, D, D), of a known user at a moment, by default theirs.

        Raises
        ------
        UserError
            When the user is unknown, or the method has no personal bridges.
        """
        predictor = self._predictor
        fusion = predictor.system.fusion
        if not self.has_bridges:
            raise UserError(
                f"{fusion.label} has no personal bridges, so those of user {user} cannot be used; "
                "leave the other user out."
            )
        person = predictor.people.read_person(user=user, at=at)
        return fusion.bridges(predictor.pairs(person, np.array([0])))

    @torch.inference_mode()
    def bridge_distance(self, person: Person) -> float | None:
        """The distance of the person's bridge; see `FusionMethod.bridge_distance`.

        None for methods without personal bridges.
        """
        predictor = self._predictor
        if not predictor.system.fusion.fuses:
            return None
        # the bridge depends only on the person, so any item will do
        pairs = predictor.pairs(person, np.array([0]))
        with predictor.lock:
            distance = predictor.system.fusion.bridge_distance(pairs)
        return None if distance is None else float(distance[0])

    @torch.inference_mode()
    def average_bridges(self) -> tuple[tuple[Tensor, Tensor], int]:
        """The mean W^user and W^item of people with a history at the split time, and how many."""
        if self._average is not None:
            return self._average
        system, data = self._predictor.system, self._predictor.prepared
        histories = []
        for user in np.random.default_rng(0).permutation(data.n_users):
            rows = data.history.rows_of(int(user))
            rows = rows[data.timestamp[rows] < data.split_time]
            if len(rows) and len(histories) < AVERAGE_OF:
                histories.append(rows)
        bridges = [
            system.fusion.bridges(
                system.pairs(
                    data.item[rows], data.rating[rows], np.array([len(rows)]), np.array([0])
                )
            )
            for rows in histories
        ]
        user, item = (torch.cat(side).mean(0, keepdim=True) for side in zip(*bridges, strict=True))
        self._average = (user, item), len(bridges)
        return self._average

    @torch.inference_mode()
    def _answers(self, part: Part, person: Person, target: int) -> Figures:
        predictor, ablation = self._predictor, part.ablation
        system, tasks = predictor.system, needed_tasks(predictor)
        context = predictor.context(person)
        questions = [context.question(task, target) for task in tasks]
        fused = fuse(system, context, questions[:1], ablation, part.bridges)
        states = answer_states(
            system,
            context,
            questions,
            fused,
            ablation,
            pairs=[0] * len(tasks),
            prefixes=predictor.prefixes,
        )
        prior = fused if ablation.prior else None
        return figures(
            {
                task: system.read(task, hidden, prior, [0], calibrate=True)[0]
                for task, hidden in zip(tasks, states, strict=True)
            }
        )
