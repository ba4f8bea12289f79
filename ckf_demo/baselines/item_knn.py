"""Item-based nearest neighbours."""

from itertools import product

import numpy as np

from ckf_demo.baselines.base import RatingBaseline, TrainingData
from ckf_demo.baselines.means import FoldedBias

NEIGHBOURS = (20, 50)
"""Numbers of the most similar items in the history that count; chosen on validation."""

MIN_SIMILARITIES = (1e-6, 0.05)
"""Smallest similarity of a neighbour; chosen on validation."""


class ItemKNN(RatingBaseline):
    """r̂_uv = μ_v + Σ_j sim(v, j)(r_uj − μ_j) / Σ_j |sim(v, j)| over the nearest j in the history.

    sim is the cosine of mean-centred rating columns (lenskit). Without a usable neighbour, the
    answer is that of the folded-in bias. Ranking: Σ_j sim(v, j) over all rated items j.
    """

    name = "item k-NN"
    summary = "Item-based nearest neighbours (lenskit), explicit for ratings, implicit for ranking."

    def fit(self, data: TrainingData) -> None:
        self.fallback = FoldedBias()
        self.fallback.fit(data)
        self.popularity = data.train.counts()
        self.catalogue = np.arange(data.train.n_items)
        validation = data.validation
        errors, ndcgs = {}, {}
        for neighbours, minimum in product(NEIGHBOURS, MIN_SIMILARITIES):
            self.explicit = _scorer(data, "explicit", neighbours, minimum)
            errors[self.explicit] = self.validation_rmse(validation)
        for neighbours in NEIGHBOURS:
            self.implicit = _scorer(data, "implicit", neighbours, 1e-6)
            ndcgs[self.implicit] = data.validation_ndcg(self.rank)
        self.explicit = min(errors, key=errors.get)
        self.implicit = max(ndcgs, key=ndcgs.get)
        config = self.explicit.config
        self.chosen = (config.max_nbrs, config.min_sim, self.implicit.config.max_nbrs)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        if not len(items):
            return self.popularity.astype(np.float64)
        return _scores(self.implicit, items, ratings, self.catalogue)

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        bias = self.fallback.predict(items, ratings, targets)
        if not len(items):
            return bias
        scores = _scores(self.explicit, items, ratings, targets)
        return np.where(np.isnan(scores), bias, scores)


def _scorer(data: TrainingData, feedback: str, neighbours: int, minimum: float):
    from lenskit.knn import ItemKNNScorer

    scorer = ItemKNNScorer(feedback=feedback, max_nbrs=neighbours, min_sim=minimum)
    scorer.train(data.train.dataset())
    return scorer


def _scores(scorer, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Scores of the targets; NaN for targets without a neighbour."""
    from lenskit.data import ItemList, RecQuery

    # lenskit 2025.8 ends the process with a Rust panic for items that it was not trained on.
    trained, scores = scorer.items.ids(), np.full(len(targets), np.nan)
    usable, scorable = np.isin(items, trained), np.isin(targets, trained)
    if usable.any() and scorable.any():
        history = ItemList(item_ids=items[usable], rating=ratings[usable].astype(np.float32))
        answer = scorer(RecQuery(history_items=history), ItemList(item_ids=targets[scorable]))
        scores[scorable] = answer.scores()
    return scores
