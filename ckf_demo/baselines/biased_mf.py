"""Biased matrix factorisation of ratings, users folded in, and of likes, users of training."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ckf_demo.baselines.base import RatingBaseline, TrainingData
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.collaborative.base import train_scorer
from ckf_demo.collaborative.biased_mf import BiasedMF
from ckf_demo.metrics.protocol import EvalInstances

GRID = list(product((8, 16, 32), (0.1, 0.2, 0.4)))
"""Embedding sizes and regularisations per rating; chosen by validation RMSE."""

LIKES_SIZES, LIKES_REGULARIZATIONS = (4, 8, 16), (0.05, 0.1, 0.2, 0.4)
"""The same where the data hold likes; chosen by validation AUC."""


class FoldedBiasedMF(RatingBaseline):
    """r̂_uv = μ + b_v + b_u + p_u · q_v, with b_u and p_u solved from the history.

    The item side is fitted by lenskit (alternating least squares) on all training rows. So this
    model learns from 80 % of the data, the fusion's collaborative model from 60 %.
    """

    name = "biased MF"
    summary = "Biased matrix factorisation (lenskit), users folded in from their histories."

    def fit(self, data: TrainingData) -> None:
        train, validation, best, model = data.train, data.validation, float("inf"), None
        for size, regularization in GRID:
            self.model = BiasedMF.fit(
                train, size=size, regularization=regularization, damping=5.0, epochs=10, seed=0
            )
            error = self.validation_rmse(validation)
            if error < best:
                best, model, self.chosen = error, self.model, (size, regularization)
        assert model is not None
        self.model = model

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As `BiasedMF.fold_in_prefixes` folds in, faster for one history at a time."""
        model, n = self.model, len(items)
        q = model.items[items].astype(np.float64)
        residual = ratings - model.global_mean - model.item_bias[items]
        bias = residual.sum() / (n + model.damping)
        ridge = max(n, 1) * model.regularization * np.eye(q.shape[1])
        vector = np.linalg.solve(q.T @ q + ridge, q.T @ (residual - bias))
        return model.global_mean + model.item_bias[targets] + bias + model.items[targets] @ vector

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.predict(items, ratings, np.arange(len(self.model.items)))


class LikesBiasedMF(Searched):
    """s_uv = μ + b_v + b_u + p_u · q_v, fitted to the labels (1 liked, 0 not) of training rows.

    Alternating least squares by lenskit. Histories hold only likes, which do not determine b_u, so
    users are not folded in: they are known by their training rows, likes and dislikes. A user
    without training rows has p_u = 0 and b_u = 0, an item without any has q_v = 0 and b_v = 0.
    """

    name = "biased MF (likes)"
    summary = "Biased matrix factorisation (lenskit) of likes and dislikes in training."
    needs = ("likes and dislikes",)
    tasks = ("ctr",)
    feedback = ("likes",)

    def models(self, data: TrainingData) -> Iterator[tuple[tuple[int, float], "_Factors"]]:
        for size, regularization in product(LIKES_SIZES, LIKES_REGULARIZATIONS):
            yield (size, regularization), _Factors(data, size, regularization)


class _Factors(Model):
    """``users`` (U, d), ``items`` (I, d) and their biases (U,), (I,); zeros for unknown ones."""

    def __init__(self, data: TrainingData, size: int, regularization: float):
        from lenskit.als import BiasedMFScorer

        scorer = BiasedMFScorer(
            embedding_size=size, regularization=regularization, damping=5.0, epochs=10
        )
        train_scorer(scorer, data.train, seed=0)
        n_users, n_items = data.prepared.n_users, data.prepared.n_items
        bias, users = scorer.bias, scorer.users
        assert users is not None and scorer.user_embeddings is not None  # after training
        assert bias.user_biases is not None and bias.item_biases is not None
        self.mean = float(bias.global_bias)
        self.users = _spread(scorer.user_embeddings, users.ids(), n_users)
        self.user_bias = _spread(bias.user_biases, users.ids(), n_users)
        self.items = _spread(scorer.item_embeddings, scorer.items.ids(), n_items)
        self.item_bias = _spread(bias.item_biases, scorer.items.ids(), n_items)

    def score(self, instances: EvalInstances) -> np.ndarray:
        """Scores of targets, float64 (n,)."""
        users, items = instances.users, instances.items
        shared = (self.users[users] * self.items[items]).sum(axis=1)
        return self.mean + self.user_bias[users] + self.item_bias[items] + shared


def _spread(known: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Rows of ``known`` at their ``index`` among ``n``, float64, and zeros elsewhere."""
    table = np.zeros((n, *known.shape[1:]))
    table[index] = known
    return table
