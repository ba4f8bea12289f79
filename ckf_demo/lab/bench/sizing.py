"""What one person costs in storage and in compute, for docs/performance.md.

    OMP_NUM_THREADS=1 python -m ckf_demo.lab.bench.sizing --checkpoint checkpoints/ml-100k \\
        --json ckf_demo/lab/results/sizing.json

Bytes follow from shapes and files. Times are medians over `PEOPLE` people, spread over history
lengths, in alternating rounds; low and high are the least and greatest round. They are seconds of
cores, not on the wall, so that they hold on a machine that does other things besides.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from ckf_demo.backbone.precision import choose
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import PairBatch
from ckf_demo.fusion.ckf import CKF
from ckf_demo.lab.bench.matrices import linear_shapes, token_operations
from ckf_demo.lab.bench.people import BenchPerson, people, prompt, questions
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import prepared_path, store_path, write_json
from ckf_demo.runtime.timing import Row, alternate

PEOPLE, ROUNDS = 6, 3
HUNDRED_MILLION = 100_000_000
FLOAT = 4


def one(name: str, value: float, unit: str) -> Row:
    return Row(name, float(value), float(value), float(value), unit)


def storage(system: System) -> Iterator[Row]:
    """Bytes that are kept, or could be, for one person or one interaction."""
    prepared, size = system.prepared, system.knowledge.size
    config = system.engine.model.config
    store = store_path(prepared.dataset)
    yield one("store_bytes_per_interaction", store.stat().st_size / len(prepared.user), "B")
    yield one("interactions_per_user", len(prepared.user) / prepared.n_users, "rows")
    yield one("embedding_dimension", size, "numbers")
    yield one("embedding_bytes_per_user", FLOAT * size, "B")
    yield one("bridges_bytes_per_user", FLOAT * 2 * size * size, "B")
    heads = config.num_key_value_heads * (config.hidden_size // config.num_attention_heads)
    per_token = 2 * config.num_hidden_layers * heads * system.engine.dtype.itemsize
    tokens = [len(prompt(system, person)) for person in people(system, PEOPLE)]
    yield Row.of("prefix_tokens", np.array(tokens, float), "tokens")
    yield one("prefix_cache_bytes_per_token", per_token, "B")
    yield one("prefix_cache_bytes_per_user", per_token * float(np.median(tokens)), "B")
    answer = 10 * (4 + FLOAT)
    yield one("answer_bytes_per_user", answer, "B")


def weights(system: System) -> Iterator[Row]:
    """Parameters, and operations that they cost per person: two for each weight and use."""
    fusion, shapes = system.fusion, linear_shapes(system.engine.model)
    assert isinstance(fusion, CKF)

    def count(*modules: torch.nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    metas = count(fusion.meta_user, fusion.meta_item)
    yield one("meta_network_parameters", metas, "weights")
    yield one("attention_parameters", count(fusion.attention), "weights")
    yield one("backbone_and_adapter_parameters", count(system.engine.model), "weights")
    yield one("meta_network_operations_per_user", 2 * metas, "FLOP")
    yield one("backbone_operations_per_token", token_operations(shapes), "FLOP")
    branch = []
    for person in people(system, PEOPLE):
        branches, _, _ = questions(system, person, "ranking", 0)
        branch.append(np.mean([len(b.ids) for b in branches]))
    yield Row.of("tokens_per_branch", np.array(branch), "tokens")


def bridged(system: System, person: BenchPerson) -> PairBatch:
    """One pair of a person, whose bridges are those of all their pairs."""
    return system.pairs(
        person.items, person.ratings, np.array([len(person.items)]), person.candidates[:1]
    )


@torch.inference_mode()
def times(system: System) -> Iterator[Row]:
    """Seconds of the parts of one ranking of `CANDIDATES` films, without what came before."""
    found = people(system, PEOPLE)
    texts = [prompt(system, person) for person in found]
    prefixes = [system.engine.prefill(ids) for ids in texts]
    asked = [
        questions(system, person, "ranking", len(ids))
        for person, ids in zip(found, texts, strict=True)
    ]
    single = [bridged(system, person) for person in found]

    def candidate_stage() -> None:
        for person in found:
            system.knowledge.candidate_scores(person.items, person.ratings)

    def fold() -> None:
        for person in found:
            bridged(system, person)

    def bridges() -> None:
        for pairs in single:
            system.fusion.bridges(pairs)

    def fused() -> None:
        for person, ids in zip(found, texts, strict=True):
            questions(system, person, "ranking", len(ids))

    def prefill() -> None:
        for ids in texts:
            system.engine.prefill(ids)

    def branches() -> None:
        for prefix, (rows, slots, _) in zip(prefixes, asked, strict=True):
            list(system.engine.score(prefix, rows, slots))

    ways = {
        "candidate_stage": candidate_stage,
        "fold_in_and_features_of_one_pair": fold,
        "attention_and_bridges": bridges,
        "fusion_of_all_pairs": fused,
        "prefill": prefill,
        "branches": branches,
    }
    taken = {
        name: seconds / PEOPLE
        for name, seconds in alternate(ways, ROUNDS, clock=time.process_time).items()
    }
    for name, seconds in taken.items():
        yield Row.of(f"seconds_{name}", seconds, "s")
    parts = ("candidate_stage", "fusion_of_all_pairs", "prefill", "branches")
    whole = sum(taken[name] for name in parts)
    yield Row.of("seconds_per_ranking", whole, "s")
    yield Row.of("bridges_share_of_ranking", taken["attention_and_bridges"] / whole, "share")


def training(manifest: dict) -> Iterator[Row]:
    """Core-seconds of one packed sequence, as the checkpoint's own manifest says of its run."""
    run = manifest["training"]
    if run.get("device") == "cpu":
        seconds = run["minutes"] * 60 * run["threads"] / run["steps"]
        yield one("training_core_seconds_per_sequence", seconds, "s")
    yield one("training_sequences", run["of"], "sequences")


