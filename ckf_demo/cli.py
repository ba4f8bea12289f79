"""The ``ckf`` command: demo, prepare, train, tune, evaluate, score, match, bench, methods, serve.

Every command ends with exit code 0, or with 2 and one line on stderr that says what to do. Heavy
modules are imported inside the commands, so that ``--help`` answers at once.
"""

import json
import logging
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import NO_ROOM, NOT_WRITABLE, cannot_write
from ckf_demo.serving.serve import CHECKPOINT, default_host

if TYPE_CHECKING:
    from ckf_demo.data.sources import Choices

app = typer.Typer(
    name="ckf",
    help="Collaborative knowledge fusion for multi-task recommendation with language models.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Split(StrEnum):
    """The part of the data that is evaluated."""

    valid = "valid"
    test = "test"


class Engine(StrEnum):
    """Where `ckf score` computes."""

    local = "local"
    ray = "ray"


Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Folder of a trained checkpoint.",
        show_default="checkpoints/ml-100k",
    ),
]


ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="user=NAME item=NAME …",
        help="Which columns hold what, where the names do not say; the first of them, and the "
        "others behind it. An empty name is for none: rating=",
    ),
]
MoreColumns = Annotated[list[str] | None, typer.Argument(hidden=True)]
ScaleOption = Annotated[
    str, typer.Option(metavar="LOW-HIGH", help="The lowest and the highest rating, such as 1-10.")
]
KindOption = Annotated[
    str,
    typer.Option(
        metavar="KIND", help="What the items are: films, books, products, places or items."
    ),
]
Host = Annotated[
    str,
    typer.Option(
        default_factory=default_host,
        show_default="127.0.0.1",
        envvar="GRADIO_SERVER_NAME",
        help="Address to listen on; 0.0.0.0 lets other machines connect.",
    ),
]
Port = Annotated[
    int, typer.Option(envvar="GRADIO_SERVER_PORT", min=1, max=65535, help="Port to listen on.")
]
NameOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the data set is called here.",
        show_default="the name of its format or folder",
    ),
]


@app.command()
def prepare(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Name of the format.", show_default="as the folder looks, or ml-100k without one"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder or table with raw data to import instead of fetching it."
        ),
    ] = None,
    name: NameOption = "",
    columns: ColumnsOption = None,
    more_columns: MoreColumns = None,
    scale: ScaleOption = "",
    kind: KindOption = "",
) -> None:
    """Fetch or import raw data into the DuckDB store, and convert the backbone.

    A second run changes nothing.

    **Example:** `ckf prepare --dataset ml-100k`
    """
    from ckf_demo.backbone.loading import BackboneConfig, check_backbone, prepare_backbone
    from ckf_demo.data.prepare import prepare as prepare_data

    choices = _choices(columns, more_columns, scale, kind)
    prepare_data(dataset, data, name=name, choices=choices)
    check_backbone(BackboneConfig().name)
    prepare_backbone(BackboneConfig().name)


def _choices(
    columns: list[str] | None, more_columns: list[str] | None, scale: str, kind: str
) -> "Choices | None":
    """What a user says of their table; None for nothing."""
    if more_columns and not columns:
        raise UserError(f"{more_columns[0]!r} is not understood; options begin with --.")
    if not (columns or scale or kind):
        return None
    from ckf_demo.data.sources.base import Choices
    from ckf_demo.data.sources.columns import KINDS, read_choices
    from ckf_demo.data.sources.scales import Scale

    if kind and kind not in KINDS:
        raise UserError(f"the kind {kind!r} is unknown; choose one of {', '.join(KINDS)}.")
    if scale:
        Scale.read(scale)
    return Choices(read_choices([*(columns or []), *(more_columns or [])]), scale, kind)


@app.command()
def train(
    config: Annotated[Path, typer.Option(metavar="FILE", help="Configuration of the run (TOML).")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the last run of this configuration.")
    ] = False,
    warm_start: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Start from the weights of this checkpoint."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="Train for one task only; saved as NAME-TASK."),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Run only one of the last stages, on weights that are trained already: ranking, "
            "wording or calibration.",
        ),
    ] = None,
) -> None:
    """Train fusion and adapters with a configuration.

    **Example:** `ckf train --config assets/configs/ml-100k.toml`
    """
    from ckf_demo.training.loop import train as run_training

    run_training(config, resume=resume, warm_start=warm_start, only=only, stage=stage)


