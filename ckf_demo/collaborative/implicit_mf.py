"""Matrix factorisation of *what was watched*, whatever the rating (Hu, Koren and Volinsky 2008).

Fitted by lenskit. It answers another question than ratings do, who chooses what, and so it feeds
the candidate stage and the ranking task.
"""

from dataclasses import dataclass

import numpy as np

from ckf_demo.collaborative.base import Rows, own_threads


@dataclass(frozen=True)
class ImplicitMF:
    """The item side: ``items`` float32 (I, d), ``weight`` the confidence of a seen item."""

    items: np.ndarray
    weight: float
    regularization: float

    @classmethod
    def fit(
        cls, rows: Rows, *, size: int, regularization: float, weight: float, epochs: int, seed: int
    ) -> "ImplicitMF":
        """Fit on which items each user has rated."""
        from lenskit.als import ImplicitMFScorer
        from lenskit.training import TrainingOptions

        scorer = ImplicitMFScorer(
            embedding_size=size, regularization=regularization, weight=weight, epochs=epochs
        )
        with own_threads():
            scorer.train(rows.dataset(), TrainingOptions(rng=seed))
        items = np.zeros((rows.n_items, size), np.float32)
        items[scorer.items.ids()] = scorer.item_embeddings
        return cls(items, weight, regularization)

    def fold_in_prefixes(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """User vectors float32 (m, d) after each prefix; there are no biases (zeros (m,))."""
        d = self.items.shape[1]
        table = self.items.astype(np.float64)
        q = table[items]
        gram = np.concatenate([np.zeros((1, d, d)), np.cumsum(q[:, :, None] * q[:, None, :], 0)])
        sums = np.concatenate([np.zeros((1, d)), np.cumsum(q, 0)])
        background = table.T @ table + self.regularization * np.eye(d)
        left = background + self.weight * gram[lengths]
        vectors = np.linalg.solve(left, (1 + self.weight) * sums[lengths][:, :, None])[:, :, 0]
        return vectors.astype(np.float32), np.zeros(len(lengths), np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"items": self.items, "scalars": np.array([self.weight, self.regularization])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ImplicitMF":
        return cls(arrays["items"], *map(float, arrays["scalars"]))
