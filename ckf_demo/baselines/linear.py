"""Ridge and logistic regression on the collaborative features that the language model gets."""

import numpy as np

from ckf_demo.baselines.base import FeatureBaseline, TrainingData, clipped
from ckf_demo.metrics.metrics import log_loss, rmse

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Weights of the squared norm; chosen on validation for each task."""


class Linear(FeatureBaseline):
    """r̂ = w · x (ridge) and P(liked) = σ(w' · x) (logistic), x the folded-in features."""

    name = "ridge / logistic"
    summary = "Linear models on folded-in collaborative features."

    def fit(self, data: TrainingData) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.data = data
        validation = data.validation
        rows, x = data.examples
        stars, labels = data.prepared.rating[rows], data.prepared.liked[rows]
        x_valid = data.features(validation)
        best_rmse, best_loss = float("inf"), float("inf")
        for penalty in PENALTIES:
            ridge = make_pipeline(StandardScaler(), Ridge(alpha=penalty)).fit(x, stars)
            error = rmse(validation.ratings, clipped(np.asarray(ridge.predict(x_valid))))
            if error < best_rmse:
                best_rmse, self.regressor = error, ridge
            logistic = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty))
            logistic.fit(x, labels)
            loss = log_loss(validation.labels, logistic.predict_proba(x_valid)[:, 1])
            if loss < best_loss:
                best_loss, self.classifier = loss, logistic
        self.chosen = (self.regressor[-1].alpha, self.classifier[-1].C)
