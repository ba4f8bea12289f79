"""The training of a served checkpoint in a process of its own, which can be stopped.

The process writes its progress to a file. A thread here reads it, prints it, and lets the served
recommender take over the new weights once the process is done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import LOGGER
from ckf_demo.runtime.subprocesses import end_with
from ckf_demo.training.improving import (
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    Progress,
    read_progress,
    report,
)

LOOK = 2.0
"""Seconds between two looks at the progress."""
LINES = 10
"""Lines about a training in the terminal, about."""


class Served(Protocol):
    """What takes over new weights, such as `Recommender`."""

    def take_over(self) -> bool: ...


class BackgroundTraining:
    """Trains the checkpoint in a folder for some minutes."""

    def __init__(self, folder: Path, name: str, minutes: float) -> None:
        self.folder, self.name, self.minutes = folder, name, minutes
        self._served: Served | None = None
        self._process: subprocess.Popen | None = None
        self._lock, self._over = Lock(), Event()
        self._said = ""

    def begin(self, served: Served) -> None:
        """Train for a page that is served now, and watch it until the process ends."""
        self._served = served
        self.go_on()
        Thread(target=self._watch, daemon=True, name="training").start()

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        running = self._process is not None and self._process.poll() is None
        progress = read_progress(self.name) or Progress(RUNNING, planned=self.minutes)
        if progress.state == RUNNING and not running:
            return replace(progress, state=FAILED, problem="its process has ended; press Go on")
        return progress

    @property
    def can_stop(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def go_on(self) -> None:
        """Start the process, from the last state if there is one; nothing while it runs."""
        with self._lock:
            if self.can_stop:
                return
            command = [sys.executable, "-m", "ckf_demo", "improve", "--folder", str(self.folder)]
            command += ["--minutes", f"{self.minutes:g}"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            last = read_progress(self.name) or Progress(RUNNING)
            report(self.name, replace(last, state=RUNNING, planned=self.minutes, problem=""))
            self._process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def stop(self) -> None:
        """Ask the process to save its state and end; nothing while it does not run."""
        with self._lock:
            if self.can_stop and self._process is not None:
                self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Stop watching and the process, since the server ends."""
        self._over.set()
        self.stop()

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            progress = self.progress
            self._say(progress)
            if progress.state != DONE or self.can_stop or self._served is None:
                continue
            try:
                if self._served.take_over():
                    print("The page answers with the trained weights now.", flush=True)
            except UserError as error:
                # the page answers with the weights that it has
                LOGGER.error("trained weights", exc_info=error)
                return

    def _say(self, progress: Progress) -> None:
        """Print a line when the state changes or a tenth of the steps is done."""
        tenth = progress.step * LINES // progress.steps if progress.steps else 0
        key = f"{progress.state} {tenth}"
        if key != self._said and (progress.steps or progress.state != RUNNING):
            print(progress, flush=True)
        self._said = key


def train_in_process(folder: Path, minutes: float) -> None:
    """What the process does: improve a checkpoint and measure it again.

    SIGTERM lets it save its state and end. The exit is clean then, too.
    """
    from ckf_demo.data.prepared import Prepared
    from ckf_demo.model.manifest import read_manifest
    from ckf_demo.runtime.paths import prepared_path
    from ckf_demo.serving.own_data import measure
    from ckf_demo.training.improving import improve

    end_with(os.getppid())
    # visitors' questions come first, so this gets what they leave
    os.nice(10)
    asked = Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepared = Prepared.load(prepared_path(read_manifest(folder)["dataset"]))
    if improve(folder, prepared, minutes, asked.is_set).state == STOPPED:
        return
    measure(folder, again=True)
