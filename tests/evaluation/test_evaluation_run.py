"""A whole evaluation over a made-up data set and a recommender without weights."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ckf_demo.baselines import BASELINES
from ckf_demo.collaborative.knowledge import FEATURE_NAMES, CollaborativeKnowledge
from ckf_demo.evaluation import ratings as by_ratings
from ckf_demo.evaluation import report, run
from ckf_demo.evaluation.base import Settings
from ckf_demo.evaluation.cached import CachedModel, checkpoint_hash, pieces
from ckf_demo.evaluation.explanation_quality import choose_rows
from ckf_demo.evaluation.stored_rows import read_rows
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.metrics.results import ResultRow, Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.facts import Film
from ckf_demo.tasks.explanations.wording import compose
from support.synthetic import made_up

DATA = made_up(n=1500)
FILMS = [
    Film(item, DATA.titles[place], int(DATA.years[place]) or None, tuple(DATA.genres[place]))
    for place, item in enumerate(DATA.item_ids)
]
KNOWLEDGE = CollaborativeKnowledge.fit(DATA)
PREDICTION = ("bias prediction", "rating factors")
"""The pair features whose sum is the rating of the biased matrix factorisation."""


class FakeRecommender:
    """Answers from the collaborative model, less well without tokens; notes what it is asked."""

    calls: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, folder: Path):
        text = folder.name.endswith("-text")
        few = text or folder.name.endswith("-single")
        self.tasks = ("rating", "ctr") if few else ("rating", "ctr", "ranking", "explanation")
        self.manifest = {"name": folder.name}
        self.methods = ("text",) if text else ("ckf", "no-tokens", "collaborative")
        self.noise = 1.0 if text else 0.1
        self.prepared = DATA
        self.system = SimpleNamespace(knowledge=KNOWLEDGE)

    @classmethod
    def load(cls, folder: Path, **options: object) -> "FakeRecommender":
        return cls(Path(folder))

    def score_rows(
        self, rows, k=None, tasks=("rating", "ctr"), method=None, progress=None, alone=True
    ):
        self.calls.append((method, len(rows)))
        cases = EvalInstances(DATA, rows, k)
        noise = self.noise + (method == "no-tokens")
        rating = np.empty(len(rows))
        for positions, items, ratings in cases.by_history():
            lengths = np.full(len(positions), len(items))
            *_, features = KNOWLEDGE.pair_inputs(items, ratings, lengths, cases.items[positions])
            # the biased matrix factorisation alone
            stars = features[:, [FEATURE_NAMES.index(name) for name in PREDICTION]].sum(1)
            rating[positions] = np.clip(stars, 1.0, 5.0)
        rng = np.random.default_rng(0)
        rating = np.clip(rating + noise * rng.normal(size=len(rows)), 1, 5)
        distribution = np.zeros((len(rows), 5))
        below = np.clip(np.floor(rating).astype(int), 1, 4)
        distribution[np.arange(len(rows)), below - 1] = 1 - (rating - below)
        distribution[np.arange(len(rows)), below] = rating - below
        answers = {"rating": distribution, "ctr": 1 / (1 + np.exp(-2 * (rating - 3.7)))}
        kept = {task: answers[task] for task in tasks}
        return kept | {f"{task} alone": answers[task] for task in tasks if method == "ckf"}

    def rank_users(self, users, at, k_candidates=100, method=None):
        self.calls.append((method, len(users)))
        return [np.arange(k_candidates) % DATA.n_items for _ in users]

    def liked_together(self, first, second):
        return False

    def explain(self, user, item, at, summaries):
        """True words, in pieces; one text in four names an unknown film, one a wrong genre."""
        row = next(
            r
            for r in DATA.history.rows_of(DATA.user_index[user])
            if DATA.item_ids[DATA.item[r]] == item and DATA.timestamp[r] == at
        )
        self.calls.append(("explain", 1))
        before = DATA.history.before(row)
        history = [(FILMS[DATA.item[r]], float(DATA.rating[r])) for r in before]
        rating = float(DATA.rating[row])
        film, rng = FILMS[DATA.item[row]], Random(int(row))
        made = compose(history, film, rating, self.liked_together, rng)
        text = made.text
        if row % 4 == 0:
            text += " Fans of Crimson Harbor like it."
        if row % 4 == 1:
            text += " It is a Western."
        yield {"text": text[:10]}
        evidence = [{"item": film.item, "title": film.title} for film in made.evidence]
        whole = {"text": text, "evidence": evidence, "polarity": made.polarity, "rating": rating}
        whole["causes"] = []
        yield {**whole, "draft": whole["text"], "sentences": [], "regenerated": 0, "dropped": 0}


FEW = {name: BASELINES[name] for name in ("bias folded in", "popularity", "gradient boosting")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Iterator[Path]:
    """A folder that stands for a checkpoint, with a text-only one beside it, and few baselines."""
    folder = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for module in (run, by_ratings):
            patch.setattr(module, "Recommender", FakeRecommender)
        patch.setattr(by_ratings, "BASELINES", FEW)
        for name in ("made-up", "made-up-text"):
            (folder / name).mkdir()
            (folder / name / "weights").write_bytes(name.encode())
        yield folder / "made-up"


@pytest.fixture(scope="module")
def small(checkpoint) -> dict:
    return run.evaluate(
        checkpoint,
        Settings(sample=60, explanations=30, resamples=50),
        json_path=checkpoint.parent / "out.json",
        predictions_path=checkpoint.parent / "out.parquet",
    )


def test_results_have_the_agreed_form(small, checkpoint):
    assert json.loads((checkpoint.parent / "out.json").read_text()) == small
    assert set(small) == {"dataset", "split", "checkpoint", "rows", "errors"}
    wrong = {task: [e for e in small["errors"] if e["task"] == task] for task in ("rating", "ctr")}
    for errors in wrong.values():
        sizes = [abs(e["score"] - e["label"]) for e in errors]
        assert sizes == sorted(sizes, reverse=True)
        assert len({e["user"] for e in errors}) == len(errors) > 5
    assert all(set(row) == set(ResultRow.__annotations__) for row in small["rows"])
    kinds = {row["method"]: row["kind"] for row in small["rows"]}
    assert [kinds[name] for name in ("ckf", "text-only", *FEW)] == [
        *("method", "component", "baseline", "baseline", "baseline")
    ]
    for answer in (" without tokens", "'s language model alone", "'s collaborative prior"):
        assert kinds[f"ckf{answer}"] == "answer"
    for row in small["rows"]:
        named = f"{row['first']} - {row['other']}"
        assert (row["method"] == named) == (row["kind"] == "difference")
    keys = [(r["method"], r["task"], r["metric"], r["group"]) for r in small["rows"]]
    assert len(keys) == len(set(keys))
    assert {"ckf's language model alone - text-only", "ckf - text-only"} <= kinds.keys()
    assert {"ckf - bias folded in", "ckf - gradient boosting"} <= kinds.keys()
    groups = {r["group"] for r in small["rows"] if r["method"] == "ckf"}
    assert {"all", "warm", "cold", "11+", "k=0", "k=1", "k=3", "k=10", "k=all"} <= groups


def test_metrics_can_be_recomputed_from_the_predictions(small, checkpoint):
    frame = pd.read_parquet(checkpoint.parent / "out.parquet")
    assert list(frame.columns[:5]) == ["user", "item", "label", "method", "score"]
    rows = DATA.rows(split=2)
    values = {(r["method"], r["metric"]): r["value"] for r in small["rows"] if r["group"] == "all"}
    for (method, task), part in frame.groupby(["method", "task"]):
        assert part["user"].tolist() == [DATA.user_ids[u] for u in DATA.user[rows]]
        assert part["item"].tolist() == [DATA.item_ids[v] for v in DATA.item[rows]]
        name, metric = ("rmse", metrics.rmse) if task == "rating" else ("auc", metrics.auc)
        assert metric(part["label"].to_numpy(), part["score"].to_numpy()) == pytest.approx(
            values[method, name], abs=1e-4
        )


def test_predictions_are_empty_where_only_explanations_are_measured(checkpoint, tmp_path):
    settings = Settings(explanations=3, resamples=5, tasks=["explanation"])
    results = run.evaluate(checkpoint, settings, predictions_path=tmp_path / "out.parquet")
    assert {row["task"] for row in results["rows"]} == {"explanation"} and not results["errors"]
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame.empty and list(frame) == ["user", "item", "label", "method", "score", "task"]


def test_cut_histories_are_measured_on_the_same_rows_for_every_method(small):
    levels = [r for r in small["rows"] if r["metric"] == "rmse" and r["kind"] != "difference"]
    assert len({r["n"] for r in levels if r["group"].startswith("k=")}) == 1


def test_a_second_run_asks_the_model_nothing(small, checkpoint):
    FakeRecommender.calls.clear()
    again = run.evaluate(checkpoint, Settings(sample=60, explanations=30, resamples=50))
    assert FakeRecommender.calls == []
    assert again == small


def test_only_what_decides_answers_is_in_the_hash(tmp_path):
    (tmp_path / "weights").write_bytes(b"good")
    before = checkpoint_hash(tmp_path)
    (tmp_path / "MODEL_CARD.md").write_text("results")
    assert checkpoint_hash(tmp_path) == before
    (tmp_path / "weights").write_bytes(b"better")
    assert checkpoint_hash(tmp_path) != before


def test_a_folder_without_a_checkpoint_has_no_hash(tmp_path):
    (tmp_path / "MODEL_CARD.md").write_text("results")
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="holds no files"):
            checkpoint_hash(folder)


def test_an_interrupted_evaluation_keeps_what_it_has(checkpoint, monkeypatch):
    monkeypatch.setattr("ckf_demo.evaluation.cached.ROWS_AT_ONCE", 20)
    cases = EvalInstances(DATA, DATA.rows(split=2))
    model = CachedModel(FakeRecommender(checkpoint), checkpoint)
    FakeRecommender.calls.clear()
    answer = FakeRecommender.score_rows

    def interrupted(self, rows, **options):
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return answer(self, rows, **options)

    monkeypatch.setattr(FakeRecommender, "score_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.scores(cases, ("rating",), "ckf")
    monkeypatch.setattr(FakeRecommender, "score_rows", answer)
    FakeRecommender.calls.clear()
    rating, ctr = model.scores(cases, ("rating",), "ckf")
    assert ctr is None and np.isfinite(rating).all()
    assert len(FakeRecommender.calls) == len(list(pieces(cases.users, 20))) - 2


def test_explanations_are_checked_against_the_data(small):
    found = {(r["metric"], r["group"]): r for r in small["rows"] if r["task"] == "explanation"}
    rows = choose_rows(EvalInstances(DATA, DATA.rows(split=2)), 30, seed=0)
    for metric, remainder in (("named_in_history", 0), ("true_ties", 1)):
        true = np.mean(rows % 4 != remainder)
        assert 0 < true < 1
        assert found[metric, "all"]["value"] == pytest.approx(true, abs=1e-6)
    classes = [found["polarity_agreement", g] for g in ("positive", "mixed", "negative")]
    assert sum(r["n"] for r in classes) == found["polarity_agreement", "all"]["n"] == len(rows)
    assert 0 < found["distinct_1", "all"]["value"] < found["distinct_2", "all"]["value"] < 1


def test_explained_rows_are_of_all_ratings_and_have_a_history():
    cases = EvalInstances(DATA, DATA.rows(split=2))
    rows = choose_rows(cases, 30, seed=0)
    assert len(rows) == len(set(rows.tolist())) == 30
    assert (DATA.history.lengths[rows] > 0).all()
    assert (DATA.rating[rows] <= 2).sum() == (DATA.rating[rows] >= 4).sum() == 10
    assert (np.diff(DATA.user[rows]) >= 0).all()


def test_text_only_and_single_task_checkpoints_can_be_measured_too(checkpoint):
    text = checkpoint.with_name("made-up-text")
    single, other = (checkpoint.with_name(f"made-up-{name}") for name in ("single", "collm-text"))
    for folder in (single, other):
        shutil.copytree(text, folder, dirs_exist_ok=True)
    settings = Settings(limit=40, sample=20, explanations=3, resamples=20)
    found = run.evaluate(checkpoint, replace(settings, single_task=[single, other]))
    assert {"ckf - CKF-S rating+ctr", "ckf - collm-text"} <= {r["method"] for r in found["rows"]}
    alone = run.evaluate(text, settings)
    assert "text-only - bias folded in" in {r["method"] for r in alone["rows"]}


def test_limit_measures_fewer_rows(checkpoint):
    found = run.evaluate(checkpoint, Settings(limit=40, sample=20, explanations=0, resamples=20))
    (size,) = {r["n"] for r in found["rows"] if r["metric"] == "rmse" and r["group"] == "all"}
    assert size < len(DATA.rows(split=2))


def test_unknown_split_is_one_clear_message():
    with pytest.raises(UserError, match="valid, test"):
        Settings(split="training")


def test_report_prints_and_writes_what_the_results_say(small, tmp_path):
    console = Console(record=True, width=250, file=StringIO())
    report.show(small, console)
    text = console.export_text()
    assert "gradient boosting" in text and "ckf - text-only" in text
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.START}\nstale\n{report.END}\nafter\n")
    report.write_between_markers(readme, report.markdown(small))
    written = readme.read_text()
    assert written.startswith(f"before\n{report.START}\n**Results on made-up, test part**")
    assert written.endswith(f"{report.END}\nafter\n") and "stale" not in written
    with pytest.raises(UserError, match="results:start"):
        report.write_between_markers(tmp_path / "none.md", "text")


def test_undefined_values_are_null():
    results = Results(np.ones((3, 2), np.float32))
    results.add(("m", "ctr", "auc", "all"), float("nan"), 4, np.full(3, np.nan))
    assert results.rows[0]["value"] is None
    found = {"dataset": "d", "split": "test", "rows": results.rows}
    assert "–" in report.markdown(found)


def test_rows_of_older_results_are_read_with_their_kinds(small):
    since = {"kind", "first", "other"}
    older = [{key: row[key] for key in row.keys() - since} for row in small["rows"]]
    assert read_rows(small["rows"]) == read_rows(older) == small["rows"]
    names = ["a blend of all", "ckf's language model alone + biased MF", "ckf, seed-1", "no-bridge"]
    common = {"task": "ctr", "metric": "auc", "group": "all", "value": 0.5, "n": 9}
    rows = [{"method": name, **common} for name in ("ckf", *names)]
    rows += [{"method": f"ckf - {name}", **common} for name in names]
    kinds = [row["kind"] for row in read_rows(rows)]
    assert kinds == ["method", "blend", "blend", "seed", "component", *["difference"] * 4]
