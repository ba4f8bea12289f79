"""Implicit matrix factorisation of likes, with users folded in from their histories."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.searched import HistoryModel, Searched
from ckf_demo.collaborative.implicit_mf import ImplicitMF

SIZES = (16, 32)
"""Embedding sizes; chosen on validation."""

WEIGHTS = (2.0, 10.0, 40.0)
"""Confidence w of liked items over all others; chosen on validation."""

REGULARIZATION = 1.0
EPOCHS = 15
SEED = 0


class ImplicitALS(Searched):
    """s_uv = p_u · q_v, p_u = argmin Σ_v c_uv (x_uv − p · q_v)² + λ‖p‖² (Hu 2008), by lenskit.

    For a liked item x_uv is 1 and c_uv is 1 + w, for all others 0 and 1; dislikes are not used.
    Every user is folded in: p_u solves the equation above for the likes of the history. Without
    likes, p_u is that of the mean training user.
    """

    name = "implicit ALS"
    summary = "Implicit matrix factorisation (lenskit) of likes, folded in from the history."
    needs = ("likes", "history")

    def models(self, data: TrainingData) -> Iterator[tuple[tuple[int, float], "_Factors"]]:
        for size, weight in product(SIZES, WEIGHTS):
            yield (size, weight), _Factors(data, size, weight)


class _Factors(HistoryModel):
    def __init__(self, data: TrainingData, size: int, weight: float):
        super().__init__(data.prepared.n_items)
        likes, self.prepared = data.likes, data.prepared
        self.model = ImplicitMF.fit(
            likes,
            size=size,
            regularization=REGULARIZATION,
            weight=weight,
            epochs=EPOCHS,
            seed=SEED,
        )
        self.mean = np.mean([self.model.fold_in(liked) for liked in likes.sequences()], axis=0)

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        liked = items[self.prepared.likes(ratings)]
        user = self.model.fold_in(liked) if len(liked) else self.mean
        return (self.model.items @ user).astype(np.float64)[targets]
