"""AUC and UAUC of stored predictions for cold and warm items and users (CoRA's Figure 5).

    ckf evaluate --checkpoint checkpoints/ml-100k --split valid --predictions valid.parquet
    python -m ckf_demo.lab.popularity_strata valid.parquet --dataset ml-100k \\
        --json ckf_demo/lab/results/popularity-strata.json

The command reads what ``ckf evaluate --predictions`` wrote, so no model runs. Several files, of
several methods' evaluations on the same rows, are read as one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import BANDS, EvalInstances, item_tails
from ckf_demo.metrics.results import Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "warmth"
FEWEST_USERS = 5
"""Groups of fewer users are left out, since an interval over one or two says nothing."""

COLUMNS = ("user", "item", "label", "method", "score", "task")


def read_predictions(paths: Sequence[Path]) -> pd.DataFrame:
    """CTR predictions of all files, each (user, item, method) once, in the order of the files.

    Raises
    ------
    UserError
        When a file is missing, is no Parquet, or lacks a column or CTR rows.
    """
    parts = []
    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"{path} is not a file; write one with `ckf evaluate --predictions`.")
        try:
            frame = pd.read_parquet(path)
        except ValueError as error:
            raise UserError(f"{path} cannot be read as Parquet: {error}") from error
        missing = [name for name in COLUMNS if name not in frame]
        if missing:
            raise UserError(
                f"{path} has no column `{missing[0]}`; it has {', '.join(map(str, frame))}."
            )
        frame = frame[frame["task"] == "ctr"]
        if frame.empty:
            raise UserError(f"{path} holds no CTR predictions; evaluate a checkpoint that has CTR.")
        parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    # a pair that is in the data twice is identified by its turn within one file
    turn = [part.groupby(["method", "user", "item"]).cumcount().to_numpy() for part in parts]
    whole["turn"] = np.concatenate(turn)
    return whole.drop_duplicates(["method", "user", "item", "turn"], ignore_index=True)


def located(frame: pd.DataFrame, prepared: Prepared) -> np.ndarray:
    """The interaction of the data that each prediction is of, int64 (n,).

    Where a pair is in the data several times, its predictions are taken in time order from the
    last ones on, since evaluated parts are the later ones.

    Raises
    ------
    UserError
        When a prediction is of no interaction of the data, or its label is another.
    """
    interactions = pd.DataFrame({"user": prepared.user, "item": prepared.item})
    interactions["row"] = np.arange(len(interactions))
    later = interactions.groupby(["user", "item"]).cumcount(ascending=False)
    interactions["left"] = later
    users, items = (
        frame[column].astype(str).map(index)
        for column, index in (("user", prepared.user_index), ("item", prepared.item_index))
    )
    if users.isna().any() or items.isna().any():
        raise UserError(
            f"The predictions name users or items that '{prepared.dataset}' does not have; name "
            "the data that they were made on with --dataset."
        )
    predicted = pd.DataFrame({"user": users.astype(int), "item": items.astype(int)})
    predicted["method"] = frame["method"].to_numpy()
    predicted["left"] = predicted.groupby(["method", "user", "item"]).cumcount(ascending=False)
    matched = predicted.merge(interactions, how="left", on=["user", "item", "left"])["row"]
    if matched.isna().any():
        raise UserError(
            f"{int(matched.isna().sum())} predictions are of no interaction of "
            f"'{prepared.dataset}'; name the data that they were made on with --dataset."
        )
    rows = matched.to_numpy(dtype=np.int64)
    if not np.array_equal(prepared.liked[rows], frame["label"].to_numpy() == 1):
        raise UserError(
            f"The labels of the predictions are not those of '{prepared.dataset}'; name the data "
            "that they were made on with --dataset."
        )
    return rows


def warmth_groups(prepared: Prepared, users: np.ndarray, items: np.ndarray) -> dict:
    """Groups of rows by what the training part holds of their item and their person.

    Parameters
    ----------
    users, items : int arrays (n,)

    Returns
    -------
    dict of bool arrays (n,)
        ``all``; ``cold items`` and ``warm items`` (`item_tails` of the catalogue); ``items 0``,
        ``items 1-3``, … and ``users 0``, … by the number of training interactions; ``both known``
        and ``both new`` where item and person have some, or neither has any.
    """
    train = prepared.split == TRAIN
    of_user = np.bincount(prepared.user[train], minlength=prepared.n_users)[users]
    of_item = np.bincount(prepared.item[train], minlength=prepared.n_items)[items]
    cold, warm = item_tails(prepared)
    groups = {
        "all": np.ones(len(users), dtype=bool),
        "cold items": cold[items],
        "warm items": warm[items],
    }
    for kind, counts in (("items", of_item), ("users", of_user)):
        groups |= {f"{kind} {n}": (counts >= low) & (counts <= high) for n, low, high in BANDS}
    groups["both known"] = (of_user > 0) & (of_item > 0)
    groups["both new"] = (of_user == 0) & (of_item == 0)
    return groups


def measure(
    paths: Sequence[Path],
    dataset: str,
    against: str | None = None,
    methods: Sequence[str] = (),
    json_path: Path | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """CTR metrics of every method in every group of `FEWEST_USERS` people or more, and differences
    to one method.

    Parameters
    ----------
    against
        The method that the others are held beside; the first of the files unless named.
    methods
        Those to show; all of the files unless named.

    Returns
    -------
    ``{"analysis", "dataset", "against", "rows"}`` with rows as those of `Results`, differences
    named ``against - other``.

    Raises
    ------
    UserError
        As `read_predictions` and `located`; for a method that the files do not hold; or when
        methods were not measured on the same rows.
    """
    frame, prepared = read_predictions(paths), Prepared.load(prepared_path(dataset))
    available = list(dict.fromkeys(frame["method"]))
    against = against or (list(methods) or available)[0]
    shown = list(dict.fromkeys([against, *(methods or available)]))
    for name in shown:
        if name not in available:
            raise UserError(f"No predictions of '{name}'; there are {', '.join(available)}.")
    frame = frame[frame["method"].isin(shown)].reset_index(drop=True)
    frame["row"] = located(frame, prepared)
    table = frame.pivot(index="row", columns="method", values="score")
    if table.isna().to_numpy().any():
        sizes = ", ".join(f"{name} {int(table[name].notna().sum())}" for name in shown)
        raise UserError(
            f"The methods were not measured on the same rows ({sizes}); evaluate them with one "
            "--split and --limit."
        )
    cases = EvalInstances(prepared, table.index.to_numpy())
    groups = {
        name: mask
        for name, mask in warmth_groups(prepared, cases.users, cases.items).items()
        if len(np.unique(cases.users[mask])) >= FEWEST_USERS
    }
    results = Results(bootstrap.user_weights(cases.users, prepared.n_users, resamples, seed))
    for name in shown:
        results.add_scores(name, cases, groups, None, table[name].to_numpy(dtype=np.float64))
    for name in shown:
        if name != against:
            results.add_difference(against, name)
    document = {
        "analysis": ANALYSIS,
        "dataset": dataset,
        "against": against,
        "rows": results.rows,
    }
    write_json(json_path, document)
    return document


@one_line_errors
def main(
    predictions: Annotated[list[Path], typer.Argument(help="What --predictions wrote.")],
    dataset: Annotated[str, typer.Option(help="The data they were made on.")] = "ml-100k",
    against: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Held beside all others.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Shown; repeatable, all unless named.")
    ] = None,
    json_path: Json = None,
) -> None:
    """AUC and UAUC by how much the training part holds of items and people."""
    report.show(measure(predictions, dataset, against, method or (), json_path))


if __name__ == "__main__":
    typer.run(main)