@app.command()
def tune(
    config: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Configuration to search (TOML); repeatable."),
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Number of settings to try; the first is the file's own.")
    ] = 6,
    steps: Annotated[
        int, typer.Option(min=1, help="Number of packed sequences in each trial.")
    ] = 100,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all trials here.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed for drawing the settings.")
    ] = 0,
) -> None:
    """Search learning rates, dropout and other settings on the validation part.

    Every configuration gets the same budget, and its file is not changed. The same command
    continues an interrupted search.

    **Example:** `ckf tune --config assets/configs/ml-100k.toml --trials 6 --steps 100`
    """
    from ckf_demo.lab.tune import tune as run_search

    run_search(config, trials, steps, json_path, seed)


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a trained checkpoint.",
            show_default="the one for --data, or checkpoints/ml-100k",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with raw data, imported if it is new."),
    ] = None,
    split: Annotated[Split, typer.Option(help="Part of the data to measure on.")] = Split.test,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results here.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet",
            help="Write the predictions here, one row for each scored interaction.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Score about this many rows only, for a quick check.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Number of rows to score again with shorter histories.")
    ] = 2000,
    explanations: Annotated[
        int, typer.Option(min=0, help="Number of pairs of a user and an item to explain.")
    ] = 150,
    single_task: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Single-task checkpoint to compare with; repeatable."),
    ] = None,
    without_tokens: Annotated[
        bool, typer.Option(help="Also measure the checkpoint without its collaborative tokens.")
    ] = True,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help="Measure only this task and keep other results in --json; repeatable.",
        ),
    ] = None,
) -> None:
    """Measure a checkpoint and its baselines, with bootstrap intervals over users.

    **Example:** `ckf evaluate --checkpoint checkpoints/ml-100k --split test --json results.json`
    """
    from ckf_demo.evaluation.base import Settings
    from ckf_demo.evaluation.run import checkpoint_for
    from ckf_demo.evaluation.run import evaluate as run_evaluation

    only: dict[str, Any] = {"tasks": task} if task else {}
    settings = Settings(
        split=split.value,
        limit=limit,
        single_task=single_task or [],
        sample=sample,
        explanations=explanations,
        without_tokens=without_tokens,
        **only,
    )
    run_evaluation(
        checkpoint or checkpoint_for(data),
        settings,
        data_dir=data,
        json_path=json_path,
        predictions_path=predictions,
    )


@app.command()
def score(
    users: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="People: a text file with a user id a line; CSV, Parquet or JSON with a column "
            "`user`; or ratings and people as the page and `ckf match` write them.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="File to write the lists to.")],
    checkpoint: Checkpoint = CHECKPOINT,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of each list.")] = 10,
    engine: Annotated[Engine, typer.Option(help="Where to compute.")] = Engine.local,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of workers, with --engine ray.",
            show_default="as many as the cores allow",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each worker, with --engine ray.", show_default="2"),
    ] = None,
) -> None:
    """Write the top-k lists of many users to one Parquet file.

    The file appears when all lists are done. The same command continues a killed run.

    **Example:** `ckf score --users users.txt --k 10 --out top.parquet`
    """
    from ckf_demo.serving.batch_scoring import score as run_scoring

    run_scoring(checkpoint, users, k, out, engine.value, workers=workers, threads=threads)


@app.command(name="match")
def match_ratings(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A Letterboxd or IMDb export (zip or CSV), or a table or lines of title, year "
            "and rating.",
        ),
    ],
    checkpoint: Checkpoint = CHECKPOINT,
    scale: Annotated[
        int | None,
        typer.Option(help="Highest rating of the file: 5, 10 or 100.", show_default="recognised"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Write the person here, as `ckf score --users` reads it."
        ),
    ] = None,
    unmatched: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write the ratings that match nothing here."),
    ] = None,
) -> None:
    """Match your own ratings with the films of a data set.

    **Example:** `ckf match letterboxd.zip --out me.json`
    """
    from ckf_demo.serving.match_command import match

    match(file, checkpoint, scale, out, unmatched)


@app.command()
def bench(
    checkpoint: Checkpoint = CHECKPOINT,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.html", help="Draw how time grows with size here."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Measurement to run; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Number of alternating rounds.")] = 5,
    quantization: Annotated[
        str,
        typer.Option(
            help="Precision of the weights: auto (as this machine serves them), nf4, nf4-bf16, "
            "nf4-fp32 or bf16."
        ),
    ] = "auto",
    load: Annotated[
        bool,
        typer.Option("--load", help="Measure the served app under load from many clients instead."),
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=5, help="Duration for 16 clients, with --load; fewer clients get a fifth of it."
        ),
    ] = 300,
) -> None:
    """Measure speed as ratios to one prompt per question and to plain generation.

    **Example:** `ckf bench --only ranking --json speed.json`
    """
    if load:
        from ckf_demo.lab.bench.load import bench_load

        if only or plot_path is not None:
            raise UserError("--load goes with neither --only nor --plot; leave them out.")
        bench_load(checkpoint, seconds=seconds, quantization=quantization, json_path=json_path)
        return

    from ckf_demo.lab.bench.run import bench as run_bench

    run_bench(
        checkpoint,
        only=only or [],
        quantization=quantization,
        rounds=rounds,
        json_path=json_path,
        plot_path=plot_path,
    )


