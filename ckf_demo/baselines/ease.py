"""EASE: every item's score is a weighted sum of the items in the history."""

from typing import TYPE_CHECKING

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, score_by_history
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances

if TYPE_CHECKING:
    import lenskit.data

REGULARIZATIONS = (50.0, 200.0, 800.0, 3200.0)
"""λ of the model; chosen on validation for each task."""


class EASE(Baseline):
    """s_u = x_u B with B = argmin ‖X − XB‖² + λ‖B‖², diag(B) = 0 (Steck 2019), by lenskit.

    For CTR, X and x_u hold liked items; for ranking they hold all rated items, since those are what
    a user chose. A user without a history is scored as the average training user.
    """

    name = "EASE"
    summary = "Linear item-item autoencoder (lenskit) over liked (CTR) or rated (ranking) items."
    needs = ("ratings", "history")
    tasks = ("ctr", "ranking")

    def fit(self, material: TrainingData) -> None:
        validation = material.validation
        best_auc, best_ndcg = -1.0, -1.0
        for regularization in REGULARIZATIONS:
            liked = _Weights.fit(material, regularization, material.prepared.liked_from)
            value = auc(validation.labels, score_by_history(validation, liked.predict))
            if value > best_auc:
                best_auc, self.liked = value, liked
            rated = _Weights.fit(material, regularization, None)
            value = material.validation_ndcg(rated.score)
            if value > best_ndcg:
                best_ndcg, self.rated = value, rated
        self.chosen = (self.liked.regularization, self.rated.regularization)

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=score_by_history(cases, self.liked.predict))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.rated.score(items, ratings)


def ease_weights(data: "lenskit.data.Dataset", n_items: int, regularization: float) -> np.ndarray:
    """B over the whole catalogue, float32 (I, I); zeros for items that the data lack."""
    from lenskit.knn.ease import EASEScorer

    scorer = EASEScorer(regularization=regularization)
    scorer.train(data)
    known = scorer.items.ids()
    weights = np.zeros((n_items, n_items), dtype=np.float32)
    weights[np.ix_(known, known)] = scorer.weights
    return weights


class _Weights:
    """A fitted matrix B over the whole catalogue, and the average training user's scores."""

    def __init__(self, matrix: np.ndarray, average: np.ndarray, minimum: float | None, λ: float):
        self.matrix, self.average, self.minimum, self.regularization = matrix, average, minimum, λ

    @classmethod
    def fit(
        cls, material: TrainingData, regularization: float, minimum: float | None
    ) -> "_Weights":
        rows = material.train
        data = rows.dataset(minimum)
        matrix = ease_weights(data, rows.n_items, regularization)
        kept = rows.item if minimum is None else rows.item[rows.rating >= minimum]
        share = np.bincount(kept, minlength=rows.n_items) / data.user_count
        return cls(matrix, share @ matrix, minimum, regularization)

    def score(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        used = items if self.minimum is None else items[ratings >= self.minimum]
        return self.matrix[used].sum(axis=0) if len(used) else self.average

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return self.score(items, ratings)[targets]
