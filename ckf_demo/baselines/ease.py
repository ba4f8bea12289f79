"""EASE: every item's score is a weighted sum of the items in the history."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, score_by_history
from ckf_demo.metrics.metrics import auc, ndcg_at_10
from ckf_demo.metrics.protocol import EvalInstances, ranked

REGULARIZATIONS = (50.0, 200.0, 800.0, 3200.0)
"""λ of the model; the best on validation is taken, for each task its own."""


class EASE(Baseline):
    """s_u = x_u B with B = argmin ‖X − XB‖² + λ‖B‖², diag(B) = 0 (Steck 2019), by lenskit.

    For CTR, X and x_u hold what was *liked*; for ranking, what was rated at all, since that is
    what being chosen means. A user without a history counts as the average training user.
    """

    name = "EASE"
    summary = "Linear item-item autoencoder (lenskit) over liked (CTR) or rated (ranking) items."
    needs = ("ratings", "history")
    tasks = ("ctr", "ranking")

    def fit(self, material: TrainingData) -> None:
        validation, queries = material.validation, material.validation_queries()
        best_auc, best_ndcg = -1.0, -1.0
        for regularization in REGULARIZATIONS:
            liked = _Weights.fit(material, regularization, material.prepared.liked_from)
            value = auc(validation.labels, score_by_history(validation, liked.predict))
            if value > best_auc:
                best_auc, self.liked = value, liked
            rated = _Weights.fit(material, regularization, None)
            found = [
                ndcg_at_10(ranked(rated.score(q.items, q.ratings), q.seen, 10), q.relevant)
                for q in queries
            ]
            if np.mean(found) > best_ndcg:
                best_ndcg, self.rated = float(np.mean(found)), rated
        self.chosen = (self.liked.regularization, self.rated.regularization)

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=score_by_history(cases, self.liked.predict))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.rated.score(items, ratings)


class _Weights:
    """A fitted matrix B over the whole catalogue, and the average training user's scores."""

    def __init__(self, matrix: np.ndarray, average: np.ndarray, minimum: float | None, λ: float):
        self.matrix, self.average, self.minimum, self.regularization = matrix, average, minimum, λ

    @classmethod
    def fit(
        cls, material: TrainingData, regularization: float, minimum: float | None
    ) -> "_Weights":
        from lenskit.knn.ease import EASEScorer

        rows = material.train
        scorer = EASEScorer(regularization=regularization)
        data = rows.dataset(minimum)
        scorer.train(data)
        known = scorer.items.ids()
        matrix = np.zeros((rows.n_items, rows.n_items), dtype=np.float32)
        matrix[np.ix_(known, known)] = scorer.weights
        kept = rows.item if minimum is None else rows.item[rows.rating >= minimum]
        share = np.bincount(kept, minlength=rows.n_items) / data.user_count
        return cls(matrix, share @ matrix, minimum, regularization)

    def score(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        used = items if self.minimum is None else items[ratings >= self.minimum]
        return self.matrix[used].sum(axis=0) if len(used) else self.average

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return self.score(items, ratings)[targets]
