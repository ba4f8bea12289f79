"""Biased matrix factorisation by alternating least squares, fitted by lenskit.

r̂_uv = μ + b_u + b_v + p_u · q_v. Only the item side is kept: users are folded in from their
histories, so that known and new users are treated alike.
"""

from dataclasses import dataclass

import numpy as np

from ckf_demo.collaborative.base import Rows, prefix_sums, train_scorer


@dataclass(frozen=True)
class BiasedMF:
    """The item side of a fitted model.

    ``items`` float32 (I, d), ``item_bias`` float32 (I,), ``global_mean`` in stars, ``damping`` the
    number of average ratings that are added to each bias, ``regularization`` per rating.
    """

    items: np.ndarray
    item_bias: np.ndarray
    global_mean: float
    damping: float
    regularization: float

    @classmethod
    def fit(
        cls, rows: Rows, *, size: int, regularization: float, damping: float, epochs: int, seed: int
    ) -> "BiasedMF":
        """Fit on ratings; items without ratings have a zero vector and a zero bias."""
        from lenskit.als import BiasedMFScorer

        scorer = BiasedMFScorer(
            embedding_size=size, regularization=regularization, damping=damping, epochs=epochs
        )
        train_scorer(scorer, rows, seed)
        rated = scorer.items.ids()
        items = np.zeros((rows.n_items, size), np.float32)
        items[rated] = scorer.item_embeddings
        bias = np.zeros(rows.n_items, np.float32)
        bias[rated] = scorer.bias.item_biases
        return cls(items, bias, float(scorer.bias.global_bias), damping, regularization)

    def fold_in_prefixes(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """User vectors float32 (m, d) and biases (m,) after prefixes of one history (n,).

        This is lenskit's ridge regression for a new user: regularisation grows with the number of
        ratings. A prefix of length 0 gives a zero vector and a zero bias.
        """
        d = self.items.shape[1]
        residual = ratings - self.global_mean - self.item_bias[items]
        bias = prefix_sums(residual)[lengths] / (lengths + self.damping)
        q = self.items[items].astype(np.float64)
        gram = prefix_sums(q[:, :, None] * q[:, None, :])
        q_residual = prefix_sums(q * residual[:, None])
        right = q_residual[lengths] - bias[:, None] * prefix_sums(q)[lengths]
        ridge = np.maximum(lengths, 1)[:, None, None] * self.regularization * np.eye(d)
        vectors = np.linalg.solve(gram[lengths] + ridge, right[:, :, None])[:, :, 0]
        return vectors.astype(np.float32), bias.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        scalars = np.array([self.global_mean, self.damping, self.regularization])
        return {"items": self.items, "item_bias": self.item_bias, "scalars": scalars}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "BiasedMF":
        return cls(arrays["items"], arrays["item_bias"], *map(float, arrays["scalars"]))
