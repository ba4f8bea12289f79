"""Metrics as numbers over arrays, by scikit-learn and lenskit where they have them.

Rating: RMSE, MAE. CTR: AUC, UAUC, log-loss, ECE. Ranking: NDCG@10, recall@10, and the share of
relevant items that the candidate stage lost. Text: distinctness.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import log_loss as _log_loss
from sklearn.metrics import mean_absolute_error, roc_auc_score, root_mean_squared_error

if TYPE_CHECKING:
    from lenskit.metrics import ListMetric

CALIBRATION_BINS = 15
CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1, so that one certain error is not infinite."""

_WORD = re.compile(r"[\w']+")


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean squared error, in stars."""
    return float(root_mean_squared_error(truth, predicted))


def mae(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error, in stars."""
    return float(mean_absolute_error(truth, predicted))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of (liked, not liked) pairs in the right order, ties half; NaN for one class."""
    if labels.min() == labels.max():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def user_aucs(
    users: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC within each user who has both classes: user indices int64 (m,), their AUCs (m,).

    AUC_u = (R − P(P + 1)/2) / (P·N), with R the sum of the ranks of u's P liked rows among all of
    u's P + N rows, ties sharing their mean rank. All users at once.
    """
    order = np.lexsort((scores, users))
    users, liked, scores = users[order], labels[order] == 1, scores[order]
    new_user = np.r_[True, users[1:] != users[:-1]]
    starts = np.flatnonzero(new_user)
    first = np.flatnonzero(new_user | np.r_[True, scores[1:] != scores[:-1]])
    ties = np.diff(np.r_[first, len(scores)])
    within = first - starts[np.cumsum(new_user)[first] - 1]
    ranks = np.repeat(within + (ties + 1) / 2, ties)
    rank_sum = np.add.reduceat(ranks * liked, starts)
    positive = np.add.reduceat(liked.astype(np.int64), starts)
    negative = np.diff(np.r_[starts, len(scores)]) - positive
    both = (positive > 0) & (negative > 0)
    p, n = positive[both], negative[both]
    return users[starts[both]], (rank_sum[both] - p * (p + 1) / 2) / (p * n)


def uauc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean over users with both classes of their own AUC; NaN when there is none."""
    _, values = user_aucs(users, labels, scores)
    return float(values.mean()) if len(values) else float("nan")


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats."""
    return float(_log_loss(labels, np.clip(probabilities, CLIP, 1 - CLIP), labels=[0, 1]))


def calibration_bin(probabilities: np.ndarray) -> np.ndarray:
    """Which of the 15 bins of equal width a probability falls into, int (n,)."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def ece(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: Σ_b n_b/n · |mean label − mean probability| over 15 bins."""
    gap = np.bincount(
        calibration_bin(probabilities), weights=probabilities - labels, minlength=CALIBRATION_BINS
    )
    return float(np.abs(gap).sum() / len(labels))


def ndcg_at_10(ranked: np.ndarray, relevant: np.ndarray) -> float:
    """NDCG of the first ten, with the discount log2(rank + 1) and binary gains."""
    return _measured(_ranking_metrics()[0], ranked, relevant)


def recall_at_10(ranked: np.ndarray, relevant: np.ndarray) -> float:
    """Share of the relevant items among the first ten, of at most ten that could be there."""
    return _measured(_ranking_metrics()[1], ranked, relevant)


def lost_by_candidates(candidates: np.ndarray, relevant: np.ndarray) -> int:
    """How many relevant items are not among the candidates."""
    return int((~np.isin(relevant, candidates)).sum())


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words over all n-grams of words, over all texts together."""
    grams: list[tuple[str, ...]] = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams += zip(*(words[i:] for i in range(n)), strict=False)
    return len(set(grams)) / len(grams) if grams else float("nan")


def unique_share(texts: Sequence[str]) -> float:
    """Share of texts that no other text repeats word for word."""
    counts = Counter(texts)
    return sum(n == 1 for n in counts.values()) / len(texts) if texts else float("nan")


@cache
def _ranking_metrics() -> "tuple[ListMetric, ListMetric]":
    # lenskit takes seconds to import, and listing the methods should not
    from lenskit.metrics import NDCG, Recall
    from lenskit.metrics.ranking import LogRankWeight

    return NDCG(n=10, weight=LogRankWeight(offset=1)), Recall(n=10)


def _measured(metric: "ListMetric", ranked: np.ndarray, relevant: np.ndarray) -> float:
    from lenskit.data import ItemList

    ordered = ItemList(item_ids=ranked, ordered=True)
    return float(metric.measure_list(ordered, ItemList(item_ids=relevant)))
