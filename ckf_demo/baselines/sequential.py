"""Sequential models of the liked items, trained to tell likes from dislikes."""

from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances

HIDDEN = 64
"""Width of embeddings and states."""

LONGEST = 50
"""Liked items that are read at most; the last ones are."""

DROPOUT = 0.5
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1.0
BATCH = 128
"""Histories, with all their targets, in one step."""

SPREAD = 0.02
"""Standard deviation of the first embeddings."""

SEED = 0

MOST_EPOCHS = 30
"""Epochs to train at most."""

PATIENCE = 3
"""Epochs without a better validation AUC after which training stops."""

UNKNOWN = 0
"""Row of the embedding table, all zeros, for padding and for items without training rows."""


class Sequential(Baseline):
    """s_uv = h · e_v + b_v, h the last state of an encoder over the liked items.

    A start token and the last 50 liked items of the row's own history are read; e_v is the same
    table that the items are read with. As CoLLM does, it is trained by binary cross-entropy on the
    labels of training rows, not to tell the next item, so dislikes count as targets. The user's
    identity is not used. Items without training rows get a logit of 0 and are left out of
    histories. The number of epochs is that of the best AUC on the rows to choose on; dropout,
    learning rate and weight decay were chosen by AUC and UAUC of all validation rows, by hand, for
    SASRec.
    """

    needs = ("likes and dislikes", "history")
    tasks = ("ctr",)
    feedback = ("likes",)

    @abstractmethod
    def encoder(self) -> nn.Module:
        """A new reader of histories, with embeddings and states of `HIDDEN` numbers.

        Called with embeddings float32 (g, L, d) and lengths int64 (g,) of what is no padding,
        which comes last; returns states (g, L, d), each of what stands before it and at its place.
        """

    def fit(self, material: TrainingData) -> None:
        known = np.unique(material.train.item)
        # by number among the known ones, so that items of other parts change no random number
        self.row_of = np.full(material.prepared.n_items, UNKNOWN)
        self.row_of[known] = np.arange(1, len(known) + 1)
        self.start = len(known) + 1
        learning, validation = material.learning, material.validation
        batch, labels = self._read(learning), torch.from_numpy(learning.labels).float()
        held_out = self._read(validation)
        best, waited = -1.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            net = _Net(self.start + 1, self.encoder)
            optimizer = torch.optim.AdamW(
                net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
            )
            for epoch in range(1, MOST_EPOCHS + 1):
                _train_epoch(net, optimizer, batch, labels)
                value = auc(validation.labels, _predict(net, held_out))
                waited += 1
                if value > best:
                    best, waited, self.net, self.chosen = value, 0, deepcopy(net), epoch
                if waited == PATIENCE:
                    break

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=_predict(self.net, self._read(cases)))

    def _read(self, cases: EvalInstances) -> "_Batch":
        rows, of_target = [], np.empty(len(cases), dtype=np.int64)
        for number, (positions, items, _) in enumerate(cases.by_history()):
            history = self.row_of[items[-LONGEST:]]
            rows.append([self.start, *history[history != UNKNOWN]])
            of_target[positions] = number
        lengths = np.array([len(row) for row in rows])
        histories = np.full((len(rows), lengths.max()), UNKNOWN)
        for history, row in zip(histories, rows, strict=True):
            history[: len(row)] = row
        arrays = (histories, lengths, of_target, self.row_of[cases.items])
        return _Batch(*map(torch.from_numpy, arrays))


@dataclass(frozen=True)
class _Batch:
    """Targets with their histories, which several of them can share.

    ``histories`` (g, L) rows of the embedding table, oldest first and padded at the end;
    ``lengths`` (g,); ``of_target`` (n,) the history of each target; ``targets`` (n,) rows of the
    embedding table. All int64.
    """

    histories: Tensor
    lengths: Tensor
    of_target: Tensor
    targets: Tensor

    def split(self, shuffled: bool) -> list[tuple["_Batch", Tensor]]:
        """Steps of histories of similar lengths, with the positions of their targets."""
        ties = torch.rand(len(self.lengths)) if shuffled else torch.zeros(len(self.lengths))
        steps = torch.argsort(self.lengths + ties, stable=True).split(BATCH)
        step_of, place = torch.empty((2, len(self.lengths)), dtype=torch.int64)
        for number, own in enumerate(steps):
            step_of[own], place[own] = number, torch.arange(len(own))
        by_step = torch.argsort(step_of[self.of_target], stable=True)
        sizes = torch.bincount(step_of[self.of_target], minlength=len(steps)).tolist()
        parts = []
        for own, positions in zip(steps, by_step.split(sizes), strict=True):
            lengths = self.lengths[own]
            histories = self.histories[own, : int(lengths.max())]
            of_target = place[self.of_target[positions]]
            parts.append(
                (_Batch(histories, lengths, of_target, self.targets[positions]), positions)
            )
        return parts


class _Net(nn.Module):
    def __init__(self, n_rows: int, encoder: Callable[[], nn.Module]):
        super().__init__()
        self.items = nn.Embedding(n_rows, HIDDEN, padding_idx=UNKNOWN)
        self.bias = nn.Embedding(n_rows, 1, padding_idx=UNKNOWN)
        self.encoder = encoder()
        with torch.no_grad():
            nn.init.zeros_(self.bias.weight)
            self.items.weight.mul_(SPREAD)

    def forward(self, batch: _Batch) -> Tensor:
        """Logits (n,) of being liked."""
        x = self.encoder(self.items(batch.histories), batch.lengths)
        last = x[torch.arange(len(x)), batch.lengths - 1][batch.of_target]
        return (last * self.items(batch.targets)).sum(-1) + self.bias(batch.targets)[:, 0]


def _train_epoch(
    net: _Net, optimizer: torch.optim.Optimizer, batch: _Batch, labels: Tensor
) -> None:
    net.train()
    parts = batch.split(shuffled=True)
    for number in torch.randperm(len(parts)).tolist():
        part, positions = parts[number]
        loss = F.binary_cross_entropy_with_logits(net(part), labels[positions])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _predict(net: _Net, batch: _Batch) -> np.ndarray:
    """Logits of all targets, float64 (n,)."""
    net.eval()
    logits = torch.empty(len(batch.targets))
    for part, positions in batch.split(shuffled=False):
        logits[positions] = net(part)
    return logits.double().numpy()
