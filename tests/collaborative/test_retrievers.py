"""Retrievers beside the watching model: a graph convolution and a next-item network."""

from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.collaborative.knowledge import RETRIEVER_WEIGHT, CollaborativeKnowledge
from ckf_demo.collaborative.retrievers import UNKNOWN, Retrievers
from support.tiny import tiny_data

DATA = tiny_data()
ROWS = np.flatnonzero(DATA.fit)


@pytest.fixture(scope="module")
def retrievers() -> Retrievers:
    fitted = Retrievers.fit(DATA, ROWS, 0)
    assert fitted is not None
    return fitted


def liked_items() -> np.ndarray:
    return np.unique(DATA.item[ROWS][DATA.liked[ROWS]]).astype(np.int64)


def test_only_likes_count_and_their_order_does(retrievers):
    liked = liked_items()[:3]
    stars = np.full(3, 5.0, np.float32)
    scores = retrievers.scores(liked, stars)
    assert scores.shape == (DATA.n_items,) and np.isfinite(scores).all()
    disliked = retrievers.scores(np.append(liked, 0), np.append(stars, 1.0))
    np.testing.assert_array_equal(disliked, scores)
    assert np.abs(retrievers.scores(liked[::-1].copy(), stars) - scores).max() > 1e-4


def test_items_without_likes_come_last(retrievers):
    unknown = np.setdiff1d(np.arange(DATA.n_items), liked_items())
    data = DATA
    if not len(unknown):
        unknown = liked_items()[:1]
        kept = ROWS[~np.isin(DATA.item[ROWS], unknown)]
        retrievers = Retrievers.fit(data, kept, 0)
    for history in (np.zeros(0, np.int64), liked_items()[-2:]):
        scores = retrievers.scores(history, np.full(len(history), 5.0))
        np.testing.assert_allclose(scores[unknown], 2 * UNKNOWN)
        assert scores.max() > 2 * UNKNOWN


def test_somebody_without_likes_is_the_mean_person(retrievers):
    nobody = retrievers.scores(np.zeros(0, np.int64), np.zeros(0))
    disliker = retrievers.scores(np.array([1, 2]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(nobody, disliker)


def test_they_are_written_and_read_back(retrievers):
    again = Retrievers.from_arrays(retrievers.arrays(), DATA)
    liked = liked_items()[:4]
    for history in (liked, liked[:0]):
        stars = np.full(len(history), 5.0)
        np.testing.assert_array_equal(
            again.scores(history, stars), retrievers.scores(history, stars)
        )


def test_nothing_is_fitted_where_nobody_likes_two_items():
    alone = ROWS[np.unique(DATA.user[ROWS], return_index=True)[1]]
    assert Retrievers.fit(DATA, alone, 0) is None


def test_the_candidate_stage_adds_them_up():
    rows = {"rows": ROWS, "seed": 0}
    whole = CollaborativeKnowledge.fit(DATA, **rows)
    plain = CollaborativeKnowledge.fit(DATA, **rows, retrieves=False)
    history = liked_items()[:3], np.array([5.0, 4.0, 2.0], np.float32)
    np.testing.assert_allclose(
        whole.candidate_scores(*history) - plain.candidate_scores(*history),
        RETRIEVER_WEIGHT * whole.retrievers.scores(*history),
        atol=1e-5,
    )
    # tables that lack a part are fitted anew for serving
    assert replace(whole, retrievers=None).for_learning(DATA).retrievers is not None
    assert whole.for_learning(DATA) is whole
