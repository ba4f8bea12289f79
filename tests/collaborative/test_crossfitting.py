"""Examples of the prior: each training row by tables that do not know its user."""

from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.collaborative import crossfitting
from ckf_demo.collaborative.base import WORDS
from ckf_demo.collaborative.crossfitting import crossfitted
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.splits import TRAIN
from support.tiny import tiny_data, tiny_knowledge

DATA, NAMES = tiny_data(), tiny_knowledge().feature_names
OF_TABLES = [
    NAMES.index(name)
    for name in (
        *("item bias", "log item count", "text's level", "level of the text alone"),
        *("recent likes", "rating spread of the item"),
    )
]
"""Features of an item by the tables alone, whatever the history."""
PLACES = [NAMES.index(name) for name in WORDS]


def words(rows: np.ndarray, rng: np.random.Generator):
    """In the place of sentences: words that say when the latest row was, and name its item."""
    if not len(rows):
        return "", None, ()
    said = np.full((DATA.n_items, len(WORDS)), 1 + rows[-1], np.float32)
    return "like it", said, (int(DATA.item[rows[-1]]),)


@pytest.fixture(scope="module")
def examples() -> tuple[np.ndarray, np.ndarray]:
    return crossfitted(DATA, words, 0)


def test_every_training_row_comes_with_a_whole_and_a_cut_history(examples):
    rows, features = examples
    counts = np.bincount(rows, minlength=len(DATA.user))
    np.testing.assert_array_equal(counts, 2 * (DATA.split == TRAIN))
    assert features.shape == (len(rows), len(NAMES))
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    lengths = np.round(np.expm1(features[:, NAMES.index("log history length")]))
    whole = DATA.history.lengths[rows]
    assert (lengths <= whole).all()
    assert (lengths == whole).sum() >= len(rows) / 2
    assert set(crossfitting.LENGTHS) <= set(lengths.astype(int))


def test_tables_do_not_know_the_ratings_of_the_rows_user(examples):
    rows, features = examples
    user = int(np.bincount(DATA.user[DATA.split == TRAIN]).argmax())
    own = DATA.user == user
    changed = replace(DATA, rating=np.where(own, 6 - DATA.rating, DATA.rating).astype(np.float32))
    same, others = crossfitted(changed, words, 0)
    np.testing.assert_array_equal(same, rows)
    mine = own[rows]
    np.testing.assert_array_equal(others[mine][:, OF_TABLES], features[mine][:, OF_TABLES])
    # tables of other people's rows know them
    assert not np.allclose(others[~mine][:, OF_TABLES], features[~mine][:, OF_TABLES])


def test_a_rows_own_rating_and_later_ones_leave_its_features(examples):
    rows, features = examples
    user = int(np.bincount(DATA.user[DATA.split == TRAIN]).argmax())
    of_user = DATA.history.rows_of(user)
    middle = of_user[(DATA.split[of_user] == TRAIN).sum() // 2]
    later = (DATA.user == user) & (DATA.timestamp >= DATA.timestamp[middle])
    changed = replace(DATA, rating=np.where(later, 6 - DATA.rating, DATA.rating).astype(np.float32))
    _, others = crossfitted(changed, words, 0)
    mine = (DATA.user[rows] == user) & (DATA.timestamp[rows] <= DATA.timestamp[middle])
    assert mine.sum() > 10
    np.testing.assert_allclose(others[mine], features[mine], rtol=1e-4, atol=1e-5)


def test_words_are_of_earlier_rows(examples):
    rows, features = examples
    said = features[:, PLACES[0]]
    spoken = said > 0
    assert 0.1 < spoken.mean() < 0.4
    latest = said[spoken].astype(int) - 1
    assert (DATA.user[latest] == DATA.user[rows[spoken]]).all()
    assert (DATA.timestamp[latest] < DATA.timestamp[rows[spoken]]).all()
    _, silent = crossfitted(DATA, None, 0)
    assert not silent[:, PLACES].any()


def test_what_words_name_counts_like_a_rating(examples):
    _, features = examples
    length = np.expm1(features[:, NAMES.index("log history length")]).round()
    spoken = features[:, PLACES[0]] > 0
    assert length[spoken].min() >= 1
    assert length[~spoken].min() == 0


def test_no_more_rows_than_are_wanted_are_learnt_from(monkeypatch):
    monkeypatch.setattr(crossfitting, "ROWS", 100)
    fits = []
    fit = CollaborativeKnowledge.fit.__func__
    monkeypatch.setattr(
        CollaborativeKnowledge,
        "fit",
        classmethod(
            lambda cls, *args, **more: fits.append(more["rows"]) or fit(cls, *args, **more)
        ),
    )
    rows, features = crossfitted(DATA, None, 0)
    assert len(rows) == len(features) == 200
    assert len(np.unique(rows)) == 100
    # the tables are still of all rows of the others, and each user is left out once
    train = DATA.rows(split=TRAIN)
    assert sum(len(train) - len(kept) for kept in fits) == len(train)
