"""Averages that do not depend on the user: of all ratings, and of each item."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.metrics.protocol import EvalInstances

DAMPING = 5.0
"""Number of average ratings that are added to each mean."""


class GlobalMean(Baseline):
    """r̂_uv = μ: the mean of all training ratings."""

    name = "everybody's mean"
    summary = "The mean of all training ratings, for every user and item."
    needs = ("ratings",)
    tasks = ("rating",)

    def fit(self, data: TrainingData) -> None:
        self.mean = float(data.train.rating.mean())

    def score(self, instances: EvalInstances) -> Scores:
        return Scores(rating=np.full(len(instances), self.mean))


class ItemMean(Baseline):
    """r̂_uv = μ + b_v with b_v = Σ_u (r_uv − μ) / (n_v + 5): the item's mean, shrunk."""

    name = "item mean"
    summary = "The item's mean rating, shrunk towards everybody's mean."
    needs = ("ratings",)
    tasks = ("rating", "ctr")
    feedback = ("ratings", "likes")

    def fit(self, data: TrainingData) -> None:
        """Of the training rows: ``mean`` in stars, and ``item_bias`` float64 (I,)."""
        rows = data.train
        self.mean = float(rows.rating.mean(dtype=np.float64))
        self.item_bias = item_biases(rows.item, rows.rating - self.mean, rows.n_items)

    def score(self, instances: EvalInstances) -> Scores:
        rating = self.mean + self.item_bias[instances.items]
        return Scores(rating=rating, ctr=rating)


def item_biases(item: np.ndarray, deviation: np.ndarray, n_items: int) -> np.ndarray:
    """Damped mean of the deviations of each item, float64 (I,); 0 for items without ratings."""
    counts = np.bincount(item, minlength=n_items)
    return np.bincount(item, weights=deviation, minlength=n_items) / (counts + DAMPING)
