"""What every baseline must do, and the numbers that some of them must give."""

from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.baselines import BASELINES, ctrl, morec
from ckf_demo.baselines.base import TrainingData
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import AdHocInstances, EvalInstances
from support.synthetic import made_up, unit_vectors

SUITABLE = {name: kind for name, kind in BASELINES.items() if "ratings" in kind.feedback}
SCORERS = [name for name, kind in SUITABLE.items() if {"rating", "ctr"} & set(kind.tasks)]
SCORING = pytest.mark.parametrize("name", SCORERS)
RANKERS = [name for name, kind in SUITABLE.items() if "ranking" in kind.tasks]
RANKING = pytest.mark.parametrize("name", RANKERS)


NEXT = [name for name in BASELINES if name.endswith("(next item)")]


QUICK = {
    "base.item_text_vectors": unit_vectors,
    "ctrl.ALIGNING_EPOCHS": 1,
    "ctrl.SETTINGS": ctrl.SETTINGS[:1],
    "implicit_als.SIZES": (4,),
    "label_training.MOST_EPOCHS": 2,
    "lightgcn.MOST_EPOCHS": 10,
    "morec.SETTINGS": morec.SETTINGS[:1],
    "ncf.EPOCHS": (2,),
    "next_items.EPOCHS": (2,),
    "next_items.SIZE": 8,
    "recformer.EPOCHS": (1,),
    "recformer.TARGETS": 128,
}


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setattr(f"ckf_demo.baselines.{name}", value)
        yield


@pytest.fixture(scope="module")
def material() -> TrainingData:
    data = made_up()
    return TrainingData(data, CollaborativeKnowledge.fit(data))


@pytest.fixture(scope="module")
def fitted(material):
    baselines = {}
    for name, kind in SUITABLE.items():
        baselines[name] = kind()
        baselines[name].fit(material)
    return baselines


@pytest.mark.parametrize("name", BASELINES)
def test_says_what_it_is(name):
    kind = BASELINES[name]
    assert kind.name == name
    assert kind.summary.endswith(".")
    assert set(kind.tasks) <= {"rating", "ctr", "ranking"}
    assert "ctr" in kind.tasks or "likes" not in kind.feedback
    assert kind.needs


@SCORING
@pytest.mark.parametrize("k", [0, 3, None])
def test_answers_every_target_whatever_the_history(name, k, fitted, material):
    cases = EvalInstances(material.prepared, material.prepared.rows(split=2), k)
    tasks = BASELINES[name].tasks
    scores = fitted[name].score(cases)
    for task, values in (("rating", scores.rating), ("ctr", scores.ctr)):
        assert (values is not None) == (task in tasks)
        if values is not None:
            assert values.shape == (len(cases),)
            assert np.isfinite(values).all()
    if scores.rating is not None:
        assert 1 <= scores.rating.min() <= scores.rating.max() <= 5
    if BASELINES[name].gives_probabilities:
        assert 0 <= scores.ctr.min() <= scores.ctr.max() <= 1


@SCORING
@pytest.mark.parametrize("k", [0, 3, None])
def test_somebody_gets_the_answer_of_a_person_with_the_same_history(
    name, k, fitted, material, monkeypatch
):
    data = material.prepared
    cases = EvalInstances(data, data.rows(split=2), k)
    # who is known by training rows may be known there by more than a history
    tables = fitted["LightGCN"].kept["ctr"]
    monkeypatch.setattr(tables, "knows_user", np.zeros_like(tables.knows_user))
    expected = fitted[name].score(cases)
    for positions, items, ratings in cases.by_history():
        for user in np.unique(cases.users[positions]):
            of_user = positions[cases.users[positions] == user]
            person = (data, items, ratings, cases.items[of_user], data.profile(int(user)))
            found = fitted[name].score(AdHocInstances(*person))
            for whole, own in ((expected.rating, found.rating), (expected.ctr, found.ctr)):
                if whole is not None:
                    np.testing.assert_allclose(own, whole[of_user], rtol=1e-4, atol=1e-5)


@RANKING
def test_ranks_the_catalogue_whatever_the_history(name, fitted, material):
    query = ranking_queries(material.prepared, 2)[0]
    for n in (0, 1, len(query.items)):
        scores = fitted[name].rank(query.items[:n], query.ratings[:n])
        assert scores.shape == (material.prepared.n_items,)
        assert np.isfinite(scores).any()


