"""Training in several processes: the same losses as one process, and how much faster.

    OMP_NUM_THREADS=1 python -m ckf_demo.lab.bench.processes --config assets/configs/ml-100k.toml \
        --steps 20 --processes 2 --json processes.json

Each run is started through ``accelerate launch`` and takes the same optimiser steps; it writes no
checkpoint. Runs of one process and of several alternate. A step's time goes from one optimiser step
to the next; loading, the collaborative models and the first step, which pays for lazy set-up, do
not count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.settings import applied
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import prepared_path, replacing, write_json
from ckf_demo.tasks.registry import TASKS
from ckf_demo.training.loop import Run
from ckf_demo.training.losses import weighted_sum

WARM = 1
"""Optimiser steps that are not timed."""


def follow(config_path: Path, steps: int, out: Path) -> None:
    """Take optimiser steps as one of the processes; the main one writes what it saw.

    ``{"processes", "losses", "seconds"}``: the weighted loss of each step, mean over its sequences,
    and the seconds that it took.
    """
    config = RunConfig.load(config_path)
    run = Run.prepare(
        config, applied(Prepared.load(prepared_path(config.data.dataset)), config.data)
    )
    losses, seconds = [], []
    for _ in range(steps):
        began = time.perf_counter()
        own = [run.train_step() for _ in range(config.train.accumulate)]
        seconds.append(time.perf_counter() - began)
        every = run.processes.gathered(own)
        found = [next(filter(None, step)) for step in zip(*every, strict=True)]
        losses.append(
            float(np.mean([weighted_sum({t: f.get(t, 0.0) for t in TASKS}) for f in found]))
        )
    if run.processes.main:
        with replacing(out) as temporary:
            record = {"processes": run.processes.count, "losses": losses, "seconds": seconds}
            temporary.write_text(json.dumps(record))
    run.processes.part()


def launcher(processes: int) -> list[str]:
    """The beginning of a command that starts so many processes on this machine.

    ``--multi_gpu`` hands over to torchrun, which starts processes on CPUs as well; without it
    accelerate starts one process on a CPU, whatever number is asked for.
    """
    several = ["--multi_gpu"] if processes > 1 else ["--cpu"]
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", *several),
        *("--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),
    ]


def environment() -> dict[str, str]:
    """What makes the processes compute on the CPU, with one thread each unless set otherwise."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "ACCELERATE_USE_CPU": "true"}


def launch(config_path: Path, steps: int, processes: int) -> dict:
    """`follow` in so many processes on this machine's CPU.

    Raises
    ------
    UserError
        When the run fails, its own message standing above, or has another number of processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.json"
        command = [
            *launcher(processes),
            *("-m", "ckf_demo.lab.bench.processes", "--config", str(config_path)),
            *("--steps", str(steps), "--follow", str(out)),
        ]
        done = subprocess.run(command, env=environment(), check=False)
        if done.returncode or not out.exists():
            raise UserError(f"The run with {processes} processes failed; see what it said above.")
        found = json.loads(out.read_text())
    if found["processes"] != processes:
        raise UserError(f"{found['processes']} processes came up, not {processes}.")
    return found


def measure(config_path: Path, steps: int, processes: int, rounds: int) -> dict:
    """Losses and times of one process and of several, in alternating rounds.

    Returns
    -------
    ``{"machine", "config", "processes", "one", "many", "largest_relative_difference", "speedup",
    "low", "high"}``: losses by step in ``one`` and ``many``; ``speedup`` is the median over rounds
    of the median step time of one process over that of several, ``low`` and ``high`` its range.
    """
    pairs = [[launch(config_path, steps, n) for n in (1, processes)] for _ in range(rounds)]
    one, many = (np.array(run["losses"]) for run in pairs[0])
    ratios = [
        float(np.median(a["seconds"][WARM:]) / np.median(b["seconds"][WARM:])) for a, b in pairs
    ]
    return {
        "machine": describe(torch.device("cpu")),
        "config": str(config_path),
        "processes": processes,
        "one": one.tolist(),
        "many": many.tolist(),
        "largest_relative_difference": float(np.max(np.abs(many - one) / np.abs(one))),
        "seconds_per_step": [
            float(np.median([np.median(pair[i]["seconds"][WARM:]) for pair in pairs]))
            for i in (0, 1)
        ],
        "speedup": float(np.median(ratios)),
        "low": min(ratios),
        "high": max(ratios),
    }


def show(result: dict, console: Console) -> None:
    """Both loss curves side by side, then the difference and the speed-up."""
    table = Table("step", "1 process", f"{result['processes']} processes", "relative difference")
    for step, (one, many) in enumerate(zip(result["one"], result["many"], strict=True), 1):
        table.add_row(str(step), f"{one:.6f}", f"{many:.6f}", f"{abs(many - one) / abs(one):.1e}")
    console.print(table)
    console.print(f"largest relative difference {result['largest_relative_difference']:.1e}")
    one, many = result["seconds_per_step"]
    console.print(
        f"seconds per optimiser step {one:.2f} and {many:.2f}: {result['speedup']:.2f} times "
        f"({result['low']:.2f}–{result['high']:.2f} over rounds)"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20, help="Optimiser steps.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    try:
        if asked.follow is not None:
            follow(asked.config, asked.steps, asked.follow)
            return
        result = measure(asked.config, asked.steps, asked.processes, asked.rounds)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    show(result, Console())
    write_json(asked.json, result)


if __name__ == "__main__":
    main()
