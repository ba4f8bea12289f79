"""`ckf demo`: from a folder of interactions to a served checkpoint, in a few minutes.

    ckf demo --data DIR --name mine

Each step leaves a file in the user's cache, so the same command goes on where it was interrupted,
and a second run starts the page at once. What is trained later in the background goes into the same
checkpoint (`ckf_demo.serving.background`).
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import Choices
from ckf_demo.data.splits import TEST, VALID
from ckf_demo.model.manifest import MANIFEST, borrowed_changed, read_manifest, verify_files
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, exclusive, prepared_path, store_path, write_json

LEAST_ROWS, LEAST_USERS, LEAST_ITEMS = 200, 5, 5
"""What a data set must have, so that each part has something to learn from or to measure on."""
MEASURED = 300
"""Rows of the test part on which the language model is measured."""
QUICK = ("item mean", "bias folded in", "biased MF", "item k-NN")
"""Baselines that are fitted in seconds."""
STAGES = ("prior", "calibration")
RESULTS = "results.json"


def own_folder(name: str) -> Path:
    """The checkpoint of a data set of the user's own."""
    return cache_dir() / "checkpoints" / name


def own_checkpoints() -> list[Path]:
    """All finished checkpoints of the user's own data, by name."""
    folders = sorted((cache_dir() / "checkpoints").glob(f"*/{MANIFEST}"))
    return [
        path.parent
        for path in folders
        if (path.parent / RESULTS).exists() and not path.parent.name.startswith(".")
    ]


def make(
    data: Path | None,
    name: str = "",
    choices: Choices | None = None,
    *,
    dataset: str | None = None,
    folder: Path | None = None,
) -> Path:
    """Import data and make a checkpoint for them, as far as both are not there; its folder.

    Parameters
    ----------
    data, name, choices, dataset
        As `ckf_demo.data.prepare.prepare` takes them.
    folder
        Where the checkpoint goes, by default `own_folder`.

    Raises
    ------
    UserError
        When the data cannot be read or are too few.
    """
    began = time.monotonic()
    step("Reading the data")
    name = _imported(dataset, data, name, choices)
    prepared = Prepared.load(prepared_path(name))
    check_size(prepared)
    folder = folder or own_folder(name)
    with exclusive(cache_dir() / "checkpoints" / f".{name}.lock", lambda: _busy(name)):
        _forget_other_data(folder, prepared)
        _fit(folder, prepared)
        measure(folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    step(
        f"{name} is ready after {time.monotonic() - began:.0f} s ({used.ru_utime:.0f} s of CPU, "
        f"{used.ru_maxrss / 1e6:.1f} GB)"
    )
    return folder


def _imported(dataset: str | None, data: Path | None, name: str, choices: Choices | None) -> str:
    """Import data unless the same files were imported in the same way before; their name."""
    wanted = [dataset, name, asdict(choices or Choices()), _files(data)]
    digest = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]
    record = cache_dir() / "imports" / f"{digest}.json"
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))["name"]
        if _is_imported(known, digest):
            return known
    name = prepare(dataset, data, name=name, choices=choices, as_ratings=True).stem
    write_json(record, {"name": name})
    write_json(_current(name), {"import": digest, "hash": Prepared.load(prepared_path(name)).hash})
    return name


def _current(name: str) -> Path:
    """The note of which import a data set is from."""
    return prepared_path(name).with_suffix(".import.json")


def _is_imported(name: str, digest: str) -> bool:
    """Whether a data set is there as an import left it."""
    if not all(path.exists() for path in (_current(name), prepared_path(name), store_path(name))):
        return False
    note = json.loads(_current(name).read_text(encoding="utf-8"))
    try:
        return note == {"import": digest, "hash": Prepared.load(prepared_path(name)).hash}
    except UserError:
        return False


def _files(data: Path | None) -> list[list]:
    """Paths, sizes and times of the raw files, which tell whether they have changed."""
    if data is None:
        return []
    data = Path(data).resolve()
    paths = sorted((data.parent if data.is_file() else data).rglob("*"))
    stats = [(str(path), path.stat()) for path in paths if path.is_file()]
    return [[str(data)], *([path, stat.st_size, stat.st_mtime_ns] for path, stat in stats)]


def _busy(name: str) -> None:
    step(f"Waiting for another run that makes {name}")


def step(line: str) -> None:
    """Print a step at once, also into a pipe or a log."""
    print(line, flush=True)


def check_size(prepared: Prepared) -> None:
    """Raise a UserError for data that are too few to learn from and to measure on."""
    counts = len(prepared.user), prepared.n_users, prepared.n_items
    least = LEAST_ROWS, LEAST_USERS, LEAST_ITEMS
    names = "interactions", "users", "items"
    for count, needed, of in zip(counts, least, names, strict=True):
        if count < needed:
            raise UserError(
                f"'{prepared.dataset}' has {count:,} {of}; at least {needed} are needed to learn "
                "from a part and to measure on the rest"
            )
    for part, of in ((VALID, "validation"), (TEST, "test")):
        rows = prepared.rows(split=part)
        likes = prepared.liked[rows]
        if not prepared.positive_only and (not len(rows) or likes.all() or not likes.any()):
            raise UserError(
                f"the {of} part of '{prepared.dataset}' has no two kinds of ratings (likes are "
                f"those of {prepared.liked_from:g} stars or more), so nothing can be measured on "
                "it; give more data, or another scale with --scale"
            )


def _forget_other_data(folder: Path, prepared: Prepared) -> None:
    """Remove a checkpoint of earlier data, or one that cannot be used."""
    if not folder.exists():
        return
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        if manifest["hashes"]["prepared"] != prepared.training_hash:
            step("The data have changed, so the checkpoint is made again")
        elif borrowed_changed(folder, manifest):
            step("The adapters that it carries have changed, so the checkpoint is made again")
        else:
            return
    except UserError as error:
        step(f"The checkpoint is made again: {error}")
    shutil.rmtree(folder)


def _fit(folder: Path, prepared: Prepared) -> None:
    """Carry weights over and run the stages that have not run."""
    done = read_manifest(folder)["stages"] if folder.exists() else {}
    if all(stage in done for stage in STAGES):
        return
    step("Loading libraries")
    from ckf_demo.backbone.loading import prepare_backbone
    from ckf_demo.training.carrying import begin, carried_config, carried_system, nearest
    from ckf_demo.training.loop import Run

    source = nearest(prepared)
    config = carried_config(source, prepared.dataset)
    prepare_backbone(config.backbone.name)
    if not folder.exists():
        step("Fitting collaborative tables")
        system, alignment = carried_system(config, prepared, source)
        begin(system, folder, source, alignment)
        step(f"Adapters and fusion come from {source.name}; axes are aligned by {alignment}")
    else:
        system = None
    run = Run.of_checkpoint(folder, prepared, system)
    for stage in STAGES:
        if stage not in done:
            step(f"Fitting the {stage}")
            run.finish(stage)


def measure(folder: Path, *, again: bool = False) -> None:
    """Measure the checkpoint beside baselines on a part of the test part, once or ``again``."""
    if (folder / RESULTS).exists() and not again:
        return
    step("Measuring beside baselines")
    from ckf_demo.evaluation.run import evaluate

    evaluate(folder, quick_settings(), json_path=folder / RESULTS)


def quick_settings():
    """What is measured in a minute or two."""
    from ckf_demo.evaluation.base import Settings

    return Settings(
        split="test",
        limit=MEASURED,
        sample=0,
        explanations=0,
        without_tokens=False,
        tasks=("rating", "ctr"),
        baselines=QUICK,
    )
