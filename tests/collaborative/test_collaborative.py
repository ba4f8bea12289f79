"""Collaborative models: fold-in as lenskit does it, and nothing known of the future."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenskit.als import BiasedMFScorer, ImplicitMFScorer
from lenskit.data import ItemList

from ckf_demo.collaborative.base import WORDS, Description, Rows, train_scorer
from ckf_demo.collaborative.biased_mf import BiasedMF
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.collaborative.knowledge import FEATURE_NAMES, LEVEL_NAMES, CollaborativeKnowledge
from ckf_demo.data.splits import TRAIN
from support.tiny import tiny_data, tiny_knowledge

DATA, KNOWLEDGE = tiny_data(), tiny_knowledge()
# five items are in the catalogue only
ROWS = Rows(DATA.user, DATA.item, DATA.rating, DATA.n_items + 5)
RATING = {"size": 6, "regularization": 0.2, "damping": 5.0, "epochs": 4}
WATCHING = {"size": 6, "regularization": 5.0, "weight": 2.0, "epochs": 4}

ratings = st.integers(1, 5).map(float)
histories = st.lists(
    st.tuples(st.integers(0, DATA.n_items - 1), ratings), max_size=25, unique_by=lambda e: e[0]
)


def arrays(history) -> tuple[np.ndarray, np.ndarray]:
    items = np.array([item for item, _ in history], np.int64)
    return items, np.array([rating for _, rating in history], np.float32)


def features_of(items, stars, targets) -> np.ndarray:
    """Pair features of a whole history and each target: float32 (m, F)."""
    return KNOWLEDGE.pair_inputs(items, stars, np.full(len(targets), len(items)), targets)[2]


def embedded(items, stars, lengths) -> np.ndarray:
    """e_u after prefixes of a history: float32 (m, D)."""
    return KNOWLEDGE.pair_inputs(items, stars, lengths, np.zeros(len(lengths), np.int64))[0]


def lenskit_scorer(kind: type, options: dict):
    """Lenskit's own model, trained with the options of ours."""
    options = dict(options)
    scorer = kind(embedding_size=options.pop("size"), **options)
    train_scorer(scorer, ROWS, seed=3)
    return scorer


@pytest.fixture(scope="module")
def rating_model() -> BiasedMF:
    return BiasedMF.fit(ROWS, **RATING, seed=3)


@pytest.fixture(scope="module")
def implicit_model() -> ImplicitMF:
    return ImplicitMF.fit(ROWS, **WATCHING, seed=3)


