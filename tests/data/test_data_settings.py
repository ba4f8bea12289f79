"""Other settings of a data set: cores to a fixed point, the last rows held out, what is liked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.backbone.multilora import LoraConfig
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.settings import DataConfig, applied, in_core
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError
from support.synthetic import made_up, made_up_likes

DATA = made_up(n_users=20, n_items=30, n=300)
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


def with_rows(pairs: list[tuple[int, int]], moments: list[int]) -> Prepared:
    """Made-up data with given (user, item) pairs in time order."""
    n = len(pairs)
    user, item = np.array(pairs, np.int32).reshape(n, 2).T
    return replace(
        DATA,
        user=user.copy(),
        item=item.copy(),
        rating=np.full(n, 4, np.float32),
        timestamp=np.sort(np.array(moments[:n], np.int64)),
        source_row=np.arange(n, dtype=np.int32),
        split=np.zeros(n, np.int8),
        fit=np.ones(n, bool),
    )


def test_defaults_leave_the_data_as_they_are():
    assert applied(DATA, DataConfig(dataset="made-up")) is DATA


def test_defaults_are_not_in_a_dump_so_that_older_configurations_keep_their_identity():
    dump = RunConfig(name="x").model_dump()
    assert dump["data"] == {"dataset": "ml-100k"}
    assert set(dump["lora"]) == set(LoraConfig.model_fields) - {"full"}
    changed = RunConfig(name="x", data={"core": 5, "liked_from": 3, "split": "leave-last-out"})
    assert RunConfig.model_validate_json(changed.model_dump_json()) == changed
    assert changed.model_dump()["data"]["core"] == 5


@given(PAIRS, st.integers(1, 4))
def test_a_core_is_the_largest_part_in_which_all_have_enough(pairs, least):
    user, item = np.array(pairs, np.int64).reshape(-1, 2).T
    kept = in_core(user, item, least)
    for owner in (user, item):
        sizes = np.bincount(owner[kept])
        assert (sizes[sizes > 0] >= least).all()
    # taking away one who has too few at a time ends in the same part
    left = np.ones(len(user), bool)
    while True:
        few = [
            left & (owner == x)
            for owner in (user, item)
            for x in np.unique(owner[left])
            if (left & (owner == x)).sum() < least
        ]
        if not few:
            break
        left &= ~few[0]
    assert (kept == left).all()


@given(PAIRS, st.integers(1, 3))
def test_filtered_data_hold_the_same_interactions_by_their_ids(pairs, least):
    data = with_rows(pairs, list(range(40)))
    kept = in_core(data.user, data.item, least)
    if not kept.any():
        with pytest.raises(UserError, match=r"set data\.core to less"):
            applied(data, DataConfig(dataset="made-up", core=least))
        return
    core = applied(data, DataConfig(dataset="made-up", core=least))
    rows = {
        (data.user_ids[u], data.titles[i])
        for u, i in zip(data.user[kept], data.item[kept], strict=True)
    }
    assert rows == {
        (core.user_ids[u], core.titles[i]) for u, i in zip(core.user, core.item, strict=True)
    }
    assert len(core.user) == kept.sum()
    assert set(core.user) == set(range(core.n_users))
    assert set(core.item) == set(range(core.n_items))
    assert (np.diff(core.split) >= 0).all()
    assert core.hash != data.hash


@given(PAIRS, st.lists(st.integers(0, 12), min_size=40, max_size=40))
@settings(max_examples=60)
def test_leaving_the_last_out_leaks_nothing(pairs, moments):
    data = with_rows(pairs, moments)
    cut = applied(data, DataConfig(dataset="made-up", split="leave-last-out"))
    for user in range(cut.n_users):
        own = cut.history.rows_of(user)
        wanted = [TRAIN] * (len(own) - 2) + [VALID, TEST] if len(own) > 2 else [TRAIN] * len(own)
        assert cut.split[own].tolist() == wanted
    for row in np.flatnonzero(cut.split != TRAIN):
        before = cut.history.before(int(row))
        assert (cut.timestamp[before] < cut.timestamp[row]).all()
        assert not (cut.split[before] > cut.split[row]).any()
        own = np.flatnonzero(cut.fit & (cut.user == cut.user[row]))
        assert (own < row).all()
    learning = cut.learning_rows()
    assert not cut.fit[cut.split != TRAIN].any()
    if len(learning) and cut.fit.any():
        assert np.flatnonzero(cut.fit).max() < learning.min()


def test_what_is_liked_is_a_matter_of_stars_and_of_identity(tmp_path):
    for stars in (3.0, 5.0):
        data = applied(DATA, DataConfig(dataset="made-up", liked_from=stars))
        assert (data.liked == (DATA.rating >= stars)).all()
        assert data.hash != DATA.hash
        data.save(tmp_path / "data.npz")
        assert Prepared.load(tmp_path / "data.npz").hash == data.hash
    # data with their own split refuse other settings
    with pytest.raises(UserError, match="own likes and split"):
        applied(made_up_likes(), DataConfig(dataset="made-up", core=2))