@app.command()
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List fusion methods, baselines and trained checkpoints.

    **Example:** `ckf methods --json`
    """
    from ckf_demo.baselines import BASELINES
    from ckf_demo.fusion.registry import METHODS
    from ckf_demo.model.manifest import trained_checkpoints
    from ckf_demo.tasks.registry import TASKS

    trained = trained_checkpoints(Path("checkpoints"))
    rows: list[dict[str, Any]] = [
        {
            "name": method.name,
            "kind": "fusion",
            "summary": method.summary,
            "tasks": list(TASKS),
            "needs": [method.needs],
            "label": method.label,
            "paper": method.paper,
            "trained": [t for t in trained if t["method"] == method.name],
        }
        for method in METHODS.values()
    ]
    rows += [
        {
            "name": baseline.name,
            "kind": "baseline",
            "summary": baseline.summary,
            "tasks": list(baseline.tasks),
            "needs": list(baseline.needs),
        }
        for baseline in BASELINES.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    for kind, title in (("fusion", "Fusion methods"), ("baseline", "Baselines")):
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, expand=True)
        table.add_column("Name", no_wrap=True)
        table.add_column("Tasks", ratio=2)
        table.add_column("Needs", ratio=2, min_width=13)
        table.add_column("What it does", ratio=4)
        for row in rows:
            if row["kind"] == kind:
                tasks, needs = ", ".join(row["tasks"]), ", ".join(row["needs"])
                table.add_row(row["name"], tasks, needs, row["summary"])
        Console().print(table)
    table = Table(title="Trained", title_justify="left", box=SIMPLE_HEAD, expand=True)
    for column in ("Checkpoint", "Method", "Tasks", "Trained parameters", "MB", "Minutes"):
        table.add_column(column, justify="left" if column in ("Checkpoint", "Tasks") else "right")
    for t in trained:
        count = "not noted" if t["parameters"] is None else f"{t['parameters']:,}"
        minutes = "" if t["minutes"] is None else f"{t['minutes']:g}"
        cells = t["checkpoint"], t["method"], ", ".join(t["tasks"]), count
        table.add_row(*cells, f"{t['megabytes']:g}", minutes)
    Console().print(table)


@app.command()
def demo(
    host: Host,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder or table with your interactions."),
    ] = None,
    name: NameOption = "",
    dataset: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Name of the format.", show_default="as it looks"),
    ] = None,
    columns: ColumnsOption = None,
    more_columns: MoreColumns = None,
    scale: ScaleOption = "",
    kind: KindOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the checkpoint.", show_default="the user's cache"
        ),
    ] = None,
    port: Port = 7860,
    train: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", min=0, help="Train in the background for so long while it is served."
        ),
    ] = 0,
    only_make: Annotated[
        bool, typer.Option("--no-serve", help="Make the checkpoint and do not serve it.")
    ] = False,
) -> None:
    """Import your interactions, make a checkpoint for them in minutes, and serve it.

    The adapters and the fusion of a shipped checkpoint are carried over; tables, prior and
    calibration are fitted on your data. The same command goes on where it was interrupted.

    **Example:** `ckf demo --data ratings/ --name mine`
    """
    from ckf_demo.serving.own_data import make
    from ckf_demo.serving.serve import check_address, others_beside
    from ckf_demo.serving.serve import serve as run_server

    if data is None and dataset is None:
        raise UserError(
            "name your interactions with --data, or a format that is fetched: --dataset"
        )
    if not only_make:
        check_address(host, port)
    choices = _choices(columns, more_columns, scale, kind)
    folder = make(data, name, choices, dataset=dataset, folder=out)
    if not only_make:
        training = None
        if train:
            from ckf_demo.model.manifest import read_manifest
            from ckf_demo.serving.background import BackgroundTraining

            training = BackgroundTraining(folder, read_manifest(folder)["dataset"], train)
        beside = [CHECKPOINT, *others_beside(CHECKPOINT, folder)]
        run_server(host, port, [folder, *beside], training=training)


@app.command(hidden=True)
def improve(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the checkpoint.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")],
) -> None:
    """Train a checkpoint of own data further, as `ckf demo --train` does in the background."""
    from ckf_demo.serving.background import train_in_process

    train_in_process(folder, minutes)


@app.command()
def serve(
    host: Host,
    port: Port = 7860,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            show_default="checkpoints/ml-100k and those beside it with prepared data",
            help="Trained checkpoint; repeatable. The first is served at the root, each other one "
            "below it, at the name of its folder.",
        ),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            envvar="CKF_QUANTIZATION",
            show_default="auto",
            help="Precision of the weights: auto (the fastest of nf4, nf4-bf16 and nf4-fp32 on "
            "this machine), one of these, or bf16.",
        ),
    ] = None,
) -> None:
    """Serve the web app; missing data and weights are prepared first.

    **Example:** `ckf serve --port 8000`
    """
    from ckf_demo.serving.serve import serve as run_server

    run_server(host, port, checkpoint or (), quantization)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ``arguments`` default to those of the process, and to --help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _quiet_libraries()
    try:
        code = app(args=arguments or ["--help"], prog_name="ckf", standalone_mode=False)
    except UserError as error:
        print(f"ckf: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in NO_ROOM | NOT_WRITABLE:
            raise
        place = Path(error.filename or "a file")
        print(f"ckf: {cannot_write(place, error.strerror)}", file=sys.stderr)
        sys.exit(2)
    except TyperException as error:
        print(f"ckf: {error.format_message()} See ckf --help.", file=sys.stderr)
        sys.exit(2)
    sys.exit(code or 0)


def _quiet_libraries() -> None:
    """Hide warnings of libraries about their own future and options."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
