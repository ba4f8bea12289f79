"""EASE on what was liked: every item's score is a weighted sum of the liked items."""

from collections.abc import Iterator

import numpy as np

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.ease import ease_weights
from ckf_demo.baselines.searched import HistoryModel, Searched
from ckf_demo.data.prepared import LIKED

REGULARIZATIONS = (50.0, 200.0, 800.0, 3200.0, 12800.0)
"""λ of the model; chosen on validation."""


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

    def models(self, data: TrainingData) -> Iterator[tuple[float, "_Weights"]]:
        rows = data.train
        likes = rows.dataset(LIKED)
        counts = np.bincount(rows.item[rows.rating >= LIKED], minlength=rows.n_items)
        for regularization in REGULARIZATIONS:
            weights = ease_weights(likes, rows.n_items, regularization)
            average = counts / len(np.unique(rows.user)) @ weights
            yield regularization, _Weights(weights, average)


class _Weights(HistoryModel):
    """``matrix`` float32 (I, I) is B; ``average`` (I,) are the average training user's scores."""

    def __init__(self, matrix: np.ndarray, average: np.ndarray):
        super().__init__(len(matrix))
        self.matrix, self.average = matrix, average

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if not len(items):
            return self.average[targets]
        return self.matrix[np.ix_(items, targets)].sum(axis=0)
