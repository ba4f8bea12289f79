"""How much each component of a checkpoint contributes, and joint against single-task training.

    python -m ckf_demo.lab.ablation --checkpoint checkpoints/ml-100k

The command removes one component at a time and measures the loss on packed validation sequences,
paired by sequence: of the pooled answers, and of the language model's own. With ``--single
checkpoints/ml-100k-rating`` (repeatable, trained by ``ckf train --only TASK``) it also compares the
joint checkpoint with single-task ones.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.data.prepared import Prepared
from ckf_demo.lab.commands import Json, one_line_errors
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import COMPLETE, Ablation, System
from ckf_demo.runtime.paths import prepared_path, write_json
from ckf_demo.training.losses import sequence_losses_of
from ckf_demo.training.sequences import (
    PackedSequence,
    Packer,
    co_liked_by_id,
    validation_sequences,
)

PARTS = {
    "shared adapter": Ablation(shared_adapter=False),
    "task adapter": Ablation(task_adapter=False),
    "user bridge": Ablation(user_bridge=False),
    "item bridge": Ablation(item_bridge=False),
    "collaborative tokens": Ablation(tokens=False),
    "collaborative prior": Ablation(prior=False),
    "tokens and prior": Ablation(tokens=False, prior=False),
}
POOLED, ALONE = "pooled", "language model alone"


def sequences_for(system: System, size: int) -> list[PackedSequence]:
    """The first ``size`` validation sequences, the same for every checkpoint of a configuration."""
    packer = Packer(
        system.prepared,
        system.config.train,
        system.config.prompt,
        system.knowledge,
        co_liked_by_id(system.prepared),
    )
    return validation_sequences(packer, size, text_only=not system.fusion.fuses)


def difference(other: np.ndarray, own: np.ndarray) -> tuple[float, float, float, int]:
    """Mean of ``other - own`` over sequences with its 95 % bootstrap interval and their number."""
    paired = (other - own)[~np.isnan(other - own)]
    interval = stats.bootstrap(
        (paired,), np.mean, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return float(paired.mean()), float(interval.low), float(interval.high), len(paired)


def measure(
    checkpoint: Path, single: list[Path], size: int, console: Console, *, parts: bool = True
) -> list[dict[str, object]]:
    """Rows ``{"answer", "what", "task", "loss", "change", "low", "high", "n"}``.

    ``answer`` is `POOLED` or `ALONE`; a change above zero means that the complete, joint checkpoint
    is better. Explanations have no prior, so their only answer is `POOLED`. Without ``parts``
    nothing is removed, and only ``single`` is compared.
    """
    prepared = Prepared.load(prepared_path(read_manifest(checkpoint)["dataset"]))
    system = System.load(checkpoint, prepared, quantization=dense_precision())
    sequences = sequences_for(system, size)
    pooled = {"": COMPLETE, **(PARTS if parts else {})}
    alone = {name: replace(s, prior=False) for name, s in pooled.items() if s.prior}
    losses = {
        (answer, name): sequence_losses_of(
            system,
            track(sequences, f"{answer}: {name or 'complete'}", console=console),
            ablation,
        )
        for answer, variants in ((POOLED, pooled), (ALONE, alone))
        for name, ablation in variants.items()
    }
    for folder in single:
        other = System.load(folder, prepared, quantization=dense_precision())
        for answer, ablation in ((POOLED, COMPLETE), (ALONE, replace(COMPLETE, prior=False))):
            losses[answer, f"joint training ({folder.name})"] = sequence_losses_of(
                other, track(sequences, f"{answer}: {folder.name}", console=console), ablation
            )
    rows: list[dict[str, object]] = []
    for (answer, name), by_task in losses.items():
        for task, values in by_task.items():
            if answer == ALONE and task == "explanation":
                continue
            row: dict[str, object] = {
                "answer": answer,
                "what": name or "nothing",
                "task": task,
                "loss": float(np.nanmean(values)),
            }
            if name:
                change, low, high, n = difference(values, losses[answer, ""][task])
                row |= {"change": change, "low": low, "high": high, "n": n}
            rows.append(row)
    return rows


def show(rows: list[dict[str, object]], console: Console) -> None:
    """Print the rows as a table."""
    table = Table("answer", "without", "task", "loss", "change", "95 % interval", "sequences")
    for row in rows:
        change = f"{row['change']:+.4f}" if "change" in row else ""
        interval = f"{row['low']:+.4f} … {row['high']:+.4f}" if "change" in row else ""
        table.add_row(
            str(row["answer"]),
            str(row["what"]),
            str(row["task"]),
            f"{row['loss']:.4f}",
            change,
            interval,
            str(row.get("n", "")),
        )
    console.print(table)


@one_line_errors
def main(
    checkpoint: Annotated[Path, typer.Option()] = Path("checkpoints/ml-100k"),
    single: Annotated[list[Path] | None, typer.Option()] = None,
    sequences: Annotated[int, typer.Option()] = 60,
    parts: Annotated[bool, typer.Option(help="Take parts away one at a time.")] = True,
    json_path: Json = None,
) -> None:
    """Losses with one part taken away at a time, and joint against single-task training."""
    console = Console()
    rows = measure(checkpoint, single or [], sequences, console, parts=parts)
    show(rows, console)
    write_json(json_path, rows)


if __name__ == "__main__":
    typer.run(main)