def test_rating_fold_in_is_lenskits(rating_model):
    lenskit = lenskit_scorer(BiasedMFScorer, RATING)

    @settings(max_examples=40)
    @given(histories.filter(bool))
    def check(history):
        items, stars = arrays(history)
        expected, bias = lenskit.new_user_embedding(None, ItemList(items, rating=stars))
        vectors, biases = rating_model.fold_in_prefixes(items, stars, np.array([len(items)]))
        np.testing.assert_allclose(vectors[0], expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(biases[0], bias, rtol=1e-4, atol=1e-5)

    check()


def test_watching_fold_in_is_lenskits(implicit_model):
    lenskit = lenskit_scorer(ImplicitMFScorer, WATCHING)

    @settings(max_examples=40)
    @given(histories.filter(bool))
    def check(history):
        items, _ = arrays(history)
        expected, _ = lenskit.new_user_embedding(None, ItemList(items))
        np.testing.assert_allclose(implicit_model.fold_in(items), expected, rtol=1e-3, atol=1e-4)

    check()


def test_items_that_nobody_rated_have_no_bias_and_no_direction(rating_model, implicit_model):
    assert rating_model.items.shape == (DATA.n_items + 5, 6)
    assert not rating_model.item_bias[-5:].any()
    assert not rating_model.items[-5:].any()
    assert not implicit_model.items[-5:].any()
    assert rating_model.item_bias[:-5].any()
    assert rating_model.global_mean == pytest.approx(DATA.rating.mean(), rel=1e-5)


@settings(max_examples=60)
@given(histories, st.data())
def test_after_a_prefix_all_is_as_after_the_cut_history(history, data):
    items, stars = arrays(history)
    pairs = st.tuples(st.integers(0, len(items)), st.integers(0, DATA.n_items - 1))
    drawn = np.array(data.draw(st.lists(pairs, min_size=1, max_size=5)))
    users, _, features = KNOWLEDGE.pair_inputs(items, stars, *drawn.T)
    assert users.shape == (len(drawn), KNOWLEDGE.size)
    assert features.shape == (len(drawn), len(KNOWLEDGE.feature_names))
    assert users.dtype == features.dtype == np.float32
    assert np.isfinite(features).all()
    for user, row, (n, target) in zip(users, features, drawn, strict=True):
        cut = embedded(items[:n], stars[:n], np.array([n]))[0]
        np.testing.assert_allclose(user, cut, rtol=1e-4, atol=1e-5)
        alone = features_of(items[:n], stars[:n], np.array([target]))[0]
        np.testing.assert_allclose(row, alone, rtol=1e-3, atol=1e-4)


@settings(max_examples=60)
@given(histories.filter(bool), histories, st.data())
def test_what_comes_later_changes_nothing(history, future, data):
    items, stars = arrays(history)
    n = data.draw(st.integers(0, len(items)))
    later, later_stars = arrays(future)
    other = np.concatenate([items[:n], later])
    other_stars = np.concatenate([stars[:n], later_stars])
    lengths, targets = np.full(4, n), np.array([0, 1, 2, int(items[-1])])
    both = (items, stars, lengths), (other, other_stars, lengths)
    inputs = [KNOWLEDGE.pair_inputs(*history, targets) for history in both]
    users, _, features = zip(*inputs, strict=True)
    np.testing.assert_allclose(*features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*users, rtol=1e-4, atol=1e-5)


def test_a_fit_sees_its_own_part_of_the_data_alone():
    changed = dataclasses.replace(DATA, rating=np.where(DATA.fit, DATA.rating, 1).astype("float32"))
    other = CollaborativeKnowledge.fit(changed)
    np.testing.assert_array_equal(other.item_table, KNOWLEDGE.item_table)
    np.testing.assert_array_equal(other.item_count, KNOWLEDGE.item_count)
    assert KNOWLEDGE.item_count.sum() == DATA.fit.sum()


def predicted(features: np.ndarray) -> np.ndarray:
    """The rating that the biased matrix factorisation gives each pair, in stars."""
    parts = ("bias prediction", "rating factors")
    return features[:, [FEATURE_NAMES.index(name) for name in parts]].sum(1)


def test_nobody_is_an_average_person():
    no_items, no_stars = np.array([], np.int64), np.array([], np.float32)
    assert np.isfinite(embedded(no_items, no_stars, np.array([0]))).all()
    features = features_of(no_items, no_stars, np.arange(DATA.n_items))
    assert np.isfinite(features).all()
    assert not features[:, FEATURE_NAMES.index("user bias")].any()
    expected = KNOWLEDGE.global_mean + KNOWLEDGE.item_bias
    np.testing.assert_allclose(predicted(features), expected, rtol=1e-5)
    assert np.isfinite(KNOWLEDGE.candidate_scores(no_items, no_stars)).all()


def test_generous_people_are_predicted_more_stars():
    items = np.arange(12)
    rest, bias = np.arange(12, DATA.n_items), FEATURE_NAMES.index("user bias")
    generous, harsh = (features_of(items, np.full(12, stars), rest) for stars in (5.0, 1.0))
    assert generous[0, bias] > 0.5 > -0.5 > harsh[0, bias]
    assert (predicted(generous) > predicted(harsh)).all()


def test_fitting_is_repeatable_and_leaves_torch_its_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        one = BiasedMF.fit(ROWS, **RATING, seed=3)
        assert torch.get_num_threads() == 2
        other = BiasedMF.fit(ROWS, **RATING, seed=3)
        ImplicitMF.fit(ROWS, **WATCHING, seed=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one.items, other.items)


# What a person says of themselves

LIKED, LIKED_STARS = np.array([3, 8, 1, 40]), np.array([5, 2, 4, 5], np.float32)
EVERY = np.arange(DATA.n_items)


def described(profile: str = "", words: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Pair features of every item for four ratings, by name."""
    features = KNOWLEDGE.pair_inputs(
        LIKED, LIKED_STARS, np.full(len(EVERY), 4), EVERY, description=Description(profile, words)
    )[2]
    return dict(zip(KNOWLEDGE.feature_names, features.T, strict=True))


def test_features_of_words_are_the_words_and_zeros_without_any():
    words = np.random.default_rng(0).normal(size=(DATA.n_items, len(WORDS))).astype(np.float32)
    silent, spoken = described(), described(words=words)
    for place, name in enumerate(WORDS):
        assert not silent.pop(name).any()
        np.testing.assert_array_equal(spoken.pop(name), words[:, place])
    for name, feature in silent.items():
        np.testing.assert_array_equal(feature, spoken[name])


def test_a_profile_changes_what_groups_say_and_nothing_else():
    nobody, woman, man = described(), described("30, F"), described("30, M, writer")
    groups = {"group by genre", "group by item"}
    for name, feature in nobody.items():
        assert np.array_equal(feature, woman[name]) == (name not in groups), name
        assert np.array_equal(woman[name], man[name]) == (name not in groups), name
    assert not any(nobody[name].any() for name in groups)


# Tables for learning and for serving


@pytest.fixture(scope="module")
def serving() -> CollaborativeKnowledge:
    return KNOWLEDGE.for_serving(DATA)


def answers(knowledge: CollaborativeKnowledge) -> list[np.ndarray]:
    """Pair features after two histories, and candidate scores."""
    lengths = np.repeat([0, 4], len(EVERY))
    said = Description("30, F, writer")
    pairs = LIKED, LIKED_STARS, lengths, np.tile(EVERY, 2)
    features = knowledge.pair_inputs(*pairs, description=said)[2]
    return [features, knowledge.candidate_scores(LIKED, LIKED_STARS)]


def test_turning_into_another_basis_leaves_all_answers(serving):
    plain = CollaborativeKnowledge.fit(DATA, rows=DATA.rows(split=TRAIN))
    for expected, found in zip(answers(plain), answers(serving), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    # the factors themselves are others, and nearer to those that they were turned to
    for name in ("rating_model", "implicit_model"):
        before, after, basis = (getattr(k, name).items for k in (plain, serving, KNOWLEDGE))
        assert np.linalg.norm(after - basis) < np.linalg.norm(before - basis)


def test_tables_for_serving_have_seen_the_training_part_and_those_for_learning_have_not(serving):
    assert serving.item_count.sum() == (DATA.split == TRAIN).sum()
    assert serving.for_serving(DATA) is serving
    assert KNOWLEDGE.for_learning(DATA) is KNOWLEDGE
    learning = serving.for_learning(DATA)
    assert learning.item_count.sum() == DATA.fit.sum()
    for expected, found in zip(answers(KNOWLEDGE), answers(learning), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_tables_for_serving_know_nothing_of_later_parts(serving):
    later = DATA.split != TRAIN
    changed = dataclasses.replace(
        DATA, rating=np.where(later, 6 - DATA.rating, DATA.rating).astype(np.float32)
    )
    other = KNOWLEDGE.for_serving(changed)
    for name, tensor in serving.tensors().items():
        np.testing.assert_array_equal(other.tensors()[name], tensor, err_msg=name)


def test_tables_of_older_checkpoints_stay_without_levels(tmp_path):
    older = dataclasses.replace(KNOWLEDGE, levels_of=None)
    older.save(tmp_path / "tables.safetensors")
    loaded = CollaborativeKnowledge.load(tmp_path / "tables.safetensors", DATA)
    assert loaded.feature_names == FEATURE_NAMES
    for expected, found in zip(answers(older), answers(loaded), strict=True):
        np.testing.assert_array_equal(found, expected)
    # the first features are the same as with levels
    assert KNOWLEDGE.feature_names == FEATURE_NAMES + LEVEL_NAMES
    np.testing.assert_array_equal(answers(loaded)[0], answers(KNOWLEDGE)[0][:, :12])
    assert loaded.for_serving(DATA).feature_names == KNOWLEDGE.feature_names
