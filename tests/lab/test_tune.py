"""The search for hyperparameters: what is searched, on which rows, and that nothing runs twice."""

import csv
import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.fusion.registry import METHODS
from ckf_demo.lab import trained
from ckf_demo.lab.report import tables
from ckf_demo.lab.tune import changed_lines, searched, setting_of, tune, with_setting
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, prepared_path
from ckf_demo.training.loop import Run
from support.commands import run_ckf, written
from support.paths import CONFIGS, ROOT
from support.synthetic import made_up_likes
from support.tiny import FROZEN, tiny_config, tiny_data, tiny_system, write_config

STEPS = 3
ALWAYS = {"train.hide_title", "train.weight_decay"}
ADAPTERS = {"train.adapter_rate", "lora.dropout"}
EVERYTHING = ALWAYS | ADAPTERS | {"train.fusion_rate", "fusion.dropout"}


@pytest.fixture
def workplace(workplace, monkeypatch) -> Path:
    """The workplace of all trainings, with a configuration of one task."""
    monkeypatch.setattr(trained, "VALIDATION_SEQUENCES", 3)
    write_config(workplace, tiny_config(workplace / "backbone", train={"tasks": ["ctr"]}))
    return workplace


@pytest.fixture
def trainings(monkeypatch) -> list[RunConfig]:
    """The configurations that are really trained."""
    seen, run = [], Run.run

    def record(self, **options):
        seen.append(self.config)
        run(self, **options)

    monkeypatch.setattr(Run, "run", record)
    return seen


def search(*budget, **options) -> dict:
    """What was found for the one configuration of the workplace."""
    (found,) = tune([Path("config.toml")], *budget, **options)["searches"]
    return found


def settings(found: dict) -> list[dict]:
    return [row["setting"] for row in found["rows"]]


def test_the_first_trial_is_the_files_own_setting(workplace, trainings):
    found = search(2, STEPS)
    own = RunConfig.load(Path("config.toml"))
    first = found["rows"][0]["setting"]
    assert set(first) == EVERYTHING
    assert first == setting_of(own, EVERYTHING)
    short = trained.shortened(own, STEPS).model_copy(update={"name": "tiny-tune"})
    assert trainings[0] == short
    assert trainings[1] == with_setting(short, found["rows"][1]["setting"]) != short


def test_a_trial_counts_by_the_best_loss_of_its_run(workplace, trainings):
    found = search(1, STEPS)
    (losses,) = (cache_dir() / "robustness").glob("tiny-tune-*/losses.csv")
    with losses.open() as file:
        totals = [float(row["total"]) for row in csv.DictReader(file)]
    assert found["rows"][0]["loss"] == min(totals)
    assert {config.train.select_on for config in trainings} == {"own"}


def test_the_same_seed_gives_the_same_trials_without_any_training(workplace, trainings):
    found = search(3, STEPS, seed=4)
    assert len(trainings) == 3
    assert search(3, STEPS, seed=4) == found
    assert len(trainings) == 3
    more = search(5, STEPS, seed=4)
    assert more["rows"][:3] == found["rows"]
    assert len(trainings) == 5
    other = search(2, STEPS, seed=5)
    assert other["rows"][0] == found["rows"][0]
    assert settings(other)[1] not in settings(more)


def test_an_interrupted_search_goes_on(workplace, trainings, monkeypatch):
    step, taken = Run.train_step, []

    def interrupted(self):
        taken.append(self)
        if len(taken) == STEPS + 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Run, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(2, STEPS, Path("t.json"))
    (first,) = json.loads(Path("t.json").read_text())["searches"]
    assert len(first["rows"]) == 1
    found = search(2, STEPS, Path("t.json"))
    assert found["rows"][:1] == first["rows"]
    one, begun, again = trainings
    assert begun == again != one


def test_a_search_leaves_the_state_of_the_files_own_training_alone(workplace, trainings):
    state = cache_dir() / "runs" / "tiny.pt"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"of an interrupted training")
    search(1, STEPS)
    assert state.read_bytes() == b"of an interrupted training"
    assert not Path("checkpoints").exists()


def test_the_json_file_holds_every_trial(workplace):
    before = Path("config.toml").read_bytes()
    whole = written(tune, Path("out/t.json"), [Path("config.toml")], 3, STEPS, seed=1)
    (found,) = whole.pop("searches")
    assert whole == {"analysis": "search", "trials": 3, "steps": STEPS, "seed": 1}
    assert (found["config"], found["name"]) == ("config.toml", "tiny")
    assert len(found["rows"]) == 3
    for row in found["rows"]:
        assert set(row) == {"setting", "loss", "minutes"} and set(row["setting"]) == EVERYTHING
    assert found["best"]["loss"] == min(row["loss"] for row in found["rows"])
    assert [path.name for path in Path("out").iterdir()] == ["t.json"]
    assert Path("config.toml").read_bytes() == before


