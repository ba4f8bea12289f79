"""Cohorts: who is chosen, which rows are sampled, and that measured values are the protocol's."""

from threading import Event

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.evaluation import cohorts
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import TRUNCATIONS
from ckf_demo.runtime.errors import UserError
from support.fakes import FakeRecommender

FAKE = FakeRecommender()
DATA = FAKE.prepared


def last(parts: list) -> cohorts.Measured:
    *_, found = cohorts.measure(FAKE, parts, ["ckf"])
    return found


@pytest.fixture(autouse=True)
def _cache(empty_cache):
    """Answers of one test are not those of another."""


def test_attributes_choose_by_what_is_known():
    train = np.bincount(DATA.user[DATA.split == TRAIN], minlength=DATA.n_users)
    few = cohorts.by_attributes(DATA, ratings=(None, 3))
    assert set(few.users) == set(np.flatnonzero(train <= 3))
    young = cohorts.by_attributes(DATA, age=(20, 30), occupation="writer")
    for user in young.users:
        assert 20 <= DATA.ages[user] <= 30 and DATA.occupations[user] == "writer"
    assert young.name == "age 20–30, writer"
    assert len(cohorts.by_attributes(DATA).users) == DATA.n_users
    # unknown ages meet no bound
    assert (DATA.ages[cohorts.by_attributes(DATA, age=(None, 200)).users] > 0).all()


def test_a_genre_share_is_over_all_ratings():
    chosen = cohorts.by_attributes(DATA, genre="Drama", share=(0.3, None))
    for user in range(DATA.n_users):
        items = DATA.item[DATA.user == user]
        share = np.mean(["Drama" in DATA.genres[i] for i in items])
        assert (share >= 0.3) == (user in chosen.users)


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"ratings": (5, 2)}, "wrong way round"),
        ({"occupation": "king"}, "engineer, student"),
        ({"genre": "Opera"}, "Film-Noir"),
        ({"share": (0.1, None)}, "needs a genre"),
        ("SELECT id, age FROM users", "2 columns"),
        ("SELECT title FROM items LIMIT 1", "no user id"),
        ("DELETE FROM users", "SELECT"),
        ("SELECT range FROM range(200000)", "DISTINCT"),
    ],
)
def test_conditions_that_cannot_be_met_say_what_would_work(conditions, said):
    with pytest.raises(UserError, match=said):
        if isinstance(conditions, str):
            cohorts.by_query(FAKE.store, DATA, conditions)
        else:
            cohorts.by_attributes(DATA, **conditions)


def test_a_query_chooses_users_by_id():
    found = cohorts.by_query(FAKE.store, DATA, "SELECT id FROM users WHERE gender = 'F'")
    assert {DATA.genders[u] for u in found.users} == {"F"} and len(found.users) == 8


@settings(max_examples=50)
@given(
    per_person=st.integers(1, 40),
    total=st.integers(1, 300),
    seed=st.integers(0, 5),
    split=st.sampled_from([TRAIN, VALID]),
)
def test_samples_keep_their_bounds(per_person, total, seed, split):
    rows, bounds = DATA.rows(split=split), {"per_person": per_person, "total": total, "seed": seed}
    found, again = (cohorts.sample_rows(DATA, rows, **bounds) for _ in range(2))
    assert (found == again).all() and (np.diff(found) > 0).all() and np.isin(found, rows).all()
    counts = np.bincount(DATA.user[found], minlength=DATA.n_users)
    assert counts.max() <= per_person
    of_each = np.minimum(np.bincount(DATA.user[rows]), per_person)
    assert len(found) == min(total, of_each.sum())


def test_every_k_has_the_same_rows_and_only_the_validation_part():
    parts = cohorts.cohort_parts(DATA, [cohorts.by_attributes(DATA)])
    assert [part.cases.k for part in parts] == list(TRUNCATIONS)
    assert len({part.cases.rows.tobytes() for part in parts}) == 1
    assert (DATA.split[parts[0].cases.rows] == VALID).all()
    nobody = cohorts.Cohort("nobody", np.array([], dtype=int))
    with pytest.raises(UserError, match="nobody: 0 people"):
        cohorts.cohort_parts(DATA, [nobody])


def test_films_stand_in_the_band_of_their_training_ratings():
    counts = np.bincount(DATA.item[DATA.split == TRAIN], minlength=DATA.n_items)
    bands = {name: (low, high) for name, low, high in cohorts.ITEM_BANDS}
    parts = cohorts.item_parts(DATA, per_person=99, total=999)
    for part in parts:
        low, high = bands[part.group]
        own = counts[part.cases.items]
        assert (own >= low).all() and (own <= high).all() and len(own) == part.available
    assert sum(part.available for part in parts) == (DATA.split == VALID).sum()


def test_values_are_those_of_the_scores():
    parts = cohorts.cohort_parts(DATA, [cohorts.by_attributes(DATA)], [3])
    found = last(parts)
    cases = parts[0].cases
    scores = FAKE.score_rows(cases.rows, k=3, method="ckf")
    stars = scores["rating"] @ np.arange(1, 6)
    mae, auc = ({row["metric"]: row for row in found.rows}[name] for name in ("mae", "auc"))
    assert mae["value"] == pytest.approx(metrics.mae(cases.ratings, stars), abs=1e-5)
    assert auc["value"] == pytest.approx(metrics.auc(cases.labels, scores["ctr"]), abs=1e-5)
    assert mae["n"] == len(cases) and mae["low"] <= mae["value"]
    assert mae["people"] == len(np.unique(cases.users))
    assert found.done == found.total == len(cases)


def test_parts_come_complete_and_in_order_and_stop_on_demand():
    parts = cohorts.cohort_parts(DATA, [cohorts.by_attributes(DATA)], [0, None], total=12)
    stop, groups, done = Event(), [], []
    for found in cohorts.measure(FAKE, parts, ["ckf", "collaborative"], stop=stop):
        done.append(found.done)
        keys = list(dict.fromkeys((r["group"], r["method"]) for r in found.rows))
        groups.append(keys)
        if len(keys) == 2:
            stop.set()
    assert done[0] == 0 and done == sorted(done) and done[-1] < found.total
    assert groups[-1] == [("k=0", "ckf"), ("k=0", "collaborative")]
    # what was stopped goes on from the answers that are kept
    FAKE.calls.clear()
    list(cohorts.measure(FAKE, parts[:1], ["ckf"]))
    assert FAKE.calls == []


def test_tables_are_written_and_read_again(tmp_path):
    parts = cohorts.item_parts(DATA, total=5)
    rows = last(parts).rows
    for name, read in (("x.csv", pd.read_csv), ("x.parquet", pd.read_parquet)):
        cohorts.write(rows, tmp_path / name)
        frame = read(tmp_path / name)
        assert list(frame.columns) == list(cohorts.COLUMNS) and len(frame) == len(rows)
    with pytest.raises(UserError, match=r"\.csv nor \.parquet"):
        cohorts.write(rows, tmp_path / "x.json")
