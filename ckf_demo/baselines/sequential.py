"""SASRec, GRU4Rec and NextItNet over the liked items, trained on likes and dislikes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.baselines.label_training import Setting, choose, predict
from ckf_demo.collaborative.encoders import ENCODERS, LONGEST, SPREAD
from ckf_demo.metrics.protocol import EvalInstances

HIDDEN = 64
"""Width of embeddings and states."""

DROPOUT = 0.5
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1.0
BATCH = 128
"""Histories, with all their targets, in one step."""

UNKNOWN = 0
"""Row of the embedding table, all zeros, for padding and for items without training rows."""


class Sequential(Baseline):
    """s_uv = h · e_v + b_v, h the last state of the encoder (`ENCODERS`) of the same name.

    The encoder reads a start token and the last 50 liked items of the row's own history; e_v comes
    from the table that the items are read with. As in CoLLM, training is by binary cross-entropy on
    the labels of training rows, so dislikes are targets too. The user's identity is not used. Items
    without training rows get a logit of 0 and are left out of histories. The number of epochs has
    the best AUC on the rows to choose on. Dropout, learning rate and weight decay were chosen by
    AUC and UAUC of all validation rows, by hand, for SASRec.
    """

    needs = ("likes and dislikes", "history")
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, material: TrainingData) -> None:
        trained, self.row_of = material.numbered_items()
        self.start = len(trained) + 1
        learning, validation = material.learning, material.validation
        self.net, self.chosen = choose(
            [Setting(LEARNING_RATE, WEIGHT_DECAY, DROPOUT)],
            lambda setting: _Net(self.start + 1, ENCODERS[self.name]),
            (self._read(learning), learning.labels),
            (self._read(validation), validation.labels),
        )

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=predict(self.net, self._read(cases)))

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

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self) -> Iterable[tuple["_Batch", Tensor]]:
        """One epoch in random order, with the positions of the targets."""
        parts = self.split(shuffled=True)
        for number in torch.randperm(len(parts)).tolist():
            yield parts[number]

    def parts(self) -> Iterable[tuple["_Batch", Tensor]]:
        """All histories for answering, with the positions of their targets."""
        return self.split(shuffled=False)

    def split(self, shuffled: bool) -> list[tuple["_Batch", Tensor]]:
        """Steps of histories of similar lengths, with the positions of their targets."""
        ties = torch.rand(len(self.lengths)) if shuffled else torch.zeros(len(self.lengths))
        steps = torch.argsort(self.lengths + ties, stable=True).split(BATCH)
        step_of, place = torch.empty((2, len(self.lengths)), dtype=torch.int64)
        for number, histories in enumerate(steps):
            step_of[histories], place[histories] = number, torch.arange(len(histories))
        by_step = torch.argsort(step_of[self.of_target], stable=True)
        sizes = torch.bincount(step_of[self.of_target], minlength=len(steps)).tolist()
        parts = []
        for step, positions in zip(steps, by_step.split(sizes), strict=True):
            lengths = self.lengths[step]
            histories = self.histories[step, : int(lengths.max())]
            of_target = place[self.of_target[positions]]
            parts.append(
                (_Batch(histories, lengths, of_target, self.targets[positions]), positions)
            )
        return parts


class _Net(nn.Module):
    def __init__(self, n_rows: int, encoder: Callable[[int, float], nn.Module]):
        super().__init__()
        self.items = nn.Embedding(n_rows, HIDDEN, padding_idx=UNKNOWN)
        self.bias = nn.Embedding(n_rows, 1, padding_idx=UNKNOWN)
        self.encoder = encoder(HIDDEN, DROPOUT)
        with torch.no_grad():
            nn.init.zeros_(self.bias.weight)
            self.items.weight.mul_(SPREAD)

    def forward(self, batch: _Batch) -> Tensor:
        """Logits (n,) of being liked."""
        x = self.encoder(self.items(batch.histories), batch.lengths)
        last = x[torch.arange(len(x)), batch.lengths - 1][batch.of_target]
        return (last * self.items(batch.targets)).sum(-1) + self.bias(batch.targets)[:, 0]


class SASRec(Sequential):
    """Two causal blocks of self-attention over positions from the end (Kang & McAuley 2018)."""

    name = "SASRec"
    summary = "Self-attention over the liked items of the history, trained on likes and dislikes."


class GRU4Rec(Sequential):
    """One layer of gated recurrent units (Hidasi et al. 2016)."""

    name = "GRU4Rec"
    summary = "Gated recurrent units over the liked items, trained on likes and dislikes."


class NextItNet(Sequential):
    """Four residual blocks of two dilated causal convolutions (Yuan et al. 2019)."""

    name = "NextItNet"
    summary = "Dilated convolutions over the liked items, trained on likes and dislikes."
