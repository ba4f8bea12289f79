"""Gradient boosting on the collaborative features that the language model gets."""

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, clipped
from ckf_demo.metrics.metrics import log_loss, rmse
from ckf_demo.metrics.protocol import EvalInstances

LEAVES = (8, 16, 32)
"""Leaves of a tree; chosen on validation."""

LEARNING_RATE = 0.04
MOST_TREES = 300
"""The largest number of trees; the number that is used is chosen on validation."""


class Boosting(Baseline):
    """Histogram gradient boosting (scikit-learn): squared error for ratings, log-loss for CTR.

    Trained on the rows that the language model is trained on, each with its own history. The
    number of leaves and of trees is the best on validation, for each task its own.
    """

    name = "gradient boosting"
    summary = "Gradient boosting on folded-in collaborative features."
    needs = ("collaborative knowledge", "history")
    tasks = ("rating", "ctr")
    feedback = ("ratings", "likes")
    gives_probabilities = True

    def fit(self, material: TrainingData) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        self.material = material
        learning, validation = material.learning, material.validation
        x, x_valid = material.features(learning), material.features(validation)
        ratings, labels = [], []
        for leaves in LEAVES:
            regressor = HistGradientBoostingRegressor(**_options(leaves, MOST_TREES))
            staged = regressor.fit(x, learning.ratings).staged_predict(x_valid)
            errors = [rmse(validation.ratings, clipped(p)) for p in staged]
            ratings.append((min(errors), leaves, int(np.argmin(errors)) + 1))
            classifier = HistGradientBoostingClassifier(**_options(leaves, MOST_TREES))
            staged = classifier.fit(x, learning.labels).staged_predict_proba(x_valid)
            losses = [log_loss(validation.labels, p[:, 1]) for p in staged]
            labels.append((min(losses), leaves, int(np.argmin(losses)) + 1))
        self.chosen = min(ratings)[1:], min(labels)[1:]
        self.regressor = HistGradientBoostingRegressor(**_options(*self.chosen[0]))
        self.regressor.fit(x, learning.ratings)
        self.classifier = HistGradientBoostingClassifier(**_options(*self.chosen[1]))
        self.classifier.fit(x, learning.labels)

    def score(self, cases: EvalInstances) -> Scores:
        x = self.material.features(cases)
        return Scores(
            rating=clipped(self.regressor.predict(x)), ctr=self.classifier.predict_proba(x)[:, 1]
        )


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
