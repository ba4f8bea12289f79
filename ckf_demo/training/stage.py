"""The common base of the stages after the joint one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.training.sequences import Packer, Segment

SAVE_EVERY = 100
"""Sequences between two saves of a run's state, and between two looks of a stage."""
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
console = Console(stderr=True)


def in_words(values: dict[str, float]) -> str:
    """Values by name in one line."""
    return " ".join(f"{k} {v:.4f}" for k, v in values.items())


@dataclass
class Stage(ABC):
    """A stage on the best weights of the joint one, which are read from the checkpoint.

    A stage changes what belongs to one task. The answers to all other tasks stay as they are.
    ``folder`` holds the checkpoint; training sequences are drawn by ``packer`` from ``segments``.
    """

    name: ClassVar[str]
    """As in the manifest's ``stages`` and behind ``ckf train --stage``."""
    serves: ClassVar[bool] = False
    """Whether it works with the tables for serving."""
    system: System
    folder: Path
    packer: Packer
    segments: list[Segment]

    @classmethod
    @abstractmethod
    def needed(cls, system: System) -> bool:
        """Whether the stage belongs to the configuration of a system."""

    @abstractmethod
    def run(self, progress: Progress) -> None:
        """Train or fit, and write the checkpoint with a record of the stage."""

    def save(self, record: dict) -> None:
        """Write the checkpoint; its manifest keeps what it says of earlier stages."""
        manifest = read_manifest(self.folder)
        stages = manifest.get("stages", {}) | {self.name: record}
        self.system.save(self.folder, extra={"training": manifest["training"], "stages": stages})

    def train_adapter(
        self,
        task: str,
        steps: int,
        rate: float,
        loss_at: Callable[[int], Tensor | None],
        look: Callable[[int], None],
        progress: Progress,
    ) -> None:
        """Train only a task's adapter, from the best weights so far; everything else is frozen.

        ``rate`` is the peak learning rate. ``loss_at`` gives the loss of a step, or None where its
        sequence has no question of the task. ``look`` is called with the number of steps done,
        every `SAVE_EVERY` and at the end.
        """
        config = self.system.config.train
        parameters = self._freeze_all_but(task)
        look(0)
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
        bar = progress.add_task(self.name, total=steps)
        self.system.borrowed = None
        for step in range(steps):
            torch.manual_seed(step)
            self.system.lora.train()
            loss = loss_at(step)
            if loss is not None:
                loss.backward()
            optimiser.param_groups[0]["lr"] = rate * config.rate_factor(step / steps)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update(bar, completed=step + 1)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
                look(step + 1)

    def _freeze_all_but(self, task: str) -> list[torch.nn.Parameter]:
        """Load the best weights and return the parameters of a task's adapter."""
        self.system.load_weights(self.folder)
        self.system.calibration = read_manifest(self.folder)["calibration"]
        self.system.fusion.eval().requires_grad_(False)
        for name, parameter in self.system.lora.peft.named_parameters():
            parameter.requires_grad_(task in name.split("."))
        return [p for p in self.system.lora.peft.parameters() if p.requires_grad]
