"""EASE on what was liked: every item's score is a weighted sum of the liked items."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, score_by_history
from ckf_demo.data.prepared import LIKED
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances

REGULARIZATIONS = (50.0, 200.0, 800.0, 3200.0, 12800.0)
"""λ of the model; the best validation AUC is taken."""


class LikesEASE(Baseline):
    """s_u = x_u B with B = argmin ‖X − XB‖² + λ‖B‖², diag(B) = 0 (Steck 2019), by lenskit.

    X holds the likes of training and x_u those of the history; dislikes are not used. So it tells
    what is watched and liked from all the rest, and not from what is watched and disliked, which
    is what CTR asks. Without a history, x_u is the average training user's. λ is that of the best
    validation AUC.
    """

    name = "EASE (likes)"
    summary = "Linear item-item autoencoder (lenskit) over liked items."
    needs = ("likes", "history")
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, material: TrainingData) -> None:
        validation, best, chosen = material.validation, -1.0, None
        rows = material.train
        counts = np.bincount(rows.item[rows.rating >= LIKED], minlength=rows.n_items)
        for regularization in REGULARIZATIONS:
            self.weights = weights = _weights(material, regularization)
            self.average = average = counts / len(np.unique(rows.user)) @ weights
            value = auc(validation.labels, score_by_history(validation, self._predict))
            if chosen is None or value > best:
                best, chosen = value, (weights, average)
                self.chosen = regularization
        assert chosen is not None
        self.weights, self.average = chosen

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=score_by_history(cases, self._predict))

    def _predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if not len(items):
            return self.average[targets]
        return self.weights[np.ix_(items, targets)].sum(axis=0)


def _weights(material: TrainingData, regularization: float) -> np.ndarray:
    """B over the whole catalogue, float32 (I, I); zeros for items without training likes."""
    from lenskit.knn.ease import EASEScorer

    n_items = material.prepared.n_items
    scorer = EASEScorer(regularization=regularization)
    scorer.train(material.train.dataset(LIKED))
    known = scorer.items.ids()
    weights = np.zeros((n_items, n_items), dtype=np.float32)
    weights[np.ix_(known, known)] = scorer.weights
    return weights
