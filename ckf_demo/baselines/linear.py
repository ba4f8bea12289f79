"""Ridge and logistic regression on the collaborative features that the language model gets."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, clipped
from ckf_demo.metrics.metrics import log_loss, rmse
from ckf_demo.metrics.protocol import EvalInstances

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Weights of the squared norm; chosen on validation for each task."""


class Linear(Baseline):
    """r̂ = w · x (ridge) and P(liked) = σ(w' · x) (logistic), x the folded-in features.

    Trained on the rows that the language model is trained on, each with its own history.
    """

    name = "ridge / logistic"
    summary = "Linear models on folded-in collaborative features."
    needs = ("collaborative knowledge", "history")
    tasks = ("rating", "ctr")
    feedback = ("ratings", "likes")
    gives_probabilities = True

    def fit(self, material: TrainingData) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.material = material
        learning, validation = material.learning, material.validation
        x, x_valid = material.features(learning), material.features(validation)
        best_rmse, best_loss = float("inf"), float("inf")
        for penalty in PENALTIES:
            ridge = make_pipeline(StandardScaler(), Ridge(alpha=penalty)).fit(x, learning.ratings)
            error = rmse(validation.ratings, clipped(np.asarray(ridge.predict(x_valid))))
            if error < best_rmse:
                best_rmse, self.ridge = error, ridge
            logistic = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty))
            logistic.fit(x, learning.labels)
            loss = log_loss(validation.labels, logistic.predict_proba(x_valid)[:, 1])
            if loss < best_loss:
                best_loss, self.logistic = loss, logistic
        self.chosen = (self.ridge[-1].alpha, self.logistic[-1].C)

    def score(self, cases: EvalInstances) -> Scores:
        x = self.material.features(cases)
        return Scores(
            rating=clipped(np.asarray(self.ridge.predict(x), dtype=np.float64)),
            ctr=self.logistic.predict_proba(x)[:, 1],
        )
