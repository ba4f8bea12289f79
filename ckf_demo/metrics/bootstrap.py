"""Paired bootstrap over users, 95 % percentile intervals.

Users are drawn with replacement; a row counts as often as its user was drawn. The same draws serve
every method and group, so the interval of a difference is that of paired values. Each metric is
recomputed from sums per user (AUC from weighted ranks), so that a thousand resamples are fast.
All functions take ``weights`` (resamples, n_users) and give one value per resample.
"""

import numpy as np

from ckf_demo.metrics.metrics import CALIBRATION_BINS, CLIP, calibration_bin, user_aucs

RESAMPLES = 1000
CHUNK = 4_000_000
"""Cells of the (resamples, rows) table that weighted ranks work on at once."""

Array = np.ndarray


def user_weights(users: Array, n_users: int, resamples: int, seed: int) -> Array:
    """How often each user is drawn in each resample, float32 (resamples, n_users).

    ``users`` are the indices to draw from; everybody else has weight 0.
    """
    users = np.unique(users)
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, n_users), dtype=np.float32)
    equal = np.full(len(users), 1 / len(users))
    weights[:, users] = rng.multinomial(len(users), equal, size=resamples)
    return weights


def mean(users: Array, values: Array, weights: Array) -> Array:
    """Mean of a value per row."""
    return ratio(users, values, np.ones(len(values)), weights)


def ratio(users: Array, numerator: Array, denominator: Array, weights: Array) -> Array:
    """Sum of one value per row over the sum of another."""
    n_users = weights.shape[1]
    top = weights @ np.bincount(users, weights=numerator, minlength=n_users)
    bottom = weights @ np.bincount(users, weights=denominator, minlength=n_users)
    return _divided(top, bottom)


def rmse(users: Array, truth: Array, predicted: Array, weights: Array) -> Array:
    return np.sqrt(mean(users, (np.asarray(truth, float) - predicted) ** 2, weights))


def mae(users: Array, truth: Array, predicted: Array, weights: Array) -> Array:
    return mean(users, np.abs(np.asarray(truth, float) - predicted), weights)


def log_loss(users: Array, labels: Array, probabilities: Array, weights: Array) -> Array:
    p = np.clip(np.asarray(probabilities, float), CLIP, 1 - CLIP)
    return mean(users, -np.log(np.where(labels == 1, p, 1 - p)), weights)


def ece(users: Array, labels: Array, probabilities: Array, weights: Array) -> Array:
    shape = weights.shape[1], CALIBRATION_BINS
    cell = users * CALIBRATION_BINS + calibration_bin(probabilities)
    gaps = np.bincount(cell, weights=probabilities - labels, minlength=shape[0] * shape[1])
    counts = weights @ np.bincount(users, minlength=shape[0])
    return _divided(np.abs(weights @ gaps.reshape(shape)).sum(axis=1), counts)


def uauc(users: Array, labels: Array, scores: Array, weights: Array) -> Array:
    kept, values = user_aucs(users, labels, scores)
    if not len(kept):
        return np.full(len(weights), np.nan)
    return mean(kept, values, weights)


def auc(users: Array, labels: Array, scores: Array, weights: Array) -> Array:
    """Weighted AUC: Σ over liked rows of their weight times the weight of what ranks below.

    Rows are sorted by score once; equal scores form one step and count half.
    """
    order = np.argsort(scores, kind="stable")
    users, liked, scores = users[order], labels[order] == 1, scores[order]
    steps = np.flatnonzero(np.r_[True, np.diff(scores) > 0])
    values = np.empty(len(weights))
    size = max(1, CHUNK // max(1, len(scores)))
    for start in range(0, len(weights), size):
        row_weights = weights[start : start + size, users].astype(np.float64)
        positive = np.add.reduceat(row_weights * liked, steps, axis=1)
        negative = np.add.reduceat(row_weights * ~liked, steps, axis=1)
        below = np.cumsum(negative, axis=1) - 0.5 * negative
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        values[start : start + size] = _divided((positive * below).sum(axis=1), pairs)
    return values


def interval(replicates: Array, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the resamples in which the metric is defined; NaN when none is."""
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates):
        return float("nan"), float("nan")
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _divided(top: Array, bottom: Array) -> Array:
    top = np.asarray(top, dtype=np.float64)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
