"""Train a carried checkpoint further on its own data, within minutes that the user gives.

The work is done on a copy. It replaces the checkpoint when it is done, and only weights that are
better on validation are kept, those of the beginning included. A state is saved on the way, so that
it can be stopped and gone on with.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ckf_demo.data.prepared import Prepared
from ckf_demo.model.manifest import read_manifest
from ckf_demo.runtime.paths import cache_dir, replacing, write_json
from ckf_demo.training.loop import Run

TRIAL = 4
"""Steps by which the speed of a machine is measured."""
FOR_STEPS = 0.7
"""Share of the time for training steps; the rest is for validations and the calibration."""
SAVE_EVERY = 40
"""Steps between two states, of which a killed process loses the last."""
LOOKS = 4
"""Validations in all."""
RUNNING, STOPPED, DONE, FAILED = "running", "stopped", "done", "failed"


@dataclass(frozen=True)
class Progress:
    """How far the training of a checkpoint has come."""

    state: str
    step: int = 0
    steps: int = 0
    """0 while the speed is measured."""
    minutes: float = 0.0
    """Of training so far."""
    planned: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        """One line for the terminal and the page."""
        of = f"step {self.step} of {self.steps}" if self.steps else "measuring the speed"
        time = f"{self.minutes:.0f} of {self.planned:.0f} minutes"
        if self.state == DONE:
            return f"Trained for {self.minutes:.0f} minutes ({self.step} steps)."
        if self.state == FAILED:
            return f"Training failed: {self.problem}"
        verb = "Training" if self.state == RUNNING else "Training is stopped"
        return f"{verb}: {of}, {time}."


def progress_path(name: str) -> Path:
    """Where the progress of a training is written."""
    return cache_dir() / "runs" / f"{name}.progress.json"


def read_progress(name: str) -> Progress | None:
    """The last progress of a training, None without any."""
    path = progress_path(name)
    if not path.exists():
        return None
    return Progress(**json.loads(path.read_text(encoding="utf-8")))


def report(name: str, progress: Progress) -> None:
    """Write the progress where the page and the terminal read it."""
    write_json(progress_path(name), asdict(progress))


def improve(folder: Path, prepared: Prepared, minutes: float, stop: Callable[[], bool]) -> Progress:
    """Train a checkpoint for some minutes, from its beginning or from where it was stopped.

    Parameters
    ----------
    stop
        Whether to stop now; asked after each optimiser step.

    Returns
    -------
    The progress: done, or stopped, from where the next call goes on.
    """
    name = prepared.dataset
    work = folder.with_name(f".{folder.name}.training")
    plan_path = cache_dir() / "runs" / f"{name}.plan.json"
    begun = plan_path.exists() and work.exists()
    plan = json.loads(plan_path.read_text(encoding="utf-8")) if begun else {}
    if plan.get("of") != read_manifest(folder)["hashes"] or plan.get("minutes") != minutes:
        plan = {"of": read_manifest(folder)["hashes"], "minutes": minutes, "steps": 0}
        with replacing(work) as copy:
            shutil.copytree(folder, copy)
    progress = Progress(RUNNING, planned=minutes)
    report(name, progress)
    run = Run.of_checkpoint(work, prepared)
    if plan["steps"]:
        _plan_steps(run, plan["steps"])
        run.resume()
    else:
        plan["steps"] = _steps_within(run, minutes, stop)
        write_json(plan_path, plan)
        run = Run.of_checkpoint(work, prepared, run.system)
        run.system.load_weights(work)
        _plan_steps(run, plan["steps"])
        run._check()
    began = time.monotonic() - run.seconds
    while run.step < plan["steps"]:
        run.recent.append(run.train_step())
        run.seconds = time.monotonic() - began
        whole = run.step % run.config.train.accumulate == 0
        progress = replace(
            progress, step=run.step, steps=plan["steps"], minutes=round(run.seconds / 60, 2)
        )
        if run.step % run.config.train.validate_every == 0 or run.step == plan["steps"]:
            run._check()
        if whole:
            report(name, progress)
        if whole and run.step % SAVE_EVERY == 0:
            run.save_state()
        if whole and stop():
            run.save_state()
            progress = replace(progress, state=STOPPED)
            report(name, progress)
            return progress
    run.finish("calibration")
    with replacing(folder) as new:
        shutil.copytree(work, new)
    shutil.rmtree(work)
    plan_path.unlink()
    run.state_path.unlink(missing_ok=True)
    progress = replace(progress, state=DONE)
    report(name, progress)
    return progress


def _steps_within(run: Run, minutes: float, stop: Callable[[], bool]) -> int:
    """How many steps fit, by the speed of the first ones."""
    began = time.monotonic()
    trial = 0
    while trial < TRIAL and not stop():
        run.train_step()
        trial += 1
    pace = (time.monotonic() - began) / max(trial, 1)
    steps = int(minutes * 60 * FOR_STEPS / pace)
    accumulate = run.config.train.accumulate
    return max(accumulate, steps // accumulate * accumulate)


def _plan_steps(run: Run, steps: int) -> None:
    """Set how long a run is; its checkpoint keeps the configuration of the data set."""
    every = max(run.config.train.accumulate, steps // LOOKS)
    train = run.config.train.model_copy(update={"steps": steps, "validate_every": every})
    run.config = run.config.model_copy(update={"train": train})
