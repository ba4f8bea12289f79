"""Item-based nearest neighbours."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, clipped, score_by_history
from ckf_demo.baselines.folded_bias import FoldedBias
from ckf_demo.metrics.metrics import rmse
from ckf_demo.metrics.protocol import EvalInstances

NEIGHBOURS = (20, 50)
"""Numbers of the most similar items in the history that count; chosen on validation."""

MIN_SIMILARITIES = (1e-6, 0.05)
"""Smallest similarity of a neighbour; chosen on validation."""


class ItemKNN(Baseline):
    """r̂_uv = μ_v + Σ_j sim(v, j)(r_uj − μ_j) / Σ_j |sim(v, j)| over the nearest j in the history.

    sim is the cosine of mean-centred rating columns (lenskit). Without a usable neighbour, the
    answer is that of the folded-in bias. Ranking: Σ_j sim(v, j) over all rated items j.
    """

    name = "item k-NN"
    summary = "Item-based nearest neighbours (lenskit), explicit for ratings, implicit for ranking."
    needs = ("ratings", "history")
    tasks = ("rating", "ctr", "ranking")

    def fit(self, material: TrainingData) -> None:
        self.fallback = FoldedBias()
        self.fallback.fit(material)
        self.popularity = material.train.counts()
        self.catalogue = np.arange(material.train.n_items)
        validation = material.validation
        best_rmse, best_ndcg = float("inf"), -1.0
        best_explicit = best_implicit = None
        for neighbours in NEIGHBOURS:
            for minimum in MIN_SIMILARITIES:
                self.explicit = explicit = _scorer(material, "explicit", neighbours, minimum)
                error = rmse(validation.ratings, clipped(self._ratings(validation)))
                if best_explicit is None or error < best_rmse:
                    best_rmse, best_explicit = error, explicit
            self.implicit = implicit = _scorer(material, "implicit", neighbours, 1e-6)
            value = material.validation_ndcg(self.rank)
            if best_implicit is None or value > best_ndcg:
                best_ndcg, best_implicit = value, implicit
        assert best_explicit is not None and best_implicit is not None
        self.explicit, self.implicit = best_explicit, best_implicit
        config = self.explicit.config
        self.chosen = (config.max_nbrs, config.min_sim, self.implicit.config.max_nbrs)

    def score(self, cases: EvalInstances) -> Scores:
        rating = self._ratings(cases)
        return Scores(rating=clipped(rating), ctr=rating)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        if not len(items):
            return self.popularity.astype(np.float64)
        return _ask(self.implicit, items, ratings, self.catalogue)

    def _ratings(self, cases: EvalInstances) -> np.ndarray:
        return score_by_history(cases, self._predict)

    def _predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        bias = self.fallback.predict(items, ratings, targets)
        if not len(items):
            return bias
        scores = _ask(self.explicit, items, ratings, targets)
        return np.where(np.isnan(scores), bias, scores)


def _scorer(material: TrainingData, feedback: str, neighbours: int, minimum: float):
    from lenskit.knn import ItemKNNScorer

    scorer = ItemKNNScorer(feedback=feedback, max_nbrs=neighbours, min_sim=minimum)
    scorer.train(material.train.dataset())
    return scorer


def _ask(scorer, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
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
