"""Weighted metrics against resampled rows, and paired intervals."""

import numpy as np
import pytest

from ckf_demo.metrics import bootstrap, metrics
from ckf_demo.metrics.protocol import EvalInstances, user_groups
from ckf_demo.metrics.results import Results
from support.synthetic import made_up

N_USERS = 12


@pytest.fixture
def scored():
    rng = np.random.default_rng(3)
    users = rng.integers(0, N_USERS, 300)
    labels = rng.integers(0, 2, 300)
    scores = np.round(np.clip(0.3 * labels + rng.random(300) * 0.7, 0, 1), 2)
    return users, labels, scores


def drawn(users: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rows of one resample, repeated as often as their users were drawn."""
    return np.repeat(np.arange(len(users)), weights[users].astype(int))


@pytest.mark.parametrize("name", ["auc", "log_loss", "ece", "rmse", "mae"])
def test_weighted_metric_equals_metric_of_resampled_rows(scored, name):
    users, labels, scores = scored
    weights = bootstrap.user_weights(users, N_USERS, 20, seed=0)
    found = getattr(bootstrap, name)(users, labels, scores, weights)
    for value, weight in zip(found, weights, strict=True):
        rows = drawn(users, weight)
        assert value == pytest.approx(getattr(metrics, name)(labels[rows], scores[rows]), rel=1e-5)


def test_weighted_uauc_is_the_mean_over_drawn_users(scored):
    users, labels, scores = scored
    weights = bootstrap.user_weights(users, N_USERS, 5, seed=0)
    kept, values = metrics.user_aucs(users, labels, scores)
    expected = (weights[:, kept] * values).sum(1) / weights[:, kept].sum(1)
    assert bootstrap.uauc(users, labels, scores, weights) == pytest.approx(expected)


def test_auc_in_chunks_is_the_same(scored, monkeypatch):
    weights = bootstrap.user_weights(scored[0], N_USERS, 20, seed=0)
    whole = bootstrap.auc(*scored, weights)
    monkeypatch.setattr(bootstrap, "CHUNK", 700)
    assert bootstrap.auc(*scored, weights) == pytest.approx(whole)


def test_weights_draw_as_many_users_as_there_are():
    weights = bootstrap.user_weights(np.array([2, 5, 5, 7]), N_USERS, 50, seed=0)
    assert weights.shape == (50, N_USERS)
    assert (weights.sum(1) == 3).all()
    assert weights[:, [0, 1, 3, 4, 6]].sum() == 0


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    users, hits = np.repeat(np.arange(80), 5), 0
    for trial in range(100):
        values = rng.normal(0, 1, 80)[users] + rng.normal(0, 1, 400)
        weights = bootstrap.user_weights(users, 80, 300, seed=trial)
        low, high = bootstrap.interval(bootstrap.mean(users, values, weights))
        hits += low <= 0 <= high
    assert 87 <= hits <= 100


def test_undefined_resamples_are_left_out():
    assert bootstrap.interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(np.isnan(bootstrap.interval(np.array([np.nan]))))


def test_paired_difference_is_narrower_than_its_parts():
    data = made_up()
    cases = EvalInstances(data, data.rows(split=2))
    groups = user_groups(data, cases.users, cases.history_lengths)
    rng = np.random.default_rng(0)
    first = cases.ratings + rng.normal(0, 1, len(cases))
    second = first + 0.3
    weights = bootstrap.user_weights(cases.users, data.n_users, 300, seed=0)
    results = Results(weights)
    results.add_scores("one", cases, groups, first, None)
    results.add_scores("two", cases, groups, second, None)
    results.add_difference("one", "two")
    rows = {(r["method"], r["metric"], r["group"]): r for r in results.rows}
    one, difference = rows["one", "rmse", "all"], rows["one - two", "rmse", "all"]
    assert difference["value"] == pytest.approx(
        one["value"] - rows["two", "rmse", "all"]["value"], abs=2e-6
    )
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert difference["high"] - difference["low"] < one["high"] - one["low"]
    # there is none between methods measured on different rows
    few = EvalInstances(data, cases.rows[:50])
    results.add_scores("few", few, {"all": np.ones(50, bool)}, few.ratings + 0.5, None)
    results.add_difference("one", "few")
    assert not any(r["method"] == "one - few" for r in results.rows)