@pytest.fixture
def loss_by(monkeypatch) -> Callable:
    """Lets a function of the configuration give every trial's loss."""

    def give(loss: Callable[[RunConfig], float]) -> None:
        monkeypatch.setattr(Run, "validate", lambda run: {"ctr": loss(run.config)})

    return give


def test_a_trial_that_diverges_is_said_to_and_never_best(workplace, loss_by, capsys):
    loss_by(lambda config: math.nan if config.train.adapter_rate == 6e-4 else 0.7)
    found = search(2, STEPS, Path("t.json"))
    assert found["rows"][0]["loss"] is None
    assert found["best"] == found["rows"][1]
    assert "NaN" not in Path("t.json").read_text()
    assert "diverged" in capsys.readouterr().out


def test_lines_are_printed_that_make_the_file_the_best_setting(workplace, loss_by, capsys):
    loss_by(lambda config: 0.7 if config.train.weight_decay == 0.01 else 0.6)
    found = search(3, STEPS)
    printed = capsys.readouterr().out
    assert "Trial 2 is better than the file's own, by 0.1000" in printed
    config = RunConfig.load(Path("config.toml"))
    lines = changed_lines(config, found["best"]["setting"])
    assert printed.endswith(f"\n\n{lines}\n")
    best = {f"{part}.{k}": v for part, x in tomllib.loads(lines).items() for k, v in x.items()}
    assert best == found["best"]["setting"]
    assert printed.index("0.6000") < printed.index("0.7000")


def test_where_nothing_is_better_no_line_is_printed(workplace, loss_by, capsys):
    loss_by(lambda config: 0.7)
    found = search(2, STEPS)
    assert found["best"] == found["rows"][0]
    printed = capsys.readouterr().out
    assert printed.endswith("No setting that was tried is better than the file's own.\n")


def test_rates_stay_near_the_files_own_and_shares_in_their_range():
    config = tiny_config(train={"adapter_rate": 1e-3}, fusion={"dropout": 0.5})
    space = searched(config)
    assert (space["train.adapter_rate"].low, space["train.adapter_rate"].high) == (2.5e-4, 4e-3)
    assert space["train.adapter_rate"].log
    assert (space["lora.dropout"].low, space["lora.dropout"].high) == (0.0, 0.3)
    assert space["fusion.dropout"].high == 0.5


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("lora", [FROZEN, {"rank": 4, "alpha": 8}])
def test_what_the_method_has_is_searched(name, lora):
    dropout = 0.123
    fusion = {"method": name, "hidden": 8, "update_every": 1, "dropout": dropout}
    config = tiny_config(fusion=fusion, lora=lora, train={"tasks": ["ctr"]})
    system = tiny_system(config)
    adapters, learnt = (bool(system.trainable()[kind]) for kind in ("adapters", "fusion"))
    if not (adapters or learnt):
        with pytest.raises(UserError, match="Nothing is trained in 'tiny'"):
            searched(config)
        return
    drops = any(isinstance(m, nn.Dropout) and m.p == dropout for m in system.fusion.modules())
    expected = ALWAYS | (ADAPTERS if adapters else set())
    expected |= {"train.fusion_rate"} if learnt else set()
    expected |= {"fusion.dropout"} if drops else set()
    assert set(searched(config)) == expected


def test_what_is_held_or_never_asked_is_not_searched():
    held = tiny_config(train={"adapters_from": "checkpoints/x"})
    assert ADAPTERS.isdisjoint(searched(held))
    full = searched(tiny_config(lora={"full": True}))
    assert "train.adapter_rate" in full and "lora.dropout" not in full
    assert "train.fusion_rate" not in searched(tiny_config(train={"fusion_rate": 0.0}))
    assert "train.hide_title" not in searched(tiny_config(train={"tasks": ["ranking"]}))


def test_a_frozen_backbone_is_searched_without_the_adapters_rate(workplace):
    config = tiny_config(workplace / "backbone", lora=FROZEN, train={"tasks": ["ctr"]})
    write_config(workplace, config)
    found = search(2, STEPS)
    for setting in settings(found):
        assert set(setting) == EVERYTHING - ADAPTERS
    assert all(math.isfinite(row["loss"]) for row in found["rows"])


