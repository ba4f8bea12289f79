"""Share of likes of the item plus that of the user: the simplest baseline on likes."""

from ckf_demo.baselines.base import Scores, TrainingData
from ckf_demo.baselines.means import ItemMean, item_biases
from ckf_demo.metrics.protocol import EvalInstances


class TwoMeans(ItemMean):
    """s_uv = m_v + m_u − μ with m_x = (Σ_{rows of x} y + 5μ) / (n_x + 5), x an item or a user.

    y is 1 for liked and 0 for not, μ its mean over the training rows, n_x the number of training
    rows of x. The two means are independent of each other. Users and items without training rows
    have m = μ. Nothing is chosen on validation.
    """

    name = "item mean + user mean"
    summary = "Shares of likes of the item and of the user in training, both shrunk, added."
    needs = ("likes and dislikes",)
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, data: TrainingData) -> None:
        super().fit(data)
        rows, n_users = data.train, data.prepared.n_users
        self.user_bias = item_biases(rows.user, rows.rating - self.mean, n_users)

    def score(self, instances: EvalInstances) -> Scores:
        return Scores(
            ctr=self.mean + self.item_bias[instances.items] + self.user_bias[instances.users]
        )
