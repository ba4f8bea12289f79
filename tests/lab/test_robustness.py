"""Variants on one budget: what is measured, what is paired, and full fine-tuning."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ckf_demo.backbone.full import FullWeights
from ckf_demo.backbone.multilora import LoraConfig, MultiLora
from ckf_demo.config import RunConfig
from ckf_demo.data.splits import TEST, VALID
from ckf_demo.evaluation import report
from ckf_demo.lab import data_settings as settings
from ckf_demo.lab import robustness, trained
from ckf_demo.lab.data_settings import is_setting, measure_settings
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, prepared_path
from ckf_demo.training.loop import Run
from ckf_demo.ui import results as tab
from support.commands import run_command, written
from support.tiny import save_backbone, tiny_config, tiny_data, tiny_llama, write_config

pytestmark = pytest.mark.long

DATA = tiny_data()
STEPS = 6
"""The first of them has a rate of zero, so that weights are looked at after two."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """An own cache with the made-up data, a tiny backbone and a base configuration."""
    place = tmp_path_factory.mktemp("robustness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.chdir(place)
        patch.setattr(trained, "VALIDATION_SEQUENCES", 3)
        patch.setattr(robustness, "QUERIES", 4)
        patch.setattr(robustness, "WORDINGS", 3)
        patch.setattr(settings, "QUERIES", 4)
        patch.setattr(settings, "BASELINES", ("item mean", "bias folded in", "popularity"))
        DATA.save(prepared_path("made-up"))
        config = tiny_config(save_backbone(place / "backbone"), name="base")
        write_config(place, config).rename("base.toml")
        yield place


def variant(name: str, text: str) -> Path:
    path = Path(f"{name}.toml")
    path.write_text(f'base = "base.toml"\nname = "base-{name}"\n{text}\n')
    return path


def values(found: dict, method: str, **wanted) -> dict:
    """Rows of a method by task, metric and group."""
    rows = [r for r in found["rows"] if r["method"] == method]
    return {
        (r["task"], r["metric"], r["group"]): r
        for r in rows
        if all(r[key] == value for key, value in wanted.items())
    }


VARIANTS = {
    "one-lora": '[lora]\nshared_targets = ["q_proj", "v_proj"]\ntask_targets = []',
    "no-shared-part": '[lora]\nshared_targets = []\ntask_targets = ["q_proj", "v_proj"]',
    "single-rating": '[train]\ntasks = ["rating"]',
    "single-explanation": '[train]\ntasks = ["explanation"]',
    "full": "[lora]\nfull = true\n[train]\nadapter_rate = 1e-3",
}


@pytest.fixture(scope="module")
def measured(workplace) -> dict:
    paths = [variant(name, text) for name, text in VARIANTS.items()]
    arguments = Path("base.toml"), paths, STEPS
    place = workplace / "robustness.json"
    return written(robustness.measure, place, *arguments, rows=60, resamples=20)


def test_every_task_is_measured_by_itself_and_pooled(measured):
    ckf = values(measured, "ckf", group="all")
    assert {task for task, *_ in ckf} == {"rating", "ctr", "ranking", "explanation"}
    pooled = values(measured, "ckf", group="pooled")
    assert {task for task, *_ in pooled} == {"rating", "ctr", "ranking"}
    own, both = ckf["ctr", "log_loss", "all"], pooled["ctr", "log_loss", "pooled"]
    assert own["n"] == both["n"] and own["value"] != both["value"]
    assert ckf["explanation", "loss", "all"]["value"] > 0


def test_differences_are_paired_on_the_same_rows(measured):
    for name in VARIANTS:
        differences = values(measured, f"ckf - {name}")
        assert differences
        for key, row in differences.items():
            first, second = values(measured, "ckf")[key], values(measured, name)[key]
            assert row["n"] == first["n"] == second["n"]
            if row["value"] is not None:
                expected = first["value"] - second["value"]
                assert row["value"] == pytest.approx(expected, abs=2e-6)


def test_a_single_task_is_measured_in_that_alone(measured):
    assert {task for task, *_ in values(measured, "single-rating")} == {"rating"}
    assert {task for task, *_ in values(measured, "single-explanation")} == {"explanation"}


def test_full_fine_tuning_trains_every_weight(measured):
    everything = sum(p.numel() for p in tiny_llama().parameters())
    parameters = {name: known["parameters"] for name, known in measured["trained"].items()}
    assert everything < parameters["full"] and parameters["one-lora"] < parameters["full"]
    assert not list((cache_dir() / "runs").glob("base-full*"))


def test_what_is_there_is_not_trained_or_asked_again(measured, workplace, monkeypatch):
    for name in ("Run", "score_rows", "scored", "sequence_losses_of"):
        monkeypatch.setattr(trained, name, None)
    paths = [Path(f"{name}.toml") for name in VARIANTS]
    again = robustness.measure(Path("base.toml"), paths, STEPS, None, rows=60, resamples=20)
    assert again == measured


def test_variants_need_a_task_in_common(workplace):
    path = variant("none", "[data]\ncore = 3")
    with pytest.raises(UserError, match=r"none\.toml must be for rating"):
        robustness.measure(Path("base.toml"), [path], STEPS, None)


def test_the_tables_and_the_tab_show_what_was_measured(measured, workplace):
    titles = [title for title, *_ in report.tables(measured)]
    assert any("pooled with the collaborative prior" in title for title in titles)
    shown = tab.read_results(workplace / "robustness.json")
    assert "pooled" in shown.groups("ctr", "auc")
    view = tab.View("explanation", "loss", "all")
    assert view.lower and "single-explanation" in tab.levels_markup(shown, view)
    assert "single-rating" in tab.worth_markup(shown, tab.View("rating", "rmse", "all"))


SETTINGS = {
    "liked-from-3": "[data]\nliked_from = 3.0",
    "core-20": "[data]\ncore = 20",
    "leave-last-out": '[data]\nsplit = "leave-last-out"',
    "window-8": "[prompt]\nwindow = 8\nblock = 4",
}


@pytest.fixture(scope="module")
def by_setting(workplace) -> dict:
    paths = [variant(name, text) for name, text in SETTINGS.items()]
    arguments = Path("base.toml"), paths, STEPS
    place = workplace / "settings.json"
    return written(measure_settings, place, *arguments, rows=60, resamples=20)


def test_each_setting_has_all_methods_on_the_same_rows(by_setting):
    assert by_setting["settings"] == ["base", *SETTINGS]
    assert by_setting["split"] == "test"
    for group in by_setting["settings"]:
        rows = [r for r in by_setting["rows"] if r["group"] == group and r["metric"] == "auc"]
        single = {r["method"]: r["n"] for r in rows if " - " not in r["method"]}
        assert set(single) == {
            "ckf",
            "ckf's language model alone",
            "ckf's collaborative prior",
            "item mean",
            "bias folded in",
        }
        assert len(set(single.values())) == 1
        assert {r["method"] for r in rows} >= {f"ckf - {m}" for m in single if m != "ckf"}
    by_group = {r["group"]: r for r in by_setting["rows"] if r["method"] == "item mean"}
    assert by_group["base"] != by_group["liked-from-3"]


def test_the_order_of_methods_stands_beside_the_settings(by_setting, workplace):
    tables = {title: rows for title, _, rows in report.tables(by_setting)}
    order = tables["AUC under other settings of the data"][-1]
    assert order[0].startswith("order as under base") and order[1] == "1.00"
    shown = tab.read_results(workplace / "settings.json")
    assert shown.groups("ctr", "auc") == by_setting["settings"]
    markup = tab.settings_markup(shown, tab.View("ctr", "auc", "base"))
    assert "liked from 3 stars on" in markup and "item mean" in markup
    assert tab.settings_markup(shown, tab.View("explanation", "loss", "all")) == ""


def test_measured_settings_are_remembered(by_setting, workplace, monkeypatch):
    monkeypatch.delattr(settings, "setting_rows")
    paths = [Path(f"{name}.toml") for name in SETTINGS]
    again = measure_settings(Path("base.toml"), paths, STEPS, None, 60, resamples=20)
    assert again == by_setting


def test_a_checkpoint_of_another_setting_says_so_where_the_data_are_as_usual(by_setting, workplace):
    (folder,) = (cache_dir() / "robustness").glob("base-core-20-*")
    with pytest.raises(UserError, match=r"other settings of the data \(data\.core = 20\)"):
        System.load(folder, DATA, quantization="bf16")


def test_orders_agree_from_one_to_minus_one():
    first = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert report.order_agreement(first, first) == pytest.approx(1.0)
    assert report.order_agreement(first, {"a": 3.0, "b": 2.0, "c": 1.0}) == pytest.approx(-1.0)
    assert math.isnan(report.order_agreement(first, {"a": 1.0, "b": None}))


def test_the_command_sorts_settings_from_variants(measured, by_setting, workplace):
    known = RunConfig.load(Path("base.toml"))
    assert not any(is_setting(RunConfig.load(Path(f"{name}.toml")), known) for name in VARIANTS)
    assert all(is_setting(RunConfig.load(Path(f"{name}.toml")), known) for name in SETTINGS)
    arguments = f"--base base.toml --steps {STEPS} --rows 60 --json out/r.json".split()
    Path("out").mkdir()
    ran = run_command(robustness.main, *arguments, "one-lora.toml", "core-20.toml")
    assert ran.exit_code == 0, ran.output
    found = json.loads(Path("out/r.json").read_text())
    assert set(found["trained"]) == {"ckf", "one-lora"}
    assert json.loads(Path("out/settings.json").read_text())["settings"] == ["base", "core-20"]


def test_a_file_of_variants_stands_for_each_of_them(tmp_path):
    (tmp_path / "base.toml").write_text('name = "tiny"\n')
    file = tmp_path / "variants.toml"
    file.write_text('base = "base.toml"\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"\n')
    assert robustness.each_variant([file, tmp_path / "base.toml"]) == [
        Path(f"{file}#tiny-a"),
        Path(f"{file}#tiny-b"),
        tmp_path / "base.toml",
    ]


# Full fine-tuning


def test_small_steps_add_up_although_the_backbone_rounds():
    model = tiny_llama(dtype=torch.bfloat16)
    full = FullWeights(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.SGD(full.masters, lr=1e-5)
    for _ in range(2):
        loss = model(torch.tensor([[1, 2, 3]])).logits.float().square().mean()
        loss.backward()
        assert all(weight.grad is None for weight in model.parameters())
        optimiser.step()
        full.take_over()
        optimiser.zero_grad()
    rounded = sum((before[n] == w).all().item() for n, w in model.named_parameters())
    moved = [
        (before[n].float() != m).any().item()
        for (n, _), m in zip(model.named_parameters(), full.masters, strict=True)
    ]
    assert rounded and all(moved)


def test_gradients_of_masters_are_those_of_the_weights():
    model, other = tiny_llama(), tiny_llama().requires_grad_(True)
    full = FullWeights(model)
    for each in (model, other):
        for ids in ([[1, 2, 3]], [[4, 5]]):
            each(torch.tensor(ids)).logits.square().mean().backward()
    for master, weight in zip(full.masters, other.parameters(), strict=True):
        torch.testing.assert_close(master.grad, weight.grad)


def test_a_checkpoint_of_all_weights_is_loaded_as_it_was_trained(workplace):
    config = tiny_config(workplace / "backbone", name="whole", lora={"full": True})
    run = Run.prepare(config, DATA, folder=workplace / "whole")
    for _ in range(2):
        run.train_step()
    run.log.append({})
    run.save_checkpoint()
    served = System.load(workplace / "whole", DATA, quantization="nf4")
    frozen = dict(served.lora.model.named_parameters())
    for name, weight in run.system.lora.model.named_parameters():
        assert torch.equal(weight, frozen[name])
        assert not frozen[name].requires_grad
    fresh = System.for_training(config, DATA).lora.model.named_parameters()
    assert any(not torch.equal(weight, frozen[name]) for name, weight in fresh)


def test_full_fine_tuning_refuses_what_does_not_fit(tmp_path):
    lora = MultiLora(tiny_llama(), ("ctr",), LoraConfig(full=True))
    with pytest.raises(UserError, match="no backbone at"):
        lora.load(tmp_path)
    lora.save(tmp_path)
    other = MultiLora(tiny_llama(hidden_size=64), ("ctr",), LoraConfig(full=True))
    with pytest.raises(UserError, match="do not fit this backbone"):
        other.load(tmp_path)


def test_validation_rows_are_for_variants_and_test_rows_for_settings(measured, by_setting):
    n = values(measured, "ckf")["ctr", "log_loss", "all"]["n"]
    assert 0 < n <= len(DATA.rows(split=VALID))
    held_out = [r["n"] for r in by_setting["rows"] if r["metric"] == "rmse"]
    assert 0 < max(held_out) <= len(DATA.rows(split=TEST)) + np.unique(DATA.user).size
