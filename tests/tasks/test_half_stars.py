"""Half stars: the five answers as a distribution over ten ratings."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.tasks.rating import HALVES, in_halves
from support.synthetic import made_up
from support.tiny import tiny_recommender

COUNTS = st.lists(st.integers(0, 10_000), min_size=10, max_size=10).map(np.array)
SHARES = st.lists(st.floats(0.001, 1), min_size=5, max_size=5).map(np.array)


@given(SHARES, COUNTS)
def test_the_expectation_stays_and_all_is_probability(shares, counts):
    probabilities = shares / shares.sum()
    halves = in_halves(probabilities, counts)
    assert halves.sum() == pytest.approx(1) and (halves >= 0).all()
    mean = np.clip(probabilities @ np.arange(1, 6), 0.51, 4.99)
    assert halves @ HALVES == pytest.approx(mean, abs=1e-6)


def test_ratings_that_nobody_gives_have_no_share():
    counts = np.array([0, 10] * 5)
    probabilities = np.array([0.1, 0.1, 0.2, 0.4, 0.2])
    assert in_halves(probabilities, counts)[1::2] == pytest.approx(probabilities, abs=1e-6)
    assert in_halves(np.full(5, 0.2), np.array([1, 3] * 5))[3] == pytest.approx(0.15, abs=0.02)


def test_data_with_half_stars_are_answered_in_half_stars(tmp_path):
    data = made_up(n_users=50, n_items=60, n=1500)
    rng = np.random.default_rng(0)
    halved = data.rating - 0.5 * (rng.random(len(data.rating)) < 0.3).astype(np.float32)
    assert data.stars.tolist() == [1, 2, 3, 4, 5]
    with tiny_recommender(tmp_path, replace(data, rating=halved)) as recommender:
        answer = recommender.rate(user="7", item="3")
    assert list(answer["distribution"]) == [f"{star:g}" for star in HALVES]
    assert sum(float(s) * p for s, p in answer["distribution"].items()) == pytest.approx(
        answer["rating"], abs=1e-4
    )
