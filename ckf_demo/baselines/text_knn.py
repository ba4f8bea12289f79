"""Nearest neighbours by the text of items."""

from collections.abc import Iterator

import numpy as np

from ckf_demo.baselines.base import TrainingData, score_by_history
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.data.prepared import Prepared
from ckf_demo.metrics.protocol import EvalInstances

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

    def models(self, material: TrainingData) -> Iterator[tuple[int, "_Neighbours"]]:
        vectors = material.texts.astype(np.float64)
        average = vectors[material.likes.item].mean(axis=0, keepdims=True)
        for size in NEIGHBOURS:
            yield size, _Neighbours(material.prepared, vectors, average, size)


class _Neighbours(Model):
    def __init__(self, prepared: Prepared, vectors: np.ndarray, average: np.ndarray, size: int):
        self.prepared, self.vectors, self.average, self.size = prepared, vectors, average, size

    def _means(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        liked = self.vectors[items[self.prepared.likes(ratings)]]
        similar = self.vectors[targets] @ (liked if len(liked) else self.average).T
        if similar.shape[1] > self.size:
            similar = np.partition(similar, -self.size, axis=1)[:, -self.size :]
        return similar.mean(axis=1)

    def score(self, cases: EvalInstances) -> np.ndarray:
        return score_by_history(cases, self._means)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self._means(items, ratings, np.arange(len(self.vectors)))