def scaled(rows: list[Row], people: int) -> Iterator[Row]:
    """What so many people cost: each figure of one person times their number, nothing else.

    A day of top tens is one ranking for each; a core-hour is one thread's hour.
    """
    one_person = {row.name: row for row in rows}
    kept = {
        "store": ("store_bytes_per_interaction", "interactions_per_user"),
        "embeddings": ("embedding_bytes_per_user",),
        "bridges, if kept": ("bridges_bytes_per_user",),
        "prefix caches, if kept": ("prefix_cache_bytes_per_user",),
        "top tens": ("answer_bytes_per_user",),
    }
    for name, factors in kept.items():
        size = np.prod([one_person[factor].value for factor in factors])
        yield one(f"{people:,} people, {name}", size * people / 1e9, "GB")
    spent = {
        "a ranking each": "seconds_per_ranking",
        "candidate stage alone": "seconds_candidate_stage",
        "prefill": "seconds_prefill",
        "branches": "seconds_branches",
        "bridges computed anew": "seconds_attention_and_bridges",
    }
    for name, part in spent.items():
        found = one_person[part]
        hours = np.array([found.low, found.value, found.high]) * people / 3600
        yield Row(f"{people:,} people, {name}", hours[1], hours[0], hours[2], "core-hours")


def measure(checkpoint: Path) -> dict:
    """Rows of all of the above for a checkpoint of CKF."""
    manifest = read_manifest(checkpoint)
    prepared = Prepared.load(prepared_path(manifest["dataset"]))
    quantization = choose(manifest["backbone"]).chosen
    system = System.load(checkpoint, prepared, quantization=quantization)
    rows = [
        row
        for part in (storage(system), weights(system), times(system), training(manifest))
        for row in part
    ]
    rows += scaled(rows, HUNDRED_MILLION)
    return {
        "machine": describe(system.engine.device) | {"quantization": quantization},
        "rounds": ROUNDS,
        "checkpoint": manifest["name"],
        "candidates": CANDIDATES,
        "rows": [vars(row) for row in rows],
    }


def main(
    checkpoint: Annotated[Path, typer.Option(metavar="DIR")] = Path("checkpoints/ml-100k"),
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
) -> None:
    """Storage and compute of one person."""
    found = measure(checkpoint)
    table = Table("name", "value", "low", "high", "unit")
    for row in found["rows"]:
        numbers = [f"{row[key]:,.6g}" for key in ("value", "low", "high")]
        table.add_row(row["name"], *numbers, row["unit"])
    Console().print(table)
    write_json(json_path, found)


if __name__ == "__main__":
    typer.run(main)
