"""Averages: of all ratings, of each item, and of item and user together."""

import numpy as np

from ckf_demo.baselines.base import Baseline, RatingBaseline, Scores, TrainingData
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


class TwoMeans(ItemMean):
    """s_uv = m_v + m_u − μ with m_x = (Σ_{rows of x} y + 5μ) / (n_x + 5), x an item or a user.

    y is 1 for liked and 0 for not, μ its mean over the training rows, n_x the number of training
    rows of x. The two means are independent of each other. Users and items without training rows
    have m = μ. Nothing is chosen on validation.
    """

    name = "item mean + user mean"
    summary = "Shares of likes of the item and of the user in training, both shrunk, added."
    needs = ("likes and dislikes",)
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, data: TrainingData) -> None:
        super().fit(data)
        rows, n_users = data.train, data.prepared.n_users
        self.user_bias = item_biases(rows.user, rows.rating - self.mean, n_users)

    def score(self, instances: EvalInstances) -> Scores:
        return Scores(
            ctr=self.mean + self.item_bias[instances.items] + self.user_bias[instances.users]
        )


class FoldedBias(RatingBaseline, ItemMean):
    """r̂_uv = μ + b_v + b_u with b_u = Σ_{j ∈ history} (r_uj − μ − b_j) / (|history| + 5).

    μ and b_v come from the training part, b_u from the earlier ratings of the user.
    """

    name = "bias folded in"
    summary = "Item bias from training rows, user bias from the history, both damped."
    tasks = ("rating", "ctr")
    feedback = ("ratings",)

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        user_bias = (ratings - self.mean - self.item_bias[items]).sum() / (len(items) + DAMPING)
        return self.mean + self.item_bias[targets] + user_bias


def item_biases(item: np.ndarray, deviation: np.ndarray, n_items: int) -> np.ndarray:
    """Damped mean of the deviations of each item, float64 (I,); 0 for items without ratings."""
    counts = np.bincount(item, minlength=n_items)
    return np.bincount(item, weights=deviation, minlength=n_items) / (counts + DAMPING)
