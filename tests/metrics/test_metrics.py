"""Metrics against hand-computed values, and the tone of texts."""

import numpy as np
import pytest

from ckf_demo.baselines.calibration import platt
from ckf_demo.metrics import metrics
from ckf_demo.tasks.explanations.sentiment import compound, polarity

BY_HAND = {
    "rmse": (metrics.rmse, ([1, 3, 5], [2, 3, 3]), np.sqrt(5 / 3)),
    "mae": (metrics.mae, ([1, 3, 5], [2, 3, 3]), 1),
    "AUC counts ties half": (metrics.auc, ([1, 0], [0.5, 0.5]), 0.5),
    "AUC with one tie": (metrics.auc, ([1, 0, 0], [0.6, 0.1, 0.6]), 0.75),
    "AUC of one class is undefined": (metrics.auc, ([1, 1], [0.1, 0.2]), np.nan),
    "ECE compares means within bins": (
        metrics.ece,
        ([1, 0, 1, 1], [0.51, 0.52, 0.98, 1.0]),
        abs(0.51 + 0.52 - 1) / 4 + abs(0.98 + 1.0 - 2) / 4,
    ),
    "NDCG uses log2 of rank plus one": (
        metrics.ndcg_at_10,
        ([1, 7, 8, 2], [7, 8]),
        (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)),
    ),
    "NDCG of the best order": (metrics.ndcg_at_10, ([8, 7, 1], [7, 8]), 1),
    "recall is of what could be among ten": (metrics.recall_at_10, (range(10), range(5, 25)), 0.5),
    "recall of some": (metrics.recall_at_10, (range(10), [3, 99]), 0.5),
    "what candidates lack is counted": (metrics.lost_by_candidates, ([1, 2, 3], [3, 4, 5]), 2),
}


@pytest.mark.parametrize(("metric", "given", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_values_by_hand(metric, given, expected):
    assert metric(*map(np.array, given)) == pytest.approx(expected, nan_ok=True)


def test_uauc_leaves_out_users_with_one_class():
    users = np.array([0, 1, 0, 2, 1, 2])
    labels = np.array([1, 1, 0, 1, 0, 1])
    scores = np.array([0.9, 0.2, 0.1, 0.5, 0.8, 0.4])
    kept, values = metrics.user_aucs(users, labels, scores)
    assert kept.tolist() == [0, 1]
    assert values.tolist() == [1.0, 0.0]
    assert metrics.uauc(users, labels, scores) == pytest.approx(0.5)
    # each is the user's own AUC
    rng = np.random.default_rng(0)
    users, labels = rng.integers(0, 30, 400), rng.integers(0, 2, 400)
    scores = np.round(rng.random(400), 1)
    kept, values = metrics.user_aucs(users, labels, scores)
    expected = {u: metrics.auc(labels[users == u], scores[users == u]) for u in range(30)}
    assert {u: v for u, v in expected.items() if not np.isnan(v)} == pytest.approx(
        dict(zip(kept.tolist(), values, strict=True))
    )


def test_log_loss_of_a_certain_error_is_finite():
    assert np.isfinite(metrics.log_loss(np.array([1, 0]), np.array([0.0, 1.0])))


def test_ece_of_a_calibrated_score_is_small():
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    assert metrics.ece((rng.random(50_000) < p).astype(int), p) < 0.01


def test_distinctness():
    texts = ["a b a b", "a c"]
    assert metrics.distinct(texts, 1) == pytest.approx(3 / 6)
    assert metrics.distinct(texts, 2) == pytest.approx(3 / 4)
    assert metrics.unique_share(["x", "y", "x"]) == pytest.approx(1 / 3)


def test_platt_keeps_the_order_and_calibrates():
    rng = np.random.default_rng(1)
    score = rng.normal(100, 20, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(score - 100) / 10))).astype(int)
    p = platt(score, labels)(score)
    assert metrics.auc(labels, p) == pytest.approx(metrics.auc(labels, score))
    assert metrics.ece(labels, p) < 0.02


def test_titles_and_genres_have_no_tone():
    assert polarity("Die Hard is a Horror film.", ["Die Hard"]) == "mixed"
    assert polarity("You will love Die Hard.", ["Die Hard"]) == "positive"
    assert polarity("Good Will Hunting would disappoint you.", ["Good Will Hunting"]) == "negative"
    assert -1 <= compound("a dreadful waste") < 0
