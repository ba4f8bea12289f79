"""The whole field under one table, from stored answers: baselines, language models, blends."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import Mock

import numpy as np
import pytest

from ckf_demo.baselines.label_training import Setting
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.splits import choosing_half
from ckf_demo.lab import blends, report
from ckf_demo.lab import leaderboard as field
from ckf_demo.lab.answers import Answers
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.runtime.errors import UserError
from support.commands import load_instead, written
from support.synthetic import made_up

DATA = made_up(n=1500)
KNOWLEDGE = CollaborativeKnowledge.fit(DATA)
FEW = ("item mean", "popularity", "recent popularity", "gradient boosting")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(field, "Prepared", SimpleNamespace(load=lambda path: DATA))
    tables = SimpleNamespace(load=lambda path, prepared: KNOWLEDGE)
    monkeypatch.setattr(field, "knowledge_of", lambda prepared: tables)
    monkeypatch.setattr(field, "checkpoint_named", lambda dataset: tmp_path)
    return tmp_path


def measured(*names, **other) -> dict:
    return field.measure("made-up", "valid", names=names or FEW, resamples=20, **other)


class FakeModel:
    """A checkpoint that pools: its answers follow from the rows, and who is asked is counted."""

    asked: ClassVar[list[str]] = []

    def __init__(self, recommender, folder, advance):
        self.advance = advance

    def scores(self, cases, tasks, method, *, alone=False):
        self.asked.append(f"{method}{' alone' if alone else ''}")
        noise = np.random.default_rng(len(method) + alone).random(len(cases))
        click = np.clip(0.3 * cases.labels + 0.7 * noise, 0.01, 0.99)
        return 1 + 4 * click, click

    def rankings(self, queries, method, candidates):
        return [np.arange(5) for _ in queries]


@pytest.fixture
def checkpoint(place, monkeypatch) -> Path:
    """A folder that answers as `FakeModel` does."""
    folder = place / "made-up"
    folder.mkdir()
    (folder / "weights").write_text("1")
    FakeModel.asked.clear()
    recommender = SimpleNamespace(
        prepared=DATA,
        manifest={"name": "made-up"},
        methods=("ckf", "no-tokens", "collaborative"),
        tasks=("rating", "ctr", "ranking"),
    )
    load_instead(monkeypatch, field, recommender, FakeModel)
    return folder


@pytest.fixture
def path(place) -> Path:
    return place / "answers.safetensors"


def test_all_that_suits_is_measured_on_all_rows(place):
    found = written(measured, place / "field.json")
    assert set(found["fitted"]) == set(FEW)
    cases = EvalInstances(DATA, DATA.rows(split=1))
    values = {(r["method"], r["metric"]): r for r in found["rows"] if r["group"] == "all"}
    means = values["item mean", "auc"]
    assert means["n"] == len(cases)
    baseline = field.BASELINES["item mean"]()
    baseline.fit(field.TrainingData(DATA, KNOWLEDGE))
    expected = metrics.auc(cases.labels, baseline.score(cases).ctr)
    assert means["value"] == pytest.approx(expected, abs=1e-6)
    assert values["popularity", "ndcg@10"]["n"] == len(ranking_queries(DATA, 1))
    difference = values["item mean - gradient boosting", "auc"]["value"]
    assert difference == pytest.approx(
        means["value"] - values["gradient boosting", "auc"]["value"], abs=2e-6
    )


def test_the_table_is_rebuilt_from_stored_answers_alone(path, checkpoint, monkeypatch):
    found = measured(checkpoints=[checkpoint], answers_path=path)
    assert FakeModel.asked == ["ckf", "ckf alone", "collaborative"]
    broken = Mock(feedback=("ratings",), tasks=("ctr",), side_effect=AssertionError("asked again"))
    monkeypatch.setattr(field, "BASELINES", dict.fromkeys(field.BASELINES, broken))
    monkeypatch.setattr(field, "Recommender", None)
    assert measured(answers_path=path) == found
    assert measured(checkpoints=[checkpoint], answers_path=path) == found
    assert str(DATA.user_ids[0]) not in Answers.load(path).notes


def test_another_seed_stands_beside_the_first_and_is_blended_with_it(path, checkpoint):
    measured(checkpoints=[checkpoint], answers_path=path)
    (checkpoint / "weights").write_text("2")
    field.Recommender.load(None, None).manifest["name"] = "made-up-seed-1"
    found = measured(checkpoints=[checkpoint], answers_path=path)
    names = [row["method"] for row in found["rows"]]
    assert "ckf" in names and "ckf, seed-1" in names
    assert "ckf, seed-1 - ckf's collaborative prior, seed-1" in names
    both = blends.SEEDS.format(2)
    assert f"{both} - ckf's collaborative prior" in names
    assert not any(", seed-" in name for name in blends.members(Answers.load(path))[blends.ALL])


def test_a_checkpoint_that_was_trained_anew_is_asked_again(path, checkpoint):
    measured(checkpoints=[checkpoint], answers_path=path)
    (checkpoint / "weights").write_text("2")
    measured(checkpoints=[checkpoint], answers_path=path)
    assert FakeModel.asked == ["ckf", "ckf alone", "collaborative"] * 2
    assert Answers.load(path).methods.count("ckf") == 1


def test_language_models_stand_first_and_blends_last(place, checkpoint):
    found = measured(checkpoints=[checkpoint])
    (title, headings, rows), (_, _, against), (fitting, _, settings) = report.tables(found)
    assert title == "The field on made-up, valid part" and "AUC, accepting half" in headings
    names = [row[0] for row in rows]
    models = {"ckf", "ckf's language model alone", "ckf's collaborative prior"}
    assert set(names[:3]) == models
    mixed = "ckf's language model alone + ckf's collaborative prior"
    assert set(names[3:5]) == {mixed, blends.ALL}
    assert len(rows) == 5 + len(FEW)
    assert any(row[0].startswith(f"{blends.ALL} - ") for row in against)
    assert {"ckf - popularity", "ckf - item mean", f"ckf - {blends.ALL}"} <= {r[0] for r in against}
    assert "in all" in fitting and len(settings) == len(FEW)


def test_blends_are_measured_on_people_whom_nothing_was_fitted_on(place, checkpoint):
    found = measured(checkpoints=[checkpoint])
    rows = [r for r in found["rows"] if r["method"] == blends.ALL and r["metric"] == "auc"]
    assert [r["group"] for r in rows] == ["accept"]
    cases = EvalInstances(DATA, DATA.rows(split=1))
    accept = ~choosing_half(DATA.user_ids)[cases.users]
    assert rows[0]["n"] == accept.sum()


def test_a_blend_depends_on_the_labels_of_the_fitting_half_alone():
    cases = EvalInstances(DATA, DATA.rows(split=1))
    answers = Answers("made-up", "valid", "")
    rng = np.random.default_rng(0)
    for name in "abc":
        answers.add(name, {}, rng.random(len(cases)) * 4 + 1, rng.random(len(cases)))
    fit = choosing_half(DATA.user_ids)[cases.users]
    other = np.where(fit, cases.labels, ~cases.labels)
    for members in ("ab", "abc"):
        one = blends.blend_clicks(answers, members, cases.labels, cases.users, fit)
        np.testing.assert_array_equal(
            one, blends.blend_clicks(answers, members, other, cases.users, fit)
        )
        stars = blends.blend_ratings(answers, members, cases.ratings, fit)
        assert stars.shape == one.shape == (len(cases),)


def test_a_blend_of_two_is_better_than_each_where_both_know_something():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4000))
    labels = one + other + rng.normal(size=4000) > 0
    answers = Answers("made-up", "valid", "")
    answers.add("a", {}, click=1 / (1 + np.exp(-one)))
    answers.add("b", {}, click=other)
    fit = np.arange(4000) < 2000
    mixed = blends.blend_clicks(answers, "ab", labels, np.arange(4000), fit)
    aucs = [metrics.auc(labels[~fit], x[~fit]) for x in (mixed, one, other)]
    assert aucs[0] > max(aucs[1:]) + 0.03


def test_answers_come_back_as_they_were_kept(tmp_path):
    answers = Answers("made-up", "valid", "hash")
    answers.add("a b's", {"seconds": 1.0}, np.ones(3), None, [np.array([3, 1]), np.array([2])])
    answers.add("other", {"checkpoint": "x"}, click=np.arange(3))
    answers.save(tmp_path / "a.safetensors")
    again = Answers.load(tmp_path / "a.safetensors")
    assert again.methods == ["a b's", "other"]
    assert [own.tolist() for own in again.ranked("a b's")] == [[3, 1], [2]]
    assert again.clicks["other"].dtype == np.float32
    assert again.notes == answers.notes


STORED = {"dataset": "made-up", "split": "valid", "data": DATA.training_hash}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "test"}, "is of the test part"),
        ({"dataset": "other"}, "part of other"),
        ({"data": "other"}, "is about other interactions"),
        (None, "holds no answers"),
    ],
)
def test_answers_about_something_else_are_refused(path, changes, said):
    if changes is None:
        path.write_text("nothing")
    else:
        Answers(*(STORED | changes).values()).save(path)
    with pytest.raises(UserError, match=said):
        measured(*FEW[:1], answers_path=path)


def test_a_checkpoint_for_other_data_is_refused(place, checkpoint, monkeypatch):
    other = SimpleNamespace(prepared=SimpleNamespace(dataset="films"))
    load_instead(monkeypatch, field, other)
    with pytest.raises(UserError, match="was trained on films, and not on made-up"):
        measured(*FEW[:1], checkpoints=[checkpoint])


TRAINED = Setting(0.001, 0.01, 0.5)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (None, ""),
        (10000.0, "10000"),
        ((32, 0.2), "32, 0.2"),
        (((16, 134), (32, 93)), "(16, 134), (32, 93)"),
        ((TRAINED, 6), "(learning_rate 0.001, weight_decay 0.01, dropout 0.5), 6"),
        ({"ctr": ("labels", 2), "ranking": 0.8}, "ctr: labels, 2; ranking: 0.8"),
    ],
)
def test_settings_are_said_in_words(setting, text):
    assert field.in_words(setting) == text


def test_what_is_unknown_is_said():
    with pytest.raises(UserError, match="Unknown split 'training'"):
        field.measure("made-up", "training")
    with pytest.raises(
        UserError, match="Unknown baseline 'magic'; choose among everybody's mean, item mean,"
    ):
        field.measure("made-up", "valid", names=["magic"])


def test_orders_need_be_no_probabilities():
    results = field.Results(np.ones((3, 2)))
    users, labels = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    results.add_order("x", "all", users, labels, np.array([-3.0, 7.0, 2.0, 1.0]))
    assert {r["metric"]: r["value"] for r in results.rows} == {"auc": 0.75, "uauc": 0.5}
