"""`evaluate`: measure a checkpoint and every baseline on the same rows with the same histories.

    ckf evaluate --checkpoint checkpoints/ml-100k --split test --json results.json

Data with ratings are measured by `ckf_demo.evaluation.ratings`, positive-only data by
`ckf_demo.evaluation.sampled_negatives`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ckf_demo.backbone.loading import dense_precision, prepare_backbone
from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import source, source_of
from ckf_demo.evaluation import ratings, report, sampled_negatives
from ckf_demo.evaluation.base import Settings, progress_bars
from ckf_demo.model.manifest import read_manifest
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, replacing, store_path, write_json


def evaluate(
    checkpoint: Path | str,
    settings: Settings | None = None,
    *,
    data_dir: Path | str | None = None,
    json_path: Path | str | None = None,
    predictions_path: Path | str | None = None,
) -> dict:
    """Measure a checkpoint, its text-only and single-task relatives, and all baselines.

    Answers of the language model are kept in the user's cache, so that a second run (or one after
    an interruption) goes on where the first one stopped.

    Parameters
    ----------
    data_dir
        Folder with the raw data that the checkpoint was trained on; where the data come with
        their split, it may hold a test part that was not known before.
    json_path, predictions_path
        Where the results and the scored rows are written, if anywhere. Results of tasks that are
        not measured now stay in ``json_path``.

    Returns
    -------
    ``{"dataset", "split", "checkpoint", "rows", "errors"}``: rows are `ResultRow`, with groups of
    `protocol.user_groups` and ``k=…`` for histories cut to the last k interactions; errors are
    those of `Predictions.worst`.

    Raises
    ------
    UserError
        When a checkpoint or data are missing or do not fit each other, or ``json_path`` holds
        damaged results.
    """
    settings = settings or Settings()
    # a damaged file is found before minutes are spent
    earlier = {} if json_path is None else _earlier(Path(json_path))
    checkpoint = Path(checkpoint)
    if data_dir is not None:
        manifest = read_manifest(checkpoint)
        _import(Path(data_dir), manifest["dataset"])
        prepare_backbone(manifest["backbone"])
    recommender = Recommender.load(checkpoint, quantization=dense_precision())
    prepared = recommender.prepared
    protocol = sampled_negatives if prepared.positive_only else ratings
    with progress_bars() as progress:
        measured = protocol.measure(recommender, checkpoint, settings, progress)
    results = {
        "dataset": prepared.dataset,
        "split": settings.split,
        "checkpoint": checkpoint.as_posix(),
        "rows": measured.results.rows,
        "errors": measured.errors,
    }
    if not prepared.positive_only:
        _take_others(results, earlier, measured.tasks)
    write_json(json_path, results)
    if predictions_path is not None:
        with replacing(Path(predictions_path)) as temporary:
            measured.predictions.frame().to_parquet(temporary, index=False)
    report.show(results)
    return results


def _earlier(path: Path) -> dict:
    """The results at ``path``, empty without any; UserError when they are damaged."""
    try:
        results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if isinstance(results, dict):
            return results
        reason = "it holds no object"
    except ValueError as error:
        reason = str(error)
    raise UserError(
        f"{path}, whose results of other tasks should stay, is damaged ({reason}); remove it or "
        "name another file with --json."
    )


def _take_others(results: dict, earlier: dict, tasks: Sequence[str]) -> None:
    """Add earlier rows of the same checkpoint for other tasks; all in order of methods."""
    if any(earlier.get(key) != results[key] for key in ("dataset", "split", "checkpoint")):
        earlier = {"rows": []}
    rows = [r for r in earlier["rows"] if r["task"] not in tasks] + results["rows"]
    names = dict.fromkeys(row["method"] for row in earlier["rows"] + rows)
    order = {name: place for place, name in enumerate(names)}
    results["rows"] = sorted(rows, key=lambda row: order[row["method"]])
    kept = [error for error in earlier.get("errors", []) if error["task"] not in tasks]
    results["errors"] = kept + results["errors"]


def checkpoint_for(data_dir: Path | None) -> Path:
    """The project's own checkpoint for the data in a folder, or the default one without any.

    UserError when the folder holds no known data, or data that no checkpoint was trained on.
    """
    if data_dir is None:
        return DEFAULT_CHECKPOINT
    return checkpoint_named(source_of(Path(data_dir)).name)


def checkpoint_named(dataset: str) -> Path:
    """The project's own checkpoint for a data set; UserError without one."""
    folder = DEFAULT_CHECKPOINT.with_name(dataset)
    if not folder.is_dir():
        raise UserError(
            f"There is no checkpoint for {source(dataset).label}; train one and name it with "
            "--checkpoint."
        )
    return folder


def _import(folder: Path, dataset: str) -> None:
    """Take the data in a folder, which must be a data set's; its test part may be new."""
    origin = source(dataset)
    if not origin.holds(folder):
        raise UserError(
            f"{folder} holds {source_of(folder).label}, and the checkpoint was trained on "
            f"{origin.label}; name a checkpoint for it with --checkpoint."
        )
    if not store_path(dataset).exists():
        prepare(dataset, folder)
        return
    given = Prepared.from_raw(origin.read(folder), dataset)
    if given.hash != Prepared.load(prepared_path(dataset)).hash:
        if not given.given_split:
            raise UserError(
                f"{folder} holds other interactions than were prepared for {origin.label}; train "
                "a checkpoint on it, or leave the data folder out."
            )
        prepare(dataset, folder)
