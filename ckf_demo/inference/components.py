"""Answers with a part of the model swapped or switched off."""

from collections.abc import Iterator
from functools import cached_property
from threading import Event

import numpy as np
import torch
from torch import Tensor

from ckf_demo.inference.figures import Figures, compared_tasks, present, read
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.predict import answer_states, fuse
from ckf_demo.model.system import COMPLETE, Ablation
from ckf_demo.runtime.errors import UserError

AVERAGE_OF = 200
"""Number of people whose bridges are averaged."""

Bridges = tuple[Tensor, Tensor]
"""W^user and W^item, each (1, D, D)."""


class Components:
    """The parts of one checkpoint that can be swapped or switched off."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    @property
    def has_bridges(self) -> bool:
        """Whether the method has personal bridges, which can be swapped."""
        return self._predictor.system.fusion.has_personal_bridges

    @property
    def missing(self) -> list[str]:
        """Parts that `Counterfactuals.swap_components` leaves out: the checkpoint has none."""
        lora, fusion = self._predictor.system.lora.config, self._predictor.system.fusion
        is_present = {
            "personal bridges": fusion.has_personal_bridges,
            "collaborative tokens": fusion.uses_tokens,
            "shared adapter": bool(lora.shared_targets),
            "task adapters": bool(lora.task_targets),
            "collaborative prior": fusion.prior is not None,
        }
        return [name for name in is_present if not is_present[name]]

    def swap(
        self, person: Person, target: int, other: str | None, stop: Event | None
    ) -> Iterator[dict]:
        """The answers with one part changed; see `Counterfactuals.swap_components`."""
        parts = self._parts(other)
        base = present(self._predictor, person, target)
        yield {"part": "own", "label": "As it is", **base}
        for name, (label, ablation, bridges) in parts.items():
            if stop is not None and stop.is_set():
                return
            with self._predictor.lock:
                answers = self.answers(person, target, ablation, bridges)
            yield {"part": name, "label": label, **answers}

    def _parts(self, other: str | None) -> dict[str, tuple[str, Ablation, Bridges | None]]:
        """Label, what is switched off, and other bridges, by the name of a part."""
        fusion, lora = self._predictor.system.fusion, self._predictor.system.lora.config
        parts: dict[str, tuple[str, Ablation, Bridges | None]] = {}
        if other is not None:
            parts["other bridges"] = f"Bridges of user {other}", COMPLETE, self.bridges_of(other)
        if self.has_bridges:
            bridges, n = self.average_bridges
            parts["average bridges"] = f"Average bridges (n = {n})", COMPLETE, bridges
            identity = Ablation(user_bridge=False, item_bridge=False)
            parts["no bridges"] = "No bridges (identity)", identity, None
        if fusion.fuses:
            label = "Collaborative tokens off" if fusion.uses_tokens else "Weight updates off"
            parts["no tokens"] = label, Ablation(tokens=False), None
        if lora.shared_targets:
            parts["no shared"] = "Shared adapter off", Ablation(shared_adapter=False), None
        if lora.task_targets:
            parts["no task"] = "Task adapter off", Ablation(task_adapter=False), None
        if fusion.prior is not None:
            parts["no prior"] = "Collaborative prior off", Ablation(prior=False), None
        return parts

    @torch.inference_mode()
    def bridges_of(self, user: str, at: int | None = None) -> Bridges:
        """The bridges of a known user at a moment, by default theirs.

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
        """`FusionMethod.bridge_distance` of a person; None for methods without personal bridges."""
        predictor = self._predictor
        if not predictor.system.fusion.fuses:
            return None
        # the bridge depends only on the person, so any item will do
        pairs = predictor.pairs(person, np.array([0]))
        with predictor.lock:
            distance = predictor.system.fusion.bridge_distance(pairs)
        return None if distance is None else float(distance[0])

    @cached_property
    @torch.inference_mode()
    def average_bridges(self) -> tuple[Bridges, int]:
        """The mean bridges of people with a history at the split time, and how many."""
        system, data = self._predictor.system, self._predictor.prepared
        bridges = []
        for user in np.random.default_rng(0).permutation(data.n_users):
            rows = data.history.rows_of(int(user))
            rows = rows[data.timestamp[rows] < data.split_time]
            if len(rows) and len(bridges) < AVERAGE_OF:
                length, item = np.array([len(rows)]), np.array([0])
                pairs = system.pairs(data.item[rows], data.rating[rows], length, item)
                bridges.append(system.fusion.bridges(pairs))
        user, item = (torch.cat(side).mean(0, keepdim=True) for side in zip(*bridges, strict=True))
        return (user, item), len(bridges)

    @torch.inference_mode()
    def answers(
        self, person: Person, target: int, ablation: Ablation, bridges: Bridges | None
    ) -> Figures:
        """The answers with parts switched off or other bridges; the caller holds the lock."""
        predictor = self._predictor
        system, tasks = predictor.system, compared_tasks(predictor)
        context = predictor.context(person)
        questions = [context.question(task, target) for task in tasks]
        fused = fuse(system, context, questions[:1], ablation, bridges)
        states = answer_states(
            system,
            context,
            questions,
            fused,
            ablation,
            pairs=[0] * len(tasks),
            prefixes=predictor.prefixes,
        )
        return read(system, tasks, states, fused if ablation.prior else None)
