"""Nearest neighbours by the text of items."""

from collections.abc import Iterator

import numpy as np

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.searched import HistoryModel, Searched
from ckf_demo.data.prepared import Prepared

NEIGHBOURS = (1, 3, 10, 30, 1000)
"""Numbers of the most similar liked items that count; chosen on validation."""


class TextKNN(Searched):
    """s_uv = mean of t_v · t_j over the most similar liked items j of the history.

    t is MiniLM's embedding of title, year and genres, of unit length; nothing is trained. Without
    liked items, the mean of the training likes is used.
    """

    name = "text k-NN"
    summary = "Cosine of MiniLM's embeddings of titles and genres with the liked items."
    needs = ("titles", "history")

    def models(self, data: TrainingData) -> Iterator[tuple[int, "_Neighbours"]]:
        vectors = data.texts.astype(np.float64)
        average = vectors[data.likes.item].mean(axis=0, keepdims=True)
        for size in NEIGHBOURS:
            yield size, _Neighbours(data.prepared, vectors, average, size)


class _Neighbours(HistoryModel):
    def __init__(self, prepared: Prepared, vectors: np.ndarray, average: np.ndarray, size: int):
        super().__init__(len(vectors))
        self.prepared, self.vectors, self.average, self.size = prepared, vectors, average, size

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        liked = self.vectors[items[self.prepared.likes(ratings)]]
        similar = self.vectors[targets] @ (liked if len(liked) else self.average).T
        if similar.shape[1] > self.size:
            similar = np.partition(similar, -self.size, axis=1)[:, -self.size :]
        return similar.mean(axis=1)
