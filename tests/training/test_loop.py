"""The loop on a tiny problem: curriculum, early stopping, killed and resumed runs."""

import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.training import loop
from ckf_demo.training.calibration_stage import CalibrationStage
from ckf_demo.training.loop import Run, train
from ckf_demo.training.losses import selection_loss, sequence_losses_of
from support.tiny import tiny_config, write_config
from support.training import CONFIG, DATA


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_curriculum_goes_from_text_to_collaborative_prompts(one, other):
    earlier, later = sorted((CONFIG.train.text_probability(x) for x in (one, other)), reverse=True)
    low, high = sorted((one, other))
    assert CONFIG.train.text_probability(low) == earlier
    assert CONFIG.train.text_probability(high) == later
    assert CONFIG.train.text_share <= later <= earlier <= 1


def test_the_curriculum_and_the_rate_at_their_marks():
    config = CONFIG.train
    assert config.text_probability(0) > 0.9
    assert config.text_probability(config.curriculum_middle) == pytest.approx(0.5)
    assert config.text_probability(1) == config.text_share
    assert config.rate_factor(0) == 0
    assert config.rate_factor(config.warmup) == pytest.approx(1)
    assert config.rate_factor(1) == pytest.approx(0.05)
    rates = [config.rate_factor(x) for x in np.linspace(config.warmup, 1, 20)]
    assert rates == sorted(rates, reverse=True)


def test_losses_are_finite_and_go_down(workplace, monkeypatch):
    """On a few ratings of one person, which are soon learnt by heart."""
    rates = {"adapter_rate": 0.01, "fusion_rate": 0.01, "steps": 30, "accumulate": 1}
    run = Run.prepare(tiny_config(workplace / "backbone", train=rates), DATA)
    segment = next(s for s in run.segments if len(s.rows) >= 3)
    draw = lambda segments, step, seed: (segment, np.random.default_rng(step))  # noqa: E731
    monkeypatch.setattr(loop, "segment_at", draw)
    rng = np.random.default_rng(0)
    sequences = [run.packer.draw(segment, rng, text_only=False, augment=False) for _ in range(3)]

    def losses() -> dict[str, float]:
        by_task = sequence_losses_of(run.system, sequences)
        return {task: float(np.nanmean(values)) for task, values in by_task.items()}

    before = losses()
    for _ in range(30):
        assert all(math.isfinite(x) for x in run.train_step().values())
    after = losses()
    assert all(math.isfinite(x) for x in after.values())
    assert after["explanation"] < before["explanation"] - 0.3
    assert selection_loss(after) < selection_loss(before)


def test_the_prior_is_fitted_first_and_then_held(workplace):
    run = Run.prepare(tiny_config(workplace / "backbone"), DATA)
    assert set(run.prior) == {"rating", "ctr", "rmse"}
    held = {k: v.clone() for k, v in run.system.fusion.prior.state_dict().items()}
    assert any(v.any() for v in held.values())
    for _ in range(4):
        run.train_step()
    assert all(torch.equal(v, held[k]) for k, v in run.system.fusion.prior.state_dict().items())
    assert not any(p.requires_grad for p in run.system.fusion.prior.parameters())


def weights(run: Run) -> list[torch.Tensor]:
    return [p.detach().clone() for kind in run.system.trainable().values() for p in kind]


assert_same = partial(torch.testing.assert_close, rtol=0, atol=0)


def test_a_resumed_run_ends_as_an_uninterrupted_one(workplace, monkeypatch):
    # it goes back to the best weights
    monkeypatch.setattr(CalibrationStage, "run", lambda self, progress: None)
    config = tiny_config(workplace / "backbone")
    whole = Run.prepare(config, DATA)
    whole.run()
    interrupted = Run.prepare(config, DATA)
    for _ in range(4):
        interrupted.train_step()
    interrupted.save_state()
    interrupted.train_step()  # lost: it was not saved
    resumed = Run.prepare(config, DATA)
    resumed.resume()
    assert resumed.step == 4
    resumed.run()
    assert_same(weights(whole), weights(resumed))
    assert resumed.step == whole.step == 12
    assert [r["total"] for r in whole.log] == [r["total"] for r in resumed.log]


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(workplace, monkeypatch):
    monkeypatch.setattr(CalibrationStage, "run", lambda self, progress: None)
    runs = []
    for seed in (0, 0, 1):
        run = Run.prepare(tiny_config(workplace / "backbone", train={"seed": seed}), DATA)
        run.run()
        runs.append(run)
    first, second, other = runs
    assert_same(weights(first), weights(second))
    assert first.log == second.log
    rows = DATA.rows(split=1)[:20]
    answers = [score_rows(run.system, rows) for run in (first, second)]
    for task in ("rating", "ctr"):
        np.testing.assert_array_equal(answers[0][task], answers[1][task])
    assert first.log != other.log


