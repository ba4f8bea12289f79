"""Sequential models that are trained to tell the next liked item, where likes are ratings."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from ckf_demo.baselines.base import TrainingData, score_by_history
from ckf_demo.baselines.searched import Searched
from ckf_demo.collaborative.next_item import NextItem
from ckf_demo.metrics.protocol import EvalInstances

SIZE = 64
EPOCHS = (5, 10, 20)
"""Epochs to train, each with a learning rate that falls to nothing; chosen on validation."""

SEED = 0


class NextItems(Searched):
    """s_uv = h · e_v, h the state after the last 50 liked items of the history.

    Trained on the liked items of every training user to tell each from one that they never liked,
    given those before (`ckf_demo.collaborative.next_item`). The click score is the same number.
    Items without training likes cannot be ranked; for clicks the mean item stands in.
    """

    feedback = ("ratings",)
    needs = ("likes", "history")
    net: ClassVar[type[NextItem]]

    def models(self, material: TrainingData) -> Iterator[tuple[int, "_States"]]:
        likes = material.likes
        order = np.argsort(likes.user, kind="stable")
        ends = np.flatnonzero(np.diff(likes.user[order])) + 1
        sequences = np.split(likes.item[order].astype(np.int64), ends)
        for epochs in EPOCHS:
            net, _ = self.net.fit(sequences, likes.n_items, size=SIZE, epochs=epochs, seed=SEED)
            yield epochs, _States(material, net)


class _States:
    def __init__(self, material: TrainingData, net: NextItem):
        self.prepared, self.net = material.prepared, net
        self.table = net.item_table.numpy().astype(np.float64)
        self.known = self.table.any(axis=1)
        self.mean = self.table[self.known].mean(axis=0)

    def _state(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        liked = torch.from_numpy(items[self.prepared.likes(ratings)].astype(np.int64))
        return self.net.states(liked, torch.tensor([len(liked)]))[0].numpy().astype(np.float64)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return np.where(self.known, self.table @ self._state(items, ratings), np.nan)

    def score(self, cases: EvalInstances) -> np.ndarray:
        table = np.where(self.known[:, None], self.table, self.mean)
        return score_by_history(cases, lambda i, r, targets: table[targets] @ self._state(i, r))
