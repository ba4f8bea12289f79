"""The benchmark as a whole: which measurements there are, their table and their file."""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ckf_demo.bench import generation, growth, ranking, training
from ckf_demo.bench.machine import describe
from ckf_demo.bench.rounds import Row
from ckf_demo.data.prepared import Prepared
from ckf_demo.errors import UserError
from ckf_demo.paths import prepared_path, replacing
from ckf_demo.system import System, read_manifest

ROUNDS = 5
Measurement = Callable[["Bench"], Iterator[Row]]


class Bench:
    """What measurements share: the checkpoint in the precisions that they ask for.

    One system is held at a time, so that none is measured with another in memory.
    """

    def __init__(self, checkpoint: Path, quantization: str, rounds: int):
        self.checkpoint, self.quantization, self.rounds = checkpoint, quantization, rounds
        self.prepared = Prepared.load(prepared_path(read_manifest(checkpoint)["dataset"]))
        self._held: tuple[str, System] | None = None

    def system(self, quantization: str | None = None) -> System:
        """The checkpoint as it is served, or with other weights than those (`load_backbone`)."""
        name = quantization or self.quantization
        if self._held is None or self._held[0] != name:
            self._held = None
            gc.collect()
            self._held = name, System.load(self.checkpoint, self.prepared, quantization=name)
        return self._held[1]


def _ranking(bench: Bench) -> Iterator[Row]:
    yield from ranking.one_prompt_each(bench.system(), bench.rounds)


def _again(bench: Bench) -> Iterator[Row]:
    yield from ranking.asked_again(bench.system(), bench.rounds)


def _rate(bench: Bench) -> Iterator[Row]:
    yield from ranking.share_of_matrix_rate(bench.system(), bench.rounds)


def _generation(bench: Bench) -> Iterator[Row]:
    yield from generation.decode_vs_generate(bench.system(), bench.rounds)


def _agreement(bench: Bench) -> Iterator[Row]:
    yield from ranking.agreement(bench.system())
    yield from ranking.agreement(bench.system("nf4-fp32"))


def _training(bench: Bench) -> Iterator[Row]:
    system = training.trained_system(bench.checkpoint, bench.system())
    yield from training.one_prompt_each(system, bench.rounds)


def _growth(bench: Bench) -> Iterator[Row]:
    yield from growth.growth(bench.system(), bench.rounds)


MEASUREMENTS: dict[str, Measurement] = {
    "ranking": _ranking,
    "again": _again,
    "rate": _rate,
    "generation": _generation,
    "growth": _growth,
    "agreement": _agreement,
    "training": _training,
}


def bench(
    checkpoint: Path,
    *,
    only: list[str],
    quantization: str,
    rounds: int = ROUNDS,
    json_path: Path | None = None,
    plot_path: Path | None = None,
) -> list[Row]:
    """Measure, print a table, and write figures and plots if asked to.

    Parameters
    ----------
    json_path
        For ``{"machine", "checkpoint", "rounds", "rows": [{"name", "value", "low", "high",
        "unit"}]}``.
    plot_path
        For a page with the curves of ``growth``.

    Raises
    ------
    UserError
        When ``only`` names a measurement that there is not, or leaves out what is to be plotted.
    """
    unknown = [name for name in only if name not in MEASUREMENTS]
    if unknown:
        raise UserError(f"No measurement '{unknown[0]}'; choose among {', '.join(MEASUREMENTS)}.")
    if plot_path is not None and only and "growth" not in only:
        raise UserError("The plots show growth; add --only growth, or leave --only out.")
    console = Console(stderr=True)
    bench_ = Bench(checkpoint, quantization, rounds)
    rows: list[Row] = []
    for name in only or MEASUREMENTS:
        with console.status(f"Measuring {name} …"):
            for row in MEASUREMENTS[name](bench_):
                rows.append(row)
                console.print(_line(row))
    machine = describe(bench_.system().engine.device) | {"quantization": quantization}
    Console().print(_table(rows, machine))
    if json_path is not None:
        payload = {
            "machine": machine,
            "checkpoint": checkpoint.name,
            "rounds": rounds,
            "rows": [vars(row) for row in rows],
        }
        with replacing(json_path) as temporary:
            temporary.write_text(json.dumps(payload, indent=1) + "\n")
    if plot_path is not None:
        growth.plots(rows, plot_path)
    return rows


def _line(row: Row) -> str:
    return f"{row.name}: {row.value:.4g} ({row.low:.4g} to {row.high:.4g}) {row.unit}"


def _table(rows: list[Row], machine: dict[str, object]) -> Table:
    title = f"{machine['processor']}, {machine['threads']} threads, {machine['quantization']}"
    table = Table("measurement", "median", "least", "greatest", "unit", title=title)
    for row in rows:
        figures = (f"{x:.4g}" for x in (row.value, row.low, row.high))
        table.add_row(row.name, *figures, row.unit)
    return table
