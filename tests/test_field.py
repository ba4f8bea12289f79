"""The whole field under one table: baselines measured anew, language models from their results."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import made_up

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.errors import UserError
from ckf_demo.evaluation import field, metrics, report
from ckf_demo.evaluation.baselines.sequences import Setting
from ckf_demo.evaluation.protocol import Cases
from ckf_demo.queries import ranking_queries

DATA = made_up(n=1500)
KNOWLEDGE = CollaborativeKnowledge.fit(DATA)
FEW = ("item mean", "popularity", "recent popularity", "gradient boosting")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(field, "Prepared", SimpleNamespace(load=lambda path: DATA))
    tables = SimpleNamespace(load=lambda path, prepared: KNOWLEDGE)
    monkeypatch.setattr(field, "KNOWLEDGE", {"ratings": tables})
    monkeypatch.setattr(field, "checkpoint_named", lambda dataset: tmp_path)
    return tmp_path


def row(method="ckf", n=None, **other) -> dict:
    n = len(DATA.rows(split=1)) if n is None else n
    known = {"method": method, "task": "ctr", "metric": "auc", "group": "all", "n": n}
    return known | {"value": 0.99, "low": 0.9, "high": 1.0} | other


def stored(place, *rows, dataset="made-up", split="valid"):
    path = place / "results.json"
    path.write_text(json.dumps({"dataset": dataset, "split": split, "rows": list(rows)}))
    return path


def test_all_that_suits_is_measured_on_all_rows(place):
    path = place / "field.json"
    found = field.measure("made-up", "valid", json_path=path, names=FEW, resamples=20)
    assert json.loads(path.read_text()) == found
    assert set(found["fitted"]) == set(FEW)
    cases = Cases(DATA, DATA.rows(split=1))
    values = {(r["method"], r["metric"]): r for r in found["rows"] if r["group"] == "all"}
    means = values["item mean", "auc"]
    assert means["n"] == len(cases)
    baseline = field.BASELINES["item mean"]()
    baseline.fit(field.Material(DATA, KNOWLEDGE))
    expected = metrics.auc(cases.labels, baseline.score(cases).ctr)
    assert means["value"] == pytest.approx(expected, abs=1e-6)
    assert values["popularity", "ndcg@10"]["n"] == len(ranking_queries(DATA, 1))
    difference = values["item mean - gradient boosting", "auc"]["value"]
    assert difference == pytest.approx(
        means["value"] - values["gradient boosting", "auc"]["value"], abs=2e-6
    )


def test_language_models_stand_first_with_their_stored_values(place):
    """Differences and baselines of the stored results are left out: they are measured here."""
    others = row("item mean"), row("ckf - item mean"), row("ckf", group="k=3"), row("text")
    path = stored(place, row(), *others)
    found = field.measure("made-up", "valid", [path, path], names=FEW, resamples=20)
    assert [r["method"] for r in found["rows"][:3]] == ["ckf", "text", "item mean"]
    assert found["rows"][0]["value"] == 0.99
    (title, headings, rows), (_, _, against), (fitting, _, settings) = report.tables(found)
    assert title == "The field on made-up, valid part" and "AUC" in headings
    assert [r[0] for r in rows[:2]] == ["ckf", "text"] and rows[0][2].startswith("0.990")
    assert len(rows) == 2 + len(FEW) and len(against) == 2
    assert "in all" in fitting and len(settings) == len(FEW)
    aucs = [r[2] for r in rows[2:] if r[2] != "–"]
    assert aucs == sorted(aucs, reverse=True)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda place: stored(place, row(n=3)), "has 3 rows of ckf for ctr auc all"),
        (lambda place: stored(place, row(), split="test"), "is of the test part"),
        (lambda place: stored(place, row(), dataset="other"), "part of other"),
        (lambda place: place / "nowhere.json", "holds no results"),
    ],
)
def test_results_of_something_else_are_refused(place, write, said):
    with pytest.raises(UserError, match=said):
        field.measure("made-up", "valid", [write(place)], names=FEW[:1], resamples=20)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (None, ""),
        (10000.0, "10000"),
        ((32, 0.2), "32, 0.2"),
        (((16, 134), (32, 93)), "(16, 134), (32, 93)"),
        (
            (Setting(0.001, 0.01, 0.5), 6),
            "(learning_rate 0.001, weight_decay 0.01, dropout 0.5), 6",
        ),
        ({"ctr": ("labels", 2), "ranking": 0.8}, "ctr: labels, 2; ranking: 0.8"),
    ],
)
def test_settings_are_said_in_words(setting, text):
    assert field.said(setting) == text


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
