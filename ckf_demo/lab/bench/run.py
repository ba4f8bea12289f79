"""The benchmark as a whole: which measurements there are, their table and their file."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ckf_demo.backbone.precision import AUTO, choose, measure
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore
from ckf_demo.inference.predictor import Predictor
from ckf_demo.lab.bench import (
    counterfactuals,
    generation,
    growth,
    llamacpp,
    methods,
    profile,
    ranking,
    training,
)
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import prepared_path, write_json
from ckf_demo.runtime.timing import Row

ROUNDS = 5
Measurement = Callable[["Bench"], Iterator[Row]]


class Bench:
    """What measurements share: the checkpoint in the precisions that they ask for.

    One system is held at a time, so that none is measured with another in memory.
    """

    def __init__(self, checkpoint: Path, quantization: str, rounds: int):
        manifest = read_manifest(checkpoint)
        self.backbone = manifest["backbone"]
        if quantization == AUTO:
            quantization = choose(self.backbone).chosen
        self.checkpoint, self.quantization, self.rounds = checkpoint, quantization, rounds
        self.prepared = Prepared.load(prepared_path(manifest["dataset"]))
        self._held: tuple[str, System] | None = None

    def system(self, quantization: str | None = None) -> System:
        """The checkpoint as it is served, or with other weights than those (`load_backbone`)."""
        name = quantization or self.quantization
        if self._held is None or self._held[0] != name:
            self._held = None
            gc.collect()
            self._held = name, System.load(self.checkpoint, self.prepared, quantization=name)
        return self._held[1]

    def recommender(self) -> Recommender:
        """The checkpoint as the app holds it, around the system as it is served."""
        system = self.system()
        store = InteractionStore.open(self.prepared.dataset)
        return Recommender(
            Predictor(system, store, read_manifest(self.checkpoint)), self.checkpoint
        )


def _ranking(bench: Bench) -> Iterator[Row]:
    yield from ranking.one_prompt_each(bench.system(), bench.rounds)


def _again(bench: Bench) -> Iterator[Row]:
    yield from ranking.asked_again(bench.recommender(), bench.rounds)


def _why(bench: Bench) -> Iterator[Row]:
    yield from counterfactuals.one_by_one(bench.recommender(), bench.rounds)


def _rate(bench: Bench) -> Iterator[Row]:
    yield from ranking.share_of_matrix_rate(bench.system(), bench.rounds)


def _generation(bench: Bench) -> Iterator[Row]:
    yield from generation.decode_vs_generate(bench.system(), bench.rounds)


def _folding(bench: Bench) -> Iterator[Row]:
    yield from generation.folded_adapters(bench.system(), bench.rounds)


def _llama_cpp(bench: Bench) -> Iterator[Row]:
    yield from llamacpp.decode_vs_llama_cpp(bench.system(), bench.rounds)


def _chunks(bench: Bench) -> Iterator[Row]:
    yield from ranking.chunks(bench.system(), bench.rounds)


def _profile(bench: Bench) -> Iterator[Row]:
    yield from profile.profile(bench.recommender(), bench.rounds)


def _precision(bench: Bench) -> Iterator[Row]:
    found = measure(bench.backbone)
    for name in found.seconds:
        key = name.replace("-", "_")
        yield Row.of(f"prompt_seconds_{key}", np.array([found.seconds[name]]), "s")
        yield Row.of(f"weights_megabytes_{key}", np.array([found.megabytes[name]]), "MB")


def _agreement(bench: Bench) -> Iterator[Row]:
    yield from ranking.agreement(bench.system())
    if bench.system().engine.dtype != torch.float32:
        yield from ranking.agreement(bench.system("nf4-fp32"))


def _training(bench: Bench) -> Iterator[Row]:
    system = training.trained_system(bench.checkpoint, bench.system())
    yield from training.one_prompt_each(system, bench.rounds)
    yield from training.adapter_dtypes(system, bench.rounds)


def _growth(bench: Bench) -> Iterator[Row]:
    yield from growth.growth(bench.system(), min(bench.rounds, growth.ROUNDS))


def _methods(bench: Bench) -> Iterator[Row]:
    systems = methods.load_all(bench.checkpoint, bench.prepared, bench.quantization)
    for folder in methods.siblings(bench.checkpoint):
        yield from methods.training_minutes(folder)
    yield from methods.answering(systems, bench.rounds)


MEASUREMENTS: dict[str, Measurement] = {
    "precision": _precision,
    "ranking": _ranking,
    "chunks": _chunks,
    "again": _again,
    "why": _why,
    "rate": _rate,
    "generation": _generation,
    "folding": _folding,
    "llama-cpp": _llama_cpp,
    "profile": _profile,
    "growth": _growth,
    "agreement": _agreement,
    "training": _training,
    "methods": _methods,
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
    names = list(only or MEASUREMENTS)
    if not only and not llamacpp.available():
        names.remove("llama-cpp")
        console.print("Not measured: llama-cpp; pip install -r requirements-bench.txt")
    for name in names:
        with console.status(f"Measuring {name} …"):
            for row in MEASUREMENTS[name](bench_):
                rows.append(row)
                console.print(_line(row))
        machine = describe(bench_.system().engine.device) | {"quantization": bench_.quantization}
        if json_path is not None:
            # after every measurement, so that an interruption loses no more than one
            payload = {
                "machine": machine,
                "checkpoint": checkpoint.name,
                "rounds": rounds,
                "rows": [vars(row) for row in rows],
            }
            write_json(json_path, payload)
    Console().print(_table(rows, machine))
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
