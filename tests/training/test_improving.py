"""Training a carried checkpoint further: stopped, gone on with, and never worse on validation."""

import shutil

import pytest

from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.paths import cache_dir
from ckf_demo.training import improving
from ckf_demo.training.improving import DONE, STOPPED, improve, read_progress
from ckf_demo.training.loop import Run
from support.tiny import tiny_config
from support.training import DATA, reload


@pytest.fixture
def folder(workplace):
    """A trained checkpoint of the made-up data."""
    run = Run.prepare(tiny_config(workplace / "backbone", name="made-up"), DATA)
    while run.step < 4:
        run.train_step()
    run._check()
    return run.folder


def loss(folder) -> float:
    return sum(Run.of_checkpoint(folder, DATA).validate().values())


def test_it_is_trained_within_the_minutes_and_kept_if_better(folder):
    before = loss(folder)
    progress = improve(folder, DATA, 0.02, lambda: False)
    assert progress.state == DONE and progress.step == progress.steps >= 2
    assert read_progress("made-up") == progress
    assert loss(folder) <= before + 1e-6
    assert "calibration" in read_manifest(folder)["stages"]
    assert not list(folder.parent.glob(".*training")) and not list(cache_dir().glob("runs/*.pt"))
    reload(folder)


def test_it_is_stopped_and_gone_on_with(folder, monkeypatch):
    monkeypatch.setattr(improving, "_steps_within", lambda run, minutes, stop: 12)
    before = read_manifest(folder)
    asked = iter([False] * 2 + [True])
    progress = improve(folder, DATA, 1, lambda: next(asked))
    assert (progress.state, progress.step, progress.steps) == (STOPPED, 6, 12)
    assert read_manifest(folder) == before
    steps = []
    step = Run.train_step
    monkeypatch.setattr(Run, "train_step", lambda run: steps.append(run.step) or step(run))
    assert improve(folder, DATA, 1, lambda: False).state == DONE
    assert steps == list(range(6, 12))
    assert read_manifest(folder) != before


def test_a_state_of_another_checkpoint_is_not_gone_on_with(folder, monkeypatch):
    monkeypatch.setattr(improving, "_steps_within", lambda run, minutes, stop: 12)
    improve(folder, DATA, 1, lambda: True)
    other = folder.with_name("copy")
    shutil.copytree(folder, other)
    System.load(folder, DATA, quantization="bf16").save(folder, extra={"training": {}})
    calls = []
    monkeypatch.setattr(improving, "_steps_within", lambda *given: calls.append(1) or 4)
    run = Run.of_checkpoint(other, DATA)
    for _ in range(2):
        run.train_step()
    run.folder = folder
    run._check()
    assert improve(folder, DATA, 1, lambda: False).steps == 4 and calls
