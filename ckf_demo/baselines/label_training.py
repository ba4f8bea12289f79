"""Baselines whose networks learn the labels of rows, stopped early by validation AUC."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances

MOST_EPOCHS = 30
"""The largest number of epochs."""

PATIENCE = 3
"""Epochs without a better validation AUC after which training stops."""

SEED = 0


Net = TypeVar("Net", bound=nn.Module)


class Targets(Protocol):
    """Targets with their histories, in a form that a network reads."""

    def __len__(self) -> int: ...

    def batches(self) -> Iterable[tuple[Any, Tensor]]:
        """One epoch in random order: what the network reads, and the positions of its targets."""
        ...

    def parts(self) -> Iterable[tuple[Any, Tensor]]:
        """All targets for answering: what the network reads, and the positions of its targets."""
        ...


@dataclass(frozen=True)
class Setting:
    """How one network is trained."""

    learning_rate: float
    weight_decay: float
    dropout: float


def choose(
    settings: Iterable[Setting],
    make: Callable[[Setting], Net],
    learning: tuple[Targets, np.ndarray],
    held_out: tuple[Targets, np.ndarray],
) -> tuple[Net, tuple[Setting, int]]:
    """Train a network for each setting by binary cross-entropy (AdamW), and take the best.

    ``make`` returns the initial network, drawn from torch's seeded generator. ``learning`` and
    ``held_out`` are targets with their labels (n,): to learn from, and to choose setting and epochs
    on by AUC. Returns the network, its setting and its number of epochs.
    """
    targets, labels = learning[0], torch.from_numpy(learning[1]).float()
    best, best_net, chosen = -1.0, None, None
    for setting in settings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            net = make(setting)
            optimizer = torch.optim.AdamW(
                net.parameters(), setting.learning_rate, weight_decay=setting.weight_decay
            )
            best_of_setting, waited = -1.0, 0
            for epoch in range(1, MOST_EPOCHS + 1):
                net.train()
                for part, positions in targets.batches():
                    loss = F.binary_cross_entropy_with_logits(net(part), labels[positions])
                    step(optimizer, loss)
                value = auc(held_out[1], predict(net, held_out[0]))
                waited += 1
                if value > best_of_setting:
                    best_of_setting, waited = value, 0
                if value > best:
                    best, best_net, chosen = value, deepcopy(net), (setting, epoch)
                if waited == PATIENCE:
                    break
    assert best_net is not None and chosen is not None
    return best_net, chosen


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step along the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def predict(net: nn.Module, targets: Targets) -> np.ndarray:
    """Logits of all targets, float64 (n,)."""
    net.eval()
    logits = torch.empty(len(targets))
    for part, positions in targets.parts():
        logits[positions] = net(part)
    return logits.double().numpy()


class LabelTrained(Baseline):
    """A baseline with a network that learns whether the targets of training rows were liked."""

    tasks = ("ctr",)
    feedback = ("ratings", "likes")

    @abstractmethod
    def read(self, instances: EvalInstances) -> Targets:
        """The targets as the network reads them."""

    def train(
        self, data: TrainingData, settings: Iterable[Setting], make: Callable[[Setting], nn.Module]
    ) -> None:
        """Take the best network of several settings (`choose`)."""
        learning, validation = data.learning, data.validation
        self.net, self.chosen = choose(
            settings,
            make,
            (self.read(learning), learning.labels),
            (self.read(validation), validation.labels),
        )

    def score(self, instances: EvalInstances) -> Scores:
        return Scores(ctr=predict(self.net, self.read(instances)))