def other_labels(data: Prepared, rows: np.ndarray) -> Prepared:
    opposite = (1 if data.feedback == "likes" else 6) - data.rating
    return replace(data, rating=np.where(rows, opposite, data.rating))


def test_labels_of_the_test_part_and_of_the_accepting_half_change_nothing(workplace):
    data = made_up_likes()
    fusion = {"hidden": 8, "prior": "score"}
    config = tiny_config(workplace / "backbone", fusion=fusion, train={"tasks": ["ctr"]})
    write_config(workplace, config)
    accepting = (data.split == VALID) & ~data.choosing_users[data.user]
    choosing = (data.split == VALID) & data.choosing_users[data.user]
    assert accepting.any() and choosing.any() and (data.split == TEST).any()

    def rows(changed: Prepared) -> list[dict]:
        changed.save(prepared_path("made-up"))
        return search(2, STEPS)["rows"]

    def compared(found: list[dict]) -> list[tuple[dict, float]]:
        return [(row["setting"], row["loss"]) for row in found]

    usual = compared(rows(data))
    assert compared(rows(other_labels(data, accepting))) == usual
    assert compared(rows(other_labels(data, data.split == TEST))) == usual
    assert compared(rows(other_labels(data, choosing))) != usual
    assert compared(rows(other_labels(data, data.split == TRAIN))) != usual


def test_labels_of_the_test_part_of_a_split_in_time_change_nothing(workplace):
    usual = search(2, STEPS)["rows"]
    data = tiny_data()
    changed = other_labels(data, data.split == TEST)
    assert changed.training_hash != data.training_hash
    changed.save(prepared_path("made-up"))
    again = search(2, STEPS)["rows"]
    assert [row["loss"] for row in again] == [row["loss"] for row in usual]


def test_several_configurations_get_the_same_budget_and_one_table(workplace, trainings):
    other = tiny_config(workplace / "backbone", lora=FROZEN, train={"tasks": ["ctr"]})
    (workplace / "other").mkdir()
    paths = [
        Path("config.toml"),
        write_config(workplace / "other", other.model_copy(update={"name": "another"})),
    ]
    alone = search(2, STEPS)
    found = tune(paths, 2, STEPS, Path("t.json"))
    assert found["searches"][0] == alone
    assert [len(one["rows"]) for one in found["searches"]] == [2, 2]
    assert {config.train.steps for config in trainings} == {STEPS}
    assert len(trainings) == 4
    ((title, headings, rows),) = tables(found)
    assert f"best of 2, {STEPS} packed sequences" in title
    assert [row[0] for row in rows] == ["tiny", "another"]
    for row, one in zip(rows, found["searches"], strict=True):
        cells = dict(zip(headings, row, strict=True))
        assert cells["own"] == f"{one['rows'][0]['loss']:.4f}"
        assert cells["best"] == f"{one['best']['loss']:.4f}"
        assert (cells["what that changes"] == "nothing") == (one["best"] == one["rows"][0])


def test_nothing_is_tried_when_one_of_several_cannot_be_searched(workplace, trainings):
    with pytest.raises(UserError, match=r"No configuration at none\.toml"):
        tune([Path("config.toml"), Path("none.toml")], 2, STEPS)
    assert not trainings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.toml"], "No configuration at none.toml"),
        (["--config", "config.toml", "--trials", "0"], "--trials"),
        (["--config", "config.toml", "--steps", "0"], "--steps"),
        (["--config", "config.toml", "--seed", "-1"], "--seed"),
    ],
)
def test_wrong_calls_end_with_code_2_and_one_line(workplace, arguments, message, capsys):
    assert run_ckf("tune", *arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1


def test_the_command_shows_all_trials(workplace, capsys):
    assert run_ckf("tune", "--config", "config.toml", "--trials", 2, "--steps", STEPS) == 0
    printed = capsys.readouterr()
    assert f"Budget: 2 trials of {STEPS} packed sequences each; seed 0." in printed.err
    assert "tiny: loss on validation" in printed.out
    assert "own" in printed.out


@pytest.mark.parametrize(
    "config",
    RunConfig.load_all(CONFIGS / "ablations" / "searched.toml"),
    ids=lambda config: config.name,
)
def test_a_searched_configuration_is_its_base_with_the_best_setting(config):
    measured = json.loads((ROOT / "ckf_demo/lab/results/search.json").read_text())
    base = RunConfig.load(CONFIGS / f"{config.name.removesuffix('-searched')}.toml")
    (best,) = (row["best"] for row in measured["searches"] if row["name"] == base.name)
    assert config == with_setting(base, best["setting"]).model_copy(update={"name": config.name})
    assert config.name == f"{base.name}-searched"
