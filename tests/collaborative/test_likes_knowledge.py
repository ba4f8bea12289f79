"""Collaborative knowledge of likes: against plain solutions, and without any sight of a target."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.collaborative.likes import EASE_RIDGE, FEATURE_NAMES, LikesKnowledge, Neighbours
from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.data.splits import TRAIN, VALID
from support.synthetic import made_up_likes

DATA = made_up_likes()
KNOWLEDGE = LikesKnowledge.fit(DATA)
TRAINED, HELD = DATA.rows(split=TRAIN), DATA.rows(split=VALID)


def with_labels(flipped: np.ndarray):
    rating = DATA.rating.copy()
    rating[flipped] = 1 - rating[flipped]
    return replace(DATA, rating=rating)


def assert_blind(row: int, labels: np.ndarray) -> None:
    """Flipped labels leave the features of a row as they are."""
    changed = with_labels(labels)
    before = row_features(DATA, KNOWLEDGE, np.array([row]))
    after = row_features(changed, LikesKnowledge.fit(changed), np.array([row]))
    np.testing.assert_allclose(before, after, atol=1e-5)


@settings(max_examples=15)
@given(st.integers(0, len(TRAINED) - 1))
def test_features_of_a_training_row_do_not_know_its_label(place):
    assert_blind(TRAINED[place], TRAINED[[place]])


def test_features_of_training_rows_do_not_know_later_labels_of_the_same_person():
    user = int(np.bincount(DATA.user[TRAINED]).argmax())
    own = TRAINED[DATA.user[TRAINED] == user]
    middle = own[len(own) // 2]
    assert_blind(middle, own[DATA.timestamp[own] >= DATA.timestamp[middle]])


def test_nothing_is_learnt_from_validation_and_test():
    changed = with_labels(np.flatnonzero(DATA.split != TRAIN))
    other = LikesKnowledge.fit(changed)
    np.testing.assert_array_equal(KNOWLEDGE.tables.quality, other.tables.quality)
    np.testing.assert_array_equal(KNOWLEDGE.embedding, other.embedding)


def test_training_labels_change_features_of_other_rows():
    other = LikesKnowledge.fit(with_labels(TRAINED[::2]))
    assert np.abs(row_features(DATA, KNOWLEDGE, HELD) - row_features(DATA, other, HELD)).max() > 0.1


def test_taste_after_every_prefix_is_that_of_a_gaussian_process():
    user = int(np.bincount(DATA.user[TRAINED]).argmax())
    labelled = KNOWLEDGE.labelled(user, training=False)
    tables, _, x = KNOWLEDGE._of_fold(None)
    targets = np.arange(5)
    for count in (0, 1, 7, len(labelled.items)):
        counts = np.full(5, count)
        _, _, features = KNOWLEDGE.pair_inputs(
            np.array([3]), np.ones(1), np.zeros(5, int), targets, labelled, counts
        )
        items = labelled.items[:count]
        kernel = x[items] @ x[items].T + np.eye(count)
        deviation = labelled.labels[:count] - tables.quality[items]
        expected = x[targets] @ x[items].T @ np.linalg.solve(kernel, deviation)
        found = features[:, FEATURE_NAMES.index("taste")]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_neighbours_are_those_of_ease():
    rows = KNOWLEDGE.rows
    liked = np.zeros((rows.n_users, rows.n_items))
    liked[rows.user[rows.label > 0], rows.item[rows.label > 0]] = 1
    inverse = np.linalg.inv(liked.T @ liked + EASE_RIDGE * np.eye(rows.n_items))
    weights = -inverse / np.diag(inverse)
    history, targets = np.array([1, 4, 7]), np.array([2, 9])
    found = Neighbours(rows).between(history, targets)
    np.testing.assert_allclose(found, weights[np.ix_(history, targets)], atol=1e-8)


def test_a_stranger_is_known_by_likes_alone():
    features = KNOWLEDGE.pair_inputs(
        np.array([1, 2]), np.ones(2), np.array([0, 2]), np.array([5, 5])
    )[2]
    taste, near = (FEATURE_NAMES.index(n) for n in ("taste", "neighbours (EASE)"))
    np.testing.assert_array_equal(features[:, taste], 0)
    assert features[0, near] == 0 != features[1, near]


def test_the_score_orders_validation_rows_better_than_quality_alone():
    from sklearn.metrics import roc_auc_score

    features = row_features(DATA, KNOWLEDGE, HELD)
    score, quality = (roc_auc_score(DATA.liked[HELD], features[:, i]) for i in (0, 1))
    assert score > quality > 0.55
