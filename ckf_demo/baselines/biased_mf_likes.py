"""Biased matrix factorisation of likes and dislikes, users known by their training rows."""

from itertools import product

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.collaborative.base import own_threads
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances

SIZES = (4, 8, 16)
"""Embedding sizes d; chosen on validation."""

REGULARIZATIONS = (0.05, 0.1, 0.2, 0.4)
"""λ per row; chosen on validation."""

DAMPING = 5.0
"""How many average rows are assumed for each bias before the first one was seen."""

EPOCHS = 10


class LikesBiasedMF(Baseline):
    """s_uv = μ + b_v + b_u + p_u · q_v, fitted to the labels (1 liked, 0 not) of training rows.

    Alternating least squares by lenskit. Histories hold likes alone and so say nothing of b_u;
    hence a user is their training rows, with the likes and the dislikes, and not folded in. Who
    has no training rows gets p_u = 0 and b_u = 0, an item without any q_v = 0 and b_v = 0. The
    size and λ are those of the best validation AUC.
    """

    name = "biased MF (likes)"
    summary = "Biased matrix factorisation (lenskit) of likes and dislikes in training."
    needs = ("likes and dislikes",)
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, material: TrainingData) -> None:
        validation, best = material.validation, -1.0
        self.model: _Factors | None = None
        for size, regularization in product(SIZES, REGULARIZATIONS):
            model = _Factors(material, size, regularization)
            value = auc(validation.labels, model.predict(validation))
            if self.model is None or value > best:
                best, self.model, self.chosen = value, model, (size, regularization)

    def score(self, cases: EvalInstances) -> Scores:
        assert self.model is not None  # after `fit`
        return Scores(ctr=self.model.predict(cases))


class _Factors:
    """``users`` (U, d), ``items`` (I, d) and their biases (U,), (I,); zeros for unknown ones."""

    def __init__(self, material: TrainingData, size: int, regularization: float):
        from lenskit.als import BiasedMFScorer
        from lenskit.training import TrainingOptions

        scorer = BiasedMFScorer(
            embedding_size=size, regularization=regularization, damping=DAMPING, epochs=EPOCHS
        )
        with own_threads():
            scorer.train(material.train.dataset(), TrainingOptions(rng=0))
        n_users, n_items = material.prepared.n_users, material.prepared.n_items
        bias, users = scorer.bias, scorer.users
        assert users is not None and scorer.user_embeddings is not None  # after training
        assert bias.user_biases is not None and bias.item_biases is not None
        self.mean = float(bias.global_bias)
        self.users = _spread(scorer.user_embeddings, users.ids(), n_users)
        self.user_bias = _spread(bias.user_biases, users.ids(), n_users)
        self.items = _spread(scorer.item_embeddings, scorer.items.ids(), n_items)
        self.item_bias = _spread(bias.item_biases, scorer.items.ids(), n_items)

    def predict(self, cases: EvalInstances) -> np.ndarray:
        """Scores of targets, float64 (n,)."""
        users, items = cases.users, cases.items
        shared = (self.users[users] * self.items[items]).sum(axis=1)
        return self.mean + self.user_bias[users] + self.item_bias[items] + shared


def _spread(known: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Rows of ``known`` at their ``index`` among ``n``, float64, and zeros elsewhere."""
    table = np.zeros((n, *known.shape[1:]))
    table[index] = known
    return table