@SCORING
def test_knows_nothing_of_the_test_part(name, fitted, material):
    """Other test ratings change no answer about targets whose histories they are not in."""
    data = material.prepared
    changed = np.where(data.split == 2, 6 - data.rating, data.rating).astype(np.float32)
    other = TrainingData(replace(data, rating=changed), material.knowledge)
    again = BASELINES[name]()
    again.fit(other)
    rows = data.rows(split=1)
    before = fitted[name].score(EvalInstances(data, rows))
    after = again.score(EvalInstances(other.prepared, rows))
    for first, second in ((before.rating, after.rating), (before.ctr, after.ctr)):
        if first is not None:
            assert first == pytest.approx(second, abs=1e-5)


def test_personal_baselines_beat_everybodys_mean(fitted, material):
    cases = EvalInstances(material.prepared, material.prepared.rows(split=2))
    floor = metrics.rmse(cases.ratings, fitted["everybody's mean"].score(cases).rating)
    personal = "bias folded in", "biased MF", "item k-NN", "ridge / logistic", "gradient boosting"
    for name in personal:
        assert metrics.rmse(cases.ratings, fitted[name].score(cases).rating) < floor

    # without a history the folded bias is the item mean
    cases = EvalInstances(material.prepared, material.prepared.rows(split=2), 0)
    alone = fitted["item mean"].score(cases).ctr
    assert fitted["bias folded in"].score(cases).ctr == pytest.approx(alone)


def test_features_by_user_equal_features_by_history(material):
    cases = EvalInstances(material.prepared, material.prepared.rows(split=1))
    assert material.features(cases) == pytest.approx(material._by_history(cases), abs=1e-4)


def test_tables_without_levels_have_fewer_features_to_learn_from(material):
    older = TrainingData(material.prepared, replace(material.knowledge, levels_of=None))
    (rows, features), (same, fewer) = material.examples, older.examples
    assert (features.shape[1], fewer.shape[1]) == (24, 12)
    np.testing.assert_array_equal(rows, same)
    np.testing.assert_array_equal(features[:, :12], fewer)


def test_biased_mf_folds_in_as_the_collaborative_model_does(fitted, material):
    model, data = fitted["biased MF"].model, material.prepared
    own = data.history.rows_of(3)
    items, ratings = data.item[own], data.rating[own]
    vectors, biases = model.fold_in_prefixes(items, ratings, np.array([0, 1, len(own)]))
    for n, vector, bias in zip((0, 1, len(own)), vectors, biases, strict=True):
        expected = model.global_mean + model.item_bias + bias + model.items @ vector
        assert fitted["biased MF"].rank(items[:n], ratings[:n]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", NEXT)
def test_next_items_follow_from_the_likes_of_the_history_in_their_order(name, fitted, material):
    model, data = fitted[name], material.prepared
    own = data.history.rows_of(3)
    items, ratings = data.item[own], data.rating[own]
    liked = data.liked[own]
    scores = model.rank(items, ratings)
    assert scores == pytest.approx(model.rank(items[liked], ratings[liked]), nan_ok=True)
    backwards = model.rank(items[liked][::-1], ratings[liked][::-1])
    assert np.nanmax(np.abs(scores - backwards)) > 1e-4
    known = np.bincount(material.likes.item, minlength=data.n_items) > 0
    assert np.array_equal(np.isfinite(scores), known)


@pytest.mark.real
def test_folded_bias_gives_its_known_numbers_on_movielens():
    from ckf_demo.data.prepare import prepare
    from ckf_demo.data.prepared import Prepared
    from ckf_demo.runtime.paths import prepared_path

    prepare("ml-100k", None)
    data = Prepared.load(prepared_path("ml-100k"))
    baseline = BASELINES["bias folded in"]()
    baseline.fit(TrainingData(data, CollaborativeKnowledge.fit(data)))
    cases = EvalInstances(data, data.rows(split=2))
    scores = baseline.score(cases)
    assert [
        metrics.rmse(cases.ratings, scores.rating),
        metrics.mae(cases.ratings, scores.rating),
        metrics.auc(cases.labels, scores.ctr),
        metrics.uauc(cases.users, cases.labels, scores.ctr),
    ] == pytest.approx([0.9897, 0.7921, 0.7516, 0.7070], abs=5e-4)
