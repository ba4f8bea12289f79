"""Bulk scoring with Ray: two workers against one, and what a killed worker costs.

    python -m ckf_demo.lab.bench.scoring --users 40 --rounds 3 --json scoring.json

Both pools rank the same people, in turn, with one thread in each worker. A pool is started, its
workers load the checkpoint and rank for one person before the clock starts, so that neither the
start of Ray nor loading counts. In one further run of two workers, one is killed after the first
batch; it is checked that every person comes out once with the same films.
"""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from ckf_demo.backbone.precision import choose
from ckf_demo.data.store import InteractionStore
from ckf_demo.model.manifest import read_manifest
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import write_json
from ckf_demo.runtime.timing import Row
from ckf_demo.serving.batch_scoring import Ranker, in_batches
from ckf_demo.serving.workers import Workers

K = 10
Lists = list[tuple[str, str]]


def ranked(
    checkpoint: Path, users: list[str], warm: str, workers: int, *, kill: bool = False
) -> tuple[float, Lists, int]:
    """Seconds, (user, item) in order, and how many workers were started again."""
    batches = list(enumerate(in_batches(users)))
    quantization = choose(read_manifest(checkpoint)["backbone"]).chosen
    with Workers(Ranker, checkpoint, quantization, workers, threads=1) as pool:
        list(pool.ranked([(i, [warm]) for i in range(workers)], K))
        parts: dict[int, Lists] = {}
        began = time.perf_counter()
        for number, rows in pool.ranked(batches, K):
            parts[number] = [(str(row["user"]), str(row["item"])) for row in rows]
            if kill:
                os.kill(min(pool.processes), signal.SIGKILL)
                kill = False
        taken = time.perf_counter() - began
        return taken, [pair for number in sorted(parts) for pair in parts[number]], pool.restarts


def measure(checkpoint: Path, users: int, rounds: int) -> dict:
    """Rows ``score_two_workers_vs_one`` and ``score_with_a_kill_vs_without``, and what came out."""
    with InteractionStore.open(read_manifest(checkpoint)["dataset"]) as store:
        known = store.users()["user"].tolist()
    warm, chosen = known[0], known[1 : users + 1]
    seconds = {1: np.empty(rounds), 2: np.empty(rounds)}
    lists: dict[int, Lists] = {}
    for number in range(rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            seconds[workers][number], lists[workers], _ = ranked(checkpoint, chosen, warm, workers)
    with_kill, found, restarts = ranked(checkpoint, chosen, warm, 2, kill=True)
    rows = [
        Row.of("score_seconds_one_worker", seconds[1], "s"),
        Row.of("score_seconds_two_workers", seconds[2], "s"),
        Row.of("score_two_workers_vs_one", seconds[1] / seconds[2], "ratio"),
        Row.of("score_with_a_kill_vs_without", with_kill / seconds[2], "ratio"),
    ]
    return {
        "machine": describe(torch.device("cpu")),
        "users": len(chosen),
        "restarts": restarts,
        "same_lists_with_one_and_two": lists[1] == lists[2],
        "same_lists_after_a_kill": found == lists[2],
        "rows": [vars(row) for row in rows],
    }


def main(
    checkpoint: Annotated[Path, typer.Option(metavar="DIR")] = Path("checkpoints/ml-100k"),
    users: Annotated[int, typer.Option(min=2)] = 40,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
) -> None:
    """Two workers against one, and a run in which one is killed."""
    found = measure(checkpoint, users, rounds)
    console = Console()
    for row in found["rows"]:
        numbers = f"{row['value']:.3g} ({row['low']:.3g}–{row['high']:.3g})"
        console.print(f"{row['name']}: {numbers} {row['unit']}")
    for name in ("restarts", "same_lists_with_one_and_two", "same_lists_after_a_kill"):
        console.print(f"{name}: {found[name]}")
    write_json(json_path, found)


if __name__ == "__main__":
    typer.run(main)
