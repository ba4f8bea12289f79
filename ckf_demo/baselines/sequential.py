"""SASRec, GRU4Rec and NextItNet over the liked items, trained on likes and dislikes."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.label_training import LabelTrained, Setting
from ckf_demo.baselines.sequences import UNKNOWN, Windows
from ckf_demo.collaborative.next_item import ENCODERS, LONGEST, SPREAD
from ckf_demo.metrics.protocol import EvalInstances

HIDDEN = 64
"""Width of embeddings and states."""

DROPOUT = 0.5
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1.0
BATCH = 128
"""Histories, with all their targets, in one step."""


class Sequential(LabelTrained):
    """s_uv = h · e_v + b_v, h the last state of the encoder (`ENCODERS`) of the same name.

    The encoder reads a start token and the last 50 liked items of the row's own history; e_v comes
    from the table that the items are read with. As in CoLLM, training is by binary cross-entropy on
    the labels of training rows, so dislikes are targets too. The user's identity is not used. Items
    without training rows get a logit of 0 and are left out of histories. The number of epochs has
    the best AUC on the rows to choose on. Dropout, learning rate and weight decay were chosen by
    AUC and UAUC of all validation rows, by hand, for SASRec.
    """

    needs = ("likes and dislikes", "history")
    feedback = ("likes",)

    def fit(self, data: TrainingData) -> None:
        trained_items, self.item_numbers = data.numbered_items()
        self.start = len(trained_items) + 1
        self.train(
            data,
            [Setting(LEARNING_RATE, WEIGHT_DECAY, DROPOUT)],
            lambda setting: _Net(self.start + 1, ENCODERS[self.name]),
        )

    def read(self, instances: EvalInstances) -> "_Histories":
        rows, of_target = [], np.empty(len(instances), dtype=np.int64)
        for number, (positions, items, _) in enumerate(instances.by_history()):
            history = self.item_numbers[items[-LONGEST:]]
            rows.append(torch.tensor([self.start, *history[history != UNKNOWN]]))
            of_target[positions] = number
        lengths, targets = torch.tensor([len(row) for row in rows]), torch.from_numpy(of_target)
        return _Histories(
            pad_sequence(rows, batch_first=True, padding_value=UNKNOWN),
            lengths,
            targets,
            lengths[targets] - 1,
            torch.from_numpy(self.item_numbers[instances.items]),
        )


class _Histories(Windows):
    """Whole histories, each behind a start token; ``places`` are those of the last items."""

    def __len__(self) -> int:
        return len(self.items)

    def batches(self) -> Iterable[tuple[Windows, Tensor]]:
        ties = torch.rand(len(self.lengths))
        parts = list(self.split(torch.argsort(self.lengths + ties, stable=True), BATCH))
        for number in torch.randperm(len(parts)).tolist():
            yield parts[number]

    def parts(self) -> Iterable[tuple[Windows, Tensor]]:
        return self.split(torch.argsort(self.lengths, stable=True), BATCH)


class _Net(nn.Module):
    def __init__(self, n_rows: int, encoder: Callable[[int, float], nn.Module]):
        super().__init__()
        self.items = nn.Embedding(n_rows, HIDDEN, padding_idx=UNKNOWN)
        self.bias = nn.Embedding(n_rows, 1, padding_idx=UNKNOWN)
        self.encoder = encoder(HIDDEN, DROPOUT)
        with torch.no_grad():
            nn.init.zeros_(self.bias.weight)
            self.items.weight.mul_(SPREAD)

    def forward(self, histories: Windows) -> Tensor:
        """Logits (n,) of being liked."""
        x = self.encoder(self.items(histories.numbers), histories.lengths)
        last = x[histories.of_target, histories.places]
        return (last * self.items(histories.items)).sum(-1) + self.bias(histories.items)[:, 0]


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
