"""Splits: nothing that is to be predicted comes before what one learns from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.data.splits import (
    SMALLEST,
    TEST,
    TRAIN,
    VALID,
    choosing_half,
    leave_last_out,
    time_order,
    time_split,
)

moments = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(np.array)
users = st.lists(st.integers(0, 12), min_size=1, max_size=200).map(np.array)


@given(moments)
def test_time_order_is_by_moment_and_keeps_the_order_of_the_source_within_one(timestamp):
    order = time_order(timestamp, np.arange(len(timestamp)))
    assert sorted(order) == list(range(len(timestamp)))
    pairs = [(timestamp[row], row) for row in order]
    assert pairs == sorted(pairs)


@given(st.integers(1, 5_000))
def test_a_split_in_time_has_its_shares_in_order(n):
    split, fit = time_split(n)
    assert len(split) == len(fit) == n
    assert (np.diff(split) >= 0).all()
    assert (split == TRAIN).sum() == int(0.8 * n) and (split == VALID).sum() == int(0.1 * n)
    # collaborative models see the first part of the training rows alone
    assert (split[fit] == TRAIN).all() and fit.sum() == int(0.6 * n)
    assert not fit[fit.sum() :].any()


@given(users)
def test_leaving_the_last_out_takes_two_rows_of_everybody_with_three(user):
    split, fit = leave_last_out(user)
    for one in np.unique(user):
        own = split[user == one]
        if len(own) < SMALLEST:
            assert (own == TRAIN).all()
        else:
            assert own[-1] == TEST and own[-2] == VALID and (own[:-2] == TRAIN).all()
    assert (split[fit] == TRAIN).all()
    # in time, no training row that is not seen stands before one that is
    train = np.flatnonzero(split == TRAIN)
    assert (np.diff(fit[train].astype(int)) <= 0).all()


@given(st.lists(st.text(), unique=True, max_size=60), st.randoms())
def test_half_of_the_people_decide_whatever_their_order(ids, random):
    chosen = dict(zip(ids, choosing_half(ids), strict=True))
    assert sum(chosen.values()) == -(-len(ids) // 2)
    shuffled = random.sample(ids, len(ids))
    assert dict(zip(shuffled, choosing_half(shuffled), strict=True)) == chosen
