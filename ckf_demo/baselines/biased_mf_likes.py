"""Biased matrix factorisation of likes and dislikes, users known by their training rows."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.collaborative.base import train_scorer
from ckf_demo.metrics.protocol import EvalInstances

SIZES = (4, 8, 16)
"""Embedding sizes d; chosen on validation."""

REGULARIZATIONS = (0.05, 0.1, 0.2, 0.4)
"""λ per row; chosen on validation."""

DAMPING = 5.0
"""Number of average rows that each bias is damped by."""

EPOCHS = 10


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
        for size, regularization in product(SIZES, REGULARIZATIONS):
            yield (size, regularization), _Factors(data, size, regularization)


class _Factors(Model):
    """``users`` (U, d), ``items`` (I, d) and their biases (U,), (I,); zeros for unknown ones."""

    def __init__(self, data: TrainingData, size: int, regularization: float):
        from lenskit.als import BiasedMFScorer

        scorer = BiasedMFScorer(
            embedding_size=size, regularization=regularization, damping=DAMPING, epochs=EPOCHS
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
