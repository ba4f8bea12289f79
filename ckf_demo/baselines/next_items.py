"""SASRec, GRU4Rec and NextItNet, trained on ratings to predict the next liked item."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.searched import HistoryModel, Searched
from ckf_demo.collaborative.next_item import SEQUENTIAL, NextItem

SIZE = 64
EPOCHS = (5, 10, 20)
"""Numbers of epochs, each with a learning rate that falls to zero; chosen on validation."""

SEED = 0


class NextItems(Searched):
    """s_uv = h · e_v, h the state after the last 50 liked items of the history.

    Trained on the liked items of every training user: each liked item against one that the user
    never liked, given the items before it (`ckf_demo.collaborative.next_item`). The CTR score is
    the same number. Items without training likes are not ranked; their CTR score is that of the
    mean item.
    """

    feedback = ("ratings",)
    needs = ("likes", "history")
    net: ClassVar[type[NextItem]]

    def models(self, data: TrainingData) -> Iterator[tuple[int, "_States"]]:
        sequences, n_items = data.likes.sequences(), data.prepared.n_items
        for epochs in EPOCHS:
            net, _ = self.net.fit(sequences, n_items, size=SIZE, epochs=epochs, seed=SEED)
            yield epochs, _States(data, net)


class _States(HistoryModel):
    def __init__(self, data: TrainingData, net: NextItem):
        super().__init__(data.prepared.n_items)
        self.prepared, self.net = data.prepared, net
        table = net.item_table.numpy().astype(np.float64)
        self.known = table.any(axis=1)
        self.table = np.where(self.known[:, None], table, table[self.known].mean(axis=0))

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        liked = torch.from_numpy(items[self.prepared.likes(ratings)].astype(np.int64))
        state = self.net.states(liked, torch.tensor([len(liked)]))[0].numpy().astype(np.float64)
        return self.table[targets] @ state

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return np.where(self.known, super().rank(items, ratings), np.nan)


class NextSASRec(NextItems):
    """Two causal blocks of self-attention over positions from the end (Kang & McAuley 2018)."""

    name = "SASRec (next item)"
    summary = "Self-attention over the liked items of the history, trained on the next one."
    net = SEQUENTIAL["sasrec"]


class NextGRU4Rec(NextItems):
    """One layer of gated recurrent units (Hidasi et al. 2016)."""

    name = "GRU4Rec (next item)"
    summary = "Gated recurrent units over the liked items, trained on the next one."
    net = SEQUENTIAL["gru4rec"]


class NextNextItNet(NextItems):
    """Four residual blocks of two dilated causal convolutions (Yuan et al. 2019)."""

    name = "NextItNet (next item)"
    summary = "Dilated convolutions over the liked items, trained on the next one."
    net = SEQUENTIAL["nextitnet"]
