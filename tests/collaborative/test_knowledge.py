"""What all three kinds of collaborative knowledge must do."""

from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.collaborative.registry import knowledge_of
from ckf_demo.data.splits import TEST, VALID
from ckf_demo.runtime.errors import UserError
from support.synthetic import made_up_choices, made_up_likes
from support.tiny import tiny_data

DATA = {"ratings": tiny_data(), "likes": made_up_likes(), "positive-only": made_up_choices()}
KNOWLEDGE = {kind: knowledge_of(data).fit(data) for kind, data in DATA.items()}
every_kind = pytest.mark.parametrize("kind", DATA)
BESIDE_LABELS = [kind for kind, knowledge in KNOWLEDGE.items() if not knowledge.uses_labels]


@every_kind
def test_saved_knowledge_is_read_back_whole(kind, tmp_path):
    data, knowledge = DATA[kind], KNOWLEDGE[kind]
    knowledge.save(tmp_path / "tables.safetensors")
    loaded = type(knowledge).load(tmp_path / "tables.safetensors", data)
    assert loaded.n_items == data.n_items
    rows = np.r_[data.learning_rows(), data.rows(split=VALID)]
    # files hold single precision, likes are computed in double
    near = {"atol": 1e-5} if kind == "likes" else {"rtol": 0}
    history, targets = (np.array([3, 1, 4]), np.array([5.0, 2.0, 4.0])), np.arange(data.n_items)
    whole = np.full(len(targets), 3)
    for mine, theirs in (
        (knowledge.item_table, loaded.item_table),
        (row_features(data, knowledge, rows), row_features(data, loaded, rows)),
        *zip(*(k.pair_inputs(*history, whole, targets) for k in (knowledge, loaded)), strict=True),
    ):
        np.testing.assert_allclose(theirs, mine, **near)
    if kind in BESIDE_LABELS:
        scores, again = (k.candidate_scores(*history) for k in (knowledge, loaded))
        np.testing.assert_array_equal(again, scores)
    with pytest.raises(UserError, match="tables at .*elsewhere.safetensors; .* incomplete"):
        type(knowledge).load(tmp_path / "elsewhere.safetensors", data)


@pytest.mark.parametrize("kind", ["likes", "positive-only"])
def test_items_that_only_the_test_part_has_are_unseen_ones(kind, tmp_path):
    data, knowledge = DATA[kind], KNOWLEDGE[kind]
    knowledge.save(tmp_path / "tables.safetensors")
    row = data.rows(split=TEST)[0]
    more = replace(
        data,
        item=np.where(np.arange(len(data.item)) == row, data.n_items, data.item),
        item_ids=[*data.item_ids, "new"],
        titles=[*data.titles, "New"],
        years=np.append(data.years, np.int32(1990)),
        genres=[*data.genres, ()],
    )
    assert more.training_hash == data.training_hash
    loaded = type(knowledge).load(tmp_path / "tables.safetensors", more)
    assert loaded.n_items == data.n_items + 1
    assert np.isfinite(row_features(more, loaded, np.array([row]))).all()
    held_out = data.rows(split=VALID)
    before, after = row_features(data, knowledge, held_out), row_features(more, loaded, held_out)
    np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("kind", BESIDE_LABELS)
def test_choices_are_candidate_scores_after_each_prefix(kind):
    knowledge = KNOWLEDGE[kind]
    items, ratings = np.array([3, 5, 8]), np.array([5.0, 2.0, 4.0])
    targets = np.arange(knowledge.n_items)
    for length in (0, 2, 3):
        lengths = np.full(len(targets), length)
        expected = knowledge.candidate_scores(items[:length], ratings[:length])
        found = knowledge.choices(items, ratings, lengths, targets)
        np.testing.assert_array_equal(found, expected)
    mixed = knowledge.choices(items, ratings, np.array([3, 0]), np.array([1, 1]))
    assert mixed.tolist() == [
        knowledge.candidate_scores(items[:length], ratings[:length])[1] for length in (3, 0)
    ]


@every_kind
def test_an_empty_history_is_finite(kind):
    knowledge = KNOWLEDGE[kind]
    users, residuals, features = knowledge.pair_inputs(
        np.array([], np.int64), np.array([], np.float32), np.zeros(3, int), np.arange(3)
    )
    assert users.shape == (3, knowledge.size)
    assert features.shape == (3, len(knowledge.feature_names))
    assert len(residuals) == 0
    assert np.isfinite(users).all() and np.isfinite(features).all()
    assert kind != "likes" or not users.any()
