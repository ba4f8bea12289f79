"""The most rated items, the same list for every user."""

import numpy as np

from ckf_demo.baselines.base import Baseline, TrainingData


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
