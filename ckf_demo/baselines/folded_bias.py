"""Item bias plus a user bias from the history: the simplest baseline that uses both."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, clipped, score_by_history
from ckf_demo.baselines.means import DAMPING, item_biases
from ckf_demo.metrics.protocol import EvalInstances


class FoldedBias(Baseline):
    """r̂_uv = μ + b_v + b_u with b_u = Σ_{j ∈ history} (r_uj − μ − b_j) / (|history| + 5).

    μ and b_v come from the training part, b_u from the earlier ratings of the user.
    """

    name = "bias folded in"
    summary = "Item bias from training rows, user bias from the history, both damped."
    needs = ("ratings", "history")
    tasks = ("rating", "ctr")

    def fit(self, material: TrainingData) -> None:
        rows = material.train
        self.mean = float(rows.rating.mean(dtype=np.float64))
        self.item_bias = item_biases(rows.item, rows.rating - self.mean, rows.n_items)

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Unclipped ratings of target items for a history, float64 (n,) in stars."""
        user_bias = (ratings - self.mean - self.item_bias[items]).sum() / (len(items) + DAMPING)
        return self.mean + self.item_bias[targets] + user_bias

    def score(self, cases: EvalInstances) -> Scores:
        rating = score_by_history(cases, self.predict)
        return Scores(rating=clipped(rating), ctr=rating)
