"""Gradient boosting on the collaborative features that the language model gets."""

import numpy as np

from ckf_demo.baselines.base import FeatureBaseline, TrainingData, clipped
from ckf_demo.metrics.metrics import log_loss, rmse

LEAVES = (8, 16, 32)
"""Leaves of a tree; chosen on validation."""

LEARNING_RATE = 0.04
MOST_TREES = 300
"""The largest number of trees; the number that is used is chosen on validation."""


class Boosting(FeatureBaseline):
    """Histogram gradient boosting (scikit-learn): squared error for ratings, log-loss for CTR.

    The number of leaves and of trees is the best on validation, for each task its own.
    """

    name = "gradient boosting"
    summary = "Gradient boosting on folded-in collaborative features."

    def fit(self, data: TrainingData) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        self.data = data
        validation = data.validation
        rows, x = data.examples
        stars, labels = data.prepared.rating[rows], data.prepared.liked[rows]
        x_valid = data.features(validation)
        by_error, by_loss = [], []
        for leaves in LEAVES:
            regressor = HistGradientBoostingRegressor(**_options(leaves, MOST_TREES))
            staged = regressor.fit(x, stars).staged_predict(x_valid)
            errors = [rmse(validation.ratings, clipped(p)) for p in staged]
            by_error.append((min(errors), leaves, int(np.argmin(errors)) + 1))
            classifier = HistGradientBoostingClassifier(**_options(leaves, MOST_TREES))
            staged = classifier.fit(x, labels).staged_predict_proba(x_valid)
            losses = [log_loss(validation.labels, p[:, 1]) for p in staged]
            by_loss.append((min(losses), leaves, int(np.argmin(losses)) + 1))
        self.chosen = min(by_error)[1:], min(by_loss)[1:]
        self.regressor = HistGradientBoostingRegressor(**_options(*self.chosen[0]))
        self.regressor.fit(x, stars)
        self.classifier = HistGradientBoostingClassifier(**_options(*self.chosen[1]))
        self.classifier.fit(x, labels)


def _options(leaves: int, trees: int) -> dict:
    return {
        "max_leaf_nodes": leaves,
        "max_iter": trees,
        "learning_rate": LEARNING_RATE,
        "min_samples_leaf": 50,
        "l2_regularization": 10.0,
        "early_stopping": False,
        "random_state": 0,
    }
