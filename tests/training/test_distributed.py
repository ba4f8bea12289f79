"""Training in several processes gives the losses of one, and goes on after one of them was killed.

Starts real processes through ``accelerate launch``, which takes a while.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from ckf_demo.lab.bench.processes import environment, launch, launcher, measure
from ckf_demo.model.manifest import read_manifest
from ckf_demo.runtime.errors import UserError
from ckf_demo.training.distributed import Processes
from support.paths import ROOT
from support.tiny import tiny_config, write_config

LAUNCH = [*launcher(2), "-m", "ckf_demo", "train", "--config", "config.toml"]


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared data and a backbone, for processes started in it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return workplace


def configured(place: Path, **train) -> Path:
    return write_config(place, tiny_config(place / "backbone", train=train))


def step_of(state: Path) -> int:
    """How far the saved state of a run is; 0 without one."""
    return torch.load(state, weights_only=True)["at"][0] if state.exists() else 0


@pytest.mark.long
def test_two_processes_give_the_losses_of_one(place):
    found = measure(configured(place, accumulate=3, steps=24), 8, 2, rounds=1)
    assert found["processes"] == 2
    assert len(found["one"]) == 8
    np.testing.assert_allclose(found["many"], found["one"], rtol=1e-4)
    assert len({round(loss, 3) for loss in found["one"]}) == 8


@pytest.mark.long
def test_more_processes_than_sequences_are_refused(place, capfd):
    with pytest.raises(UserError, match="failed"):
        launch(configured(place, accumulate=1), 2, 2)
    assert "set train.accumulate to a multiple of 2" in capfd.readouterr().err


@pytest.mark.long
def test_a_run_goes_on_after_one_of_its_processes_was_killed(place):
    """What it ends with, written by the main process alone, is what one process writes."""
    configured(place, steps=202, validate_every=202, validation_sequences=5)
    alone = [sys.executable, "-m", "ckf_demo", "train", "--config", "config.toml"]
    subprocess.run(alone, check=True, stderr=subprocess.DEVNULL)
    whole = (place / "checkpoints/tiny/losses.csv").read_text().splitlines()
    state = place / "cache" / "ckf-demo" / "runs" / "tiny.pt"
    state.unlink()

    process = subprocess.Popen(
        LAUNCH, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while step_of(state) == 0:
            assert process.poll() is None
            time.sleep(0.05)
        last = sorted(psutil.Process(process.pid).children(), key=lambda p: p.create_time())[-1]
        last.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert 0 < step_of(state) < 202
    subprocess.run([*LAUNCH, "--resume"], env=environment(), check=True, stderr=subprocess.DEVNULL)
    again = (place / "checkpoints/tiny/losses.csv").read_text().splitlines()
    assert again[0] == whole[0]
    assert len(again) == len(whole) == 2
    # how training went since the last check is forgotten by a kill: validation alone
    columns = [i for i, name in enumerate(whole[0].split(",")) if not name.startswith("train_")]
    for one, other in zip(whole[1:], again[1:], strict=True):
        own, others = (np.array(row.split(","), float)[columns] for row in (one, other))
        np.testing.assert_allclose(others, own, rtol=1e-4)
    assert read_manifest(place / "checkpoints/tiny")["training"]["processes"] == 2


def test_one_process_changes_nothing():
    processes = Processes()
    assert (processes.count, processes.main, processes.device) == (1, True, None)
    assert all(processes.owns(i) for i in range(5))
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    processes.sum_gradients(list(layer.parameters()))
    assert torch.equal(layer.weight.grad, torch.ones(2, 2))
    assert layer.bias.grad is None
    assert processes.gathered([1, 2]) == [[1, 2]]
    assert processes.from_main(lambda: 3) == 3
