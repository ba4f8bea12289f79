"""The most rated items, of all and of recent training interactions, the same for every user."""

from collections.abc import Iterator

import numpy as np

from ckf_demo.baselines.base import Baseline, TrainingData
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.metrics.protocol import EvalInstances

SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the training interactions, the last ones, that count; chosen on validation."""

DAMPING = 5.0
"""Number of average interactions that are added to each item."""


class Popularity(Baseline):
    """s_v = number of training ratings of v, high or low."""

    name = "popularity"
    summary = "Items by their number of training ratings."
    needs = ("ratings",)
    tasks = ("ranking",)

    def fit(self, data: TrainingData) -> None:
        self.counts = data.train.counts().astype(np.float64)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.counts


class RecentPopularity(Searched):
    """Ranking: s_v = n_v, the number of interactions with v among the last training ones.

    CTR: s_v = (l_v + c l) / (n_v + c) with l_v the number of likes among these n_v, l the share of
    likes among all of them, and c = 5. The history is not used.
    """

    name = "recent popularity"
    summary = "Items by their last training interactions, or by the share of likes among these."
    needs = ("ratings or likes",)

    def models(self, data: TrainingData) -> Iterator[tuple[float, "_Counts"]]:
        for share in SHARES:
            yield share, _Counts(data, share)


class _Counts(Model):
    def __init__(self, data: TrainingData, share: float):
        train, prepared = data.train, data.prepared
        first = len(train.item) - max(1, round(share * len(train.item)))
        items, liked = train.item[first:], prepared.likes(train.rating[first:])
        self.counts = np.bincount(items, minlength=train.n_items).astype(np.float64)
        likes = np.bincount(items, weights=liked, minlength=train.n_items)
        self.shares = (likes + DAMPING * liked.mean()) / (self.counts + DAMPING)

    def score(self, instances: EvalInstances) -> np.ndarray:
        return self.shares[instances.items]

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.counts
