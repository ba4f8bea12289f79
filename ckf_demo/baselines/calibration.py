"""Scores to probabilities: a logistic curve fitted on the validation part (Platt scaling)."""

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

from ckf_demo.baselines.base import Baseline, TrainingData


def platt(scores: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit P(liked) = σ(a · score + b) to scores (n,) and labels 0/1 (n,).

    Returns a function from scores (m,) to probabilities float64 (m,).
    """
    centre, scale = float(np.mean(scores)), float(np.std(scores)) or 1.0
    # the penalty is weak, so that the curve is close to the maximum-likelihood one
    curve = LogisticRegression(C=1e6).fit(((scores - centre) / scale)[:, None], labels)
    return lambda new: curve.predict_proba(((new - centre) / scale)[:, None])[:, 1]


def calibration_of(baseline: Baseline, data: TrainingData) -> Callable[[np.ndarray], np.ndarray]:
    """A function from the CTR scores of a fitted baseline to probabilities.

    It is fitted by `platt` on the rows to choose on. It changes nothing where the baseline gives
    probabilities already, or has no CTR task.
    """
    if "ctr" not in baseline.tasks or baseline.gives_probabilities:
        return lambda scores: scores
    validation = data.validation
    scores = baseline.score(validation).ctr
    assert scores is not None  # CTR is among its tasks
    return platt(scores, validation.labels)