def test_states_are_saved_between_optimiser_steps(workplace, monkeypatch):
    """Gradients are not part of a state, so that none may be pending when it is saved."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)

    def ends(self: Run, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "finish", ends)
    config = tiny_config(
        workplace / "backbone", train={"accumulate": 3, "steps": 8, "validate_every": 8}
    )
    whole, resumed = Run.prepare(config, DATA), Run.prepare(config, DATA)
    with pytest.raises(KeyboardInterrupt):
        whole.run()
    resumed.resume()
    assert resumed.step == 6
    for run in (whole, resumed):
        while run.step < 12:
            run.train_step()
    assert_same(weights(whole), weights(resumed))


def test_a_killed_run_goes_on_as_if_nothing_had_happened(workplace):
    config = tiny_config(workplace / "backbone", train={"steps": 600, "validate_every": 600})
    path = write_config(workplace, config)
    script = (
        "import sys; from ckf_demo.training import loop; loop.SAVE_EVERY = 2; "
        "loop.train(sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(loop.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], env=environment, stderr=subprocess.DEVNULL
    )
    state = workplace / "cache" / "ckf-demo" / "runs" / "tiny.pt"
    try:
        while not state.exists() or not torch.load(state, weights_only=True)["at"][0]:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = Run.prepare(config, DATA)
    resumed.resume()
    assert 0 < resumed.step < 600
    target = resumed.step + 3
    straight = Run.prepare(config, DATA)
    for run in (straight, resumed):
        while run.step < target:
            run.train_step()
    torch.testing.assert_close(weights(straight), weights(resumed), rtol=1e-3, atol=1e-5)


def test_training_stops_when_validation_gets_no_better(workplace, monkeypatch):
    config = tiny_config(
        workplace / "backbone", train={"steps": 50, "validate_every": 2, "patience": 2}
    )
    run = Run.prepare(config, DATA)
    losses = iter([3.0, 2.0, 2.5, 2.5, 1.0])
    monkeypatch.setattr(run, "validate", lambda: dict.fromkeys(config.train.tasks, next(losses)))
    run.run()
    assert run.step == 8
    manifest = read_manifest(run.folder)
    assert manifest["training"]["steps"] == 4
    assert len((run.folder / "losses.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("task", ["rating", "ctr", "ranking", "explanation"])
def test_one_task_alone(workplace, task):
    path = write_config(workplace, tiny_config(workplace / "backbone"))
    folder = train(path, only=task)
    assert folder == Path("checkpoints") / f"tiny-{task}"
    manifest = read_manifest(folder)
    assert manifest["tasks"] == [task]
    assert {p.parent.name for p in folder.glob("adapters/*/*.safetensors")} == {"shared", task}
    header = (folder / "losses.csv").read_text().splitlines()[0]
    assert header == f"step,total,{task},train_{task}"


def test_what_is_needed_first_is_said(workplace):
    config = tiny_config(workplace / "backbone", train={"tasks": ["ctr"]})
    path = write_config(workplace, config)
    with pytest.raises(UserError, match="'rating' is not among.*ctr"):
        train(path, only="rating")
    with pytest.raises(UserError, match="Nothing to resume"):
        train(path, resume=True)
    prepared_path("made-up").unlink()
    with pytest.raises(UserError, match="ckf prepare"):
        train(path)


def test_another_configuration_and_unknown_names_are_refused(workplace):
    Run.prepare(tiny_config(workplace / "backbone"), DATA).save_state()
    other = Run.prepare(tiny_config(workplace / "backbone", train={"steps": 99}), DATA)
    with pytest.raises(UserError, match="another configuration"):
        other.resume()
    with pytest.raises(UserError, match="Unknown fusion method"):
        Run.prepare(tiny_config(workplace / "backbone", fusion={"method": "gnn"}), DATA)
    with pytest.raises(UserError, match="No backbone"):
        Run.prepare(tiny_config(workplace / "nothing-here"), DATA)
