"""Matrix factorisation of *what was watched*, whatever the rating (Hu, Koren and Volinsky 2008).

Fitted by lenskit. It models which items a user chooses, not how well they like them, so it serves
the candidate stage and the ranking task.
"""

from dataclasses import dataclass

import numpy as np

from ckf_demo.collaborative.base import Rows, prefix_sums, train_scorer


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

        scorer = ImplicitMFScorer(
            embedding_size=size, regularization=regularization, weight=weight, epochs=epochs
        )
        train_scorer(scorer, rows, seed)
        items = np.zeros((rows.n_items, size), np.float32)
        items[scorer.items.ids()] = scorer.item_embeddings
        return cls(items, weight, regularization)

    def fold_in_prefixes(self, items: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """User vectors float32 (m, d) after each of several prefixes of one history (n,)."""
        table = self.items.astype(np.float64)
        q = table[items]
        gram = prefix_sums(q[:, :, None] * q[:, None, :])
        background = table.T @ table + self.regularization * np.eye(table.shape[1])
        left = background + self.weight * gram[lengths]
        right = (1 + self.weight) * prefix_sums(q)[lengths][:, :, None]
        vectors = np.linalg.solve(left, right)[:, :, 0]
        return vectors.astype(np.float32)

    def fold_in(self, items: np.ndarray) -> np.ndarray:
        """The user vector float32 (d,) of a whole history (n,); n may be 0."""
        items = np.asarray(items, np.int64)
        return self.fold_in_prefixes(items, np.array([len(items)]))[0]

    def arrays(self) -> dict[str, np.ndarray]:
        return {"items": self.items, "scalars": np.array([self.weight, self.regularization])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ImplicitMF":
        return cls(arrays["items"], *map(float, arrays["scalars"]))
