"""Item bias plus a user bias from the history: the simplest baseline that uses both."""

import numpy as np

from ckf_demo.baselines.base import RatingBaseline
from ckf_demo.baselines.means import DAMPING, ItemMean


class FoldedBias(RatingBaseline, ItemMean):
    """r̂_uv = μ + b_v + b_u with b_u = Σ_{j ∈ history} (r_uj − μ − b_j) / (|history| + 5).

    μ and b_v come from the training part, b_u from the earlier ratings of the user.
    """

    name = "bias folded in"
    summary = "Item bias from training rows, user bias from the history, both damped."
    tasks = ("rating", "ctr")
    feedback = ("ratings",)

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        user_bias = (ratings - self.mean - self.item_bias[items]).sum() / (len(items) + DAMPING)
        return self.mean + self.item_bias[targets] + user_bias
