"""EASE: every item's score is a weighted sum of the items in the history."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ckf_demo.baselines.base import TrainingData, score_by_history
from ckf_demo.baselines.searched import HistoryModel, Model, Searched
from ckf_demo.data.prepared import LIKED
from ckf_demo.metrics.protocol import EvalInstances

if TYPE_CHECKING:
    import lenskit.data

REGULARIZATIONS = (50.0, 200.0, 800.0, 3200.0)
LIKES_REGULARIZATIONS = (*REGULARIZATIONS, 12800.0)
"""λ of the models; chosen on validation for each task."""


class EASE(Searched):
    """s_u = x_u B with B = argmin ‖X − XB‖² + λ‖B‖², diag(B) = 0 (Steck 2019), by lenskit.

    For CTR, X and x_u hold liked items; for ranking they hold all rated items, since those are what
    a user chose. A user without a history is scored as the average training user.
    """

    name = "EASE"
    summary = "Linear item-item autoencoder (lenskit) over liked (CTR) or rated (ranking) items."
    needs = ("ratings", "history")
    feedback = ("ratings",)

    def models(self, data: TrainingData) -> Iterator[tuple[float, "_Weights"]]:
        for regularization in REGULARIZATIONS:
            yield regularization, _Weights(data, regularization)


def ease_weights(data: "lenskit.data.Dataset", n_items: int, regularization: float) -> np.ndarray:
    """B over the whole catalogue, float32 (I, I); zeros for items that the data lack."""
    from lenskit.knn.ease import EASEScorer

    scorer = EASEScorer(regularization=regularization)
    scorer.train(data)
    known = scorer.items.ids()
    weights = np.zeros((n_items, n_items), dtype=np.float32)
    weights[np.ix_(known, known)] = scorer.weights
    return weights


class _Weights(Model):
    """B and the average training user's scores, of liked items and of all rated items."""

    def __init__(self, data: TrainingData, regularization: float):
        self.liked_from, rows = data.prepared.liked_from, data.train
        self.liked, self.rated = (
            _fit(rows.dataset(minimum), counted, rows.n_items, regularization)
            for minimum, counted in (
                (self.liked_from, rows.item[rows.rating >= self.liked_from]),
                (None, rows.item),
            )
        )

    def score(self, instances: EvalInstances) -> np.ndarray:
        matrix, average = self.liked

        def predict(items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
            liked = items[ratings >= self.liked_from]
            return (matrix[liked].sum(axis=0) if len(liked) else average)[targets]

        return score_by_history(instances, predict)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        matrix, average = self.rated
        return matrix[items].sum(axis=0) if len(items) else average


def _fit(
    data: "lenskit.data.Dataset", counted: np.ndarray, n_items: int, regularization: float
) -> tuple[np.ndarray, np.ndarray]:
    matrix = ease_weights(data, n_items, regularization)
    return matrix, np.bincount(counted, minlength=n_items) / data.user_count @ matrix


class LikesEASE(Searched):
    """s_u = x_u B with B = argmin ‖X − XB‖² + λ‖B‖², diag(B) = 0 (Steck 2019), by lenskit.

    X holds the likes of training and x_u those of the history; dislikes are not used. So the model
    separates liked items from all others, whereas CTR asks for liked against disliked items.
    Without a history, x_u is that of the average training user.
    """

    name = "EASE (likes)"
    summary = "Linear item-item autoencoder (lenskit) over liked items."
    needs = ("likes", "history")
    tasks = ("ctr",)
    feedback = ("likes",)

    def models(self, data: TrainingData) -> Iterator[tuple[float, "_LikesWeights"]]:
        rows = data.train
        likes = rows.dataset(LIKED)
        counts = np.bincount(rows.item[rows.rating >= LIKED], minlength=rows.n_items)
        for regularization in LIKES_REGULARIZATIONS:
            weights = ease_weights(likes, rows.n_items, regularization)
            average = counts / len(np.unique(rows.user)) @ weights
            yield regularization, _LikesWeights(weights, average)


class _LikesWeights(HistoryModel):
    """``matrix`` float32 (I, I) is B; ``average`` (I,) are the average training user's scores."""

    def __init__(self, matrix: np.ndarray, average: np.ndarray):
        super().__init__(len(matrix))
        self.matrix, self.average = matrix, average

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if not len(items):
            return self.average[targets]
        return self.matrix[np.ix_(items, targets)].sum(axis=0)
