"""Ratings read as likes: a checkpoint for CTR alone is trained, calibrated, evaluated and asked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ckf_demo.baselines import BASELINES
from ckf_demo.config import RunConfig
from ckf_demo.data.splits import VALID
from ckf_demo.data.store import write_store
from ckf_demo.evaluation import ratings as evaluation
from ckf_demo.evaluation.base import Settings
from ckf_demo.evaluation.run import checkpoint_for, evaluate
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import store_path
from ckf_demo.tasks.cloze import CLOZES
from ckf_demo.tasks.registry import TASKS
from ckf_demo.training.loop import Run, train
from ckf_demo.training.losses import sequence_losses
from ckf_demo.training.sequences import validation_sequences
from support.paths import CONFIGS
from support.synthetic import made_up_likes
from support.tiny import tiny_config, tiny_data, write_config
from support.training import make_workplace

DATA = made_up_likes()
SIBLINGS = ("allmrec", "collm", "cora", "prompt4nr")


def for_clicks(place: Path, **options) -> RunConfig:
    return tiny_config(
        place / "backbone",
        fusion={"hidden": 8, "prior": "score"},
        prompt={"window": 12, "block": 4, "question_first": ["ctr", "ranking"]},
        train={"tasks": ["ctr"], **options},
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """An own cache with likes, a tiny backbone, and a checkpoint trained for CTR."""
    place = tmp_path_factory.mktemp("likes")
    with pytest.MonkeyPatch.context() as patch:
        make_workplace(place, patch, DATA)
        write_store(DATA, store_path("made-up"))
        train(write_config(place, for_clicks(place, pool_on_validation=True, validate_every=4)))
        yield place


@pytest.fixture
def system(workplace) -> System:
    return System.load(workplace / "checkpoints" / "tiny", DATA, quantization="bf16")


def test_a_checkpoint_says_what_it_can(workplace):
    manifest = read_manifest(workplace / "checkpoints" / "tiny")
    assert manifest["tasks"] == ["ctr"]
    stage = manifest["stages"]["calibration"]
    assert 0 <= stage["weight"] <= 1
    assert stage["rows"] == len(DATA.choosing_rows())
    recommender = Recommender.load("checkpoints/tiny", quantization="bf16")
    assert recommender.tasks == ("ctr",)
    with pytest.raises(UserError, match="not trained for rating; it knows ctr"):
        recommender.rate(user="1", item="1")


def test_prompts_show_likes_without_stars(system):
    prefix = system.writer.prefix([0, 1], [1.0, 1.0])
    text = system.writer.tokenizer.decode(prefix.ids)
    assert text == "Films one viewer liked, oldest first.\nFilm 1\nFilm 2\n"
    branch = system.writer.branch("ctr", 4, 0, with_tokens=False)
    assert system.writer.tokenizer.decode(branch.ids) == "Viewer would like: Film 5?"


def test_what_is_scored_is_what_is_trained(workplace):
    run = Run.prepare(for_clicks(workplace, rows=1000), DATA)
    for sequence in validation_sequences(run.packer, 3, text_only=False):
        run.system.lora.eval()
        run.system.fusion.eval()
        with torch.inference_mode():
            loss = sequence_losses(run.system, sequence)["ctr"].item()
        asked = {(q.item, q.length) for q in sequence.questions}
        own = []
        for row in DATA.rows(split=VALID):
            items = DATA.item[DATA.history.before(row)].tolist()
            if (DATA.item[row], len(items)) in asked and items == [*sequence.items[: len(items)]]:
                own.append(row)
        assert len(own) == len(sequence.questions)
        scores = torch.from_numpy(score_rows(run.system, np.array(own), tasks=("ctr",))["ctr"])
        expected = F.binary_cross_entropy(scores, torch.from_numpy(DATA.rating[own]))
        assert loss == pytest.approx(expected.item(), abs=2e-2)


def test_labels_of_the_training_part_count_and_later_ones_do_not(system):
    rows = DATA.rows(split=VALID)[:40]
    warm = rows[[len(system.knowledge.rows.rows_by_user[u]) > 3 for u in DATA.user[rows]]]
    whole = score_rows(system, warm, tasks=("ctr",), prior_only=True)["ctr"]
    cut = score_rows(system, warm, tasks=("ctr",), prior_only=True, k=1000)["ctr"]
    assert np.abs(whole - cut).max() > 1e-3


def test_a_known_user_is_asked_about_with_their_labels(workplace):
    recommender = Recommender.load("checkpoints/tiny", quantization="bf16")
    user = DATA.user_ids[int(np.bincount(DATA.user[DATA.rows(split=0)]).argmax())]
    history = recommender.history(user)
    liked = [{"item": h["item"], "rating": 5} for h in history if h["rating"] > 0]
    disliked = [{"item": h["item"], "rating": 1} for h in history if h["rating"] == 0]
    known, described, both = (
        recommender.click(**person, item="7", method="collaborative")["probability"]
        for person in ({"user": user}, {"history": liked}, {"history": liked + disliked})
    )
    assert known != pytest.approx(described, abs=1e-6)
    assert described == pytest.approx(both, abs=1e-6)


def test_an_evaluation_has_both_halves_and_what_suits_likes(workplace, monkeypatch, tmp_path):
    few = ("item mean", "item mean + user mean", "gradient boosting", "bias folded in")
    monkeypatch.setattr(evaluation, "BASELINES", {name: BASELINES[name] for name in few})
    found = evaluate(
        "checkpoints/tiny",
        Settings(split="valid", resamples=50, sample=20),
        predictions_path=tmp_path / "p.parquet",
    )
    methods = {r["method"] for r in found["rows"]}
    assert {"ckf", "item mean", "item mean + user mean", "gradient boosting"} <= methods
    assert "bias folded in" not in methods
    assert {r["task"] for r in found["rows"]} == {"ctr"}
    n = {r["group"]: r["n"] for r in found["rows"] if r["metric"] == "auc"}
    assert n["all"] == len(DATA.rows(split=VALID))
    assert n["choose"] + n["accept"] == n["warm"] + n.get("cold", 0) == n["all"]


def test_one_task_measured_again_leaves_the_others(workplace, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation, "BASELINES", {"item mean": BASELINES["item mean"]})
    path = tmp_path / "results.json"
    settings = Settings(split="valid", resamples=20, sample=20)
    found = evaluate("checkpoints/tiny", settings, json_path=path)
    other = {"method": "ckf", "task": "rating", "metric": "rmse", "group": "all"}
    other |= {"value": 1.0, "low": 0.9, "high": 1.1, "n": 5}
    path.write_text(json.dumps(found | {"rows": [other, *found["rows"]]}))
    settings = replace(settings, tasks=("ctr",))
    again = evaluate("checkpoints/tiny", settings, json_path=path)
    assert sorted(map(str, again["rows"])) == sorted(map(str, [other, *found["rows"]]))
    path.write_text(json.dumps(found | {"split": "test", "rows": [other]}))
    assert evaluate("checkpoints/tiny", settings, json_path=path)["rows"] == found["rows"]
    with pytest.raises(UserError, match="Unknown task 'stars'"):
        Settings(tasks=("stars",))


def test_a_checkpoint_is_found_by_its_data(tmp_path):
    assert checkpoint_for(None).name == "ml-100k"
    with pytest.raises(UserError, match="holds no table"):
        checkpoint_for(tmp_path)


def configurations():
    """Every configuration and every variant.

    Siblings' variants fit their collaborative models each, which takes long in sum.
    """
    for path in sorted(CONFIGS.rglob("*.toml")):
        long = path.parent.name == "ablations" and path.stem in SIBLINGS
        for config in RunConfig.load_all(path):
            yield pytest.param(config, id=config.name, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize("config", configurations())
def test_every_configuration_trains(workplace, config, monkeypatch):
    # what is fitted before is tested with the methods
    for module in ("allmrec", "embeddings", "binllm"):
        monkeypatch.setattr(f"ckf_demo.fusion.{module}.EPOCHS", 1)
    monkeypatch.setattr("ckf_demo.fusion.allmrec.JOINT_STEPS", 20)
    # the tokenizer of these tests has two words alone
    two = {name: replace(task, answers=TASKS["ctr"].answers) for name, task in CLOZES.items()}
    monkeypatch.setattr("ckf_demo.tasks.prompts.CLOZES", two)
    small = {"steps": 4, "accumulate": 1, "rows": 2, "validation_sequences": 2, "negatives": 2}
    # a checkpoint to start from is not at hand here
    small |= {"adapters_from": ""}
    config = config.model_copy(
        update={
            "backbone": config.backbone.model_copy(update={"name": str(workplace / "backbone")}),
            "fusion": config.fusion.model_copy(update={"hidden": 8}),
            "train": config.train.model_copy(update=small),
        }
    )
    run = Run.prepare(config, DATA if config.data.dataset == "collm-ml-1m" else tiny_data())
    if config.fusion.method in ("icl", "llm-only"):
        assert not any(run.system.trainable().values())
        return
    before = [p.detach().clone() for kind in run.system.trainable().values() for p in kind]
    losses = [run.train_step() for _ in range(4)]
    after = [p for kind in run.system.trainable().values() for p in kind]
    assert all(np.isfinite(list(loss.values())).all() for loss in losses)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert np.isfinite(list(run.validate().values())).all()


def test_a_configuration_says_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "base.toml").write_text('name = "base"\n[lora]\nrank = 3\nalpha = 9\n')
    (tmp_path / "own.toml").write_text('base = "base.toml"\nname = "own"\n[lora]\nrank = 5\n')
    config = RunConfig.load(tmp_path / "own.toml")
    assert (config.name, config.lora.rank, config.lora.alpha) == ("own", 5, 9)
    (tmp_path / "base.toml").unlink()
    with pytest.raises(UserError, match=r"No configuration at .*base\.toml"):
        RunConfig.load(tmp_path / "own.toml")
