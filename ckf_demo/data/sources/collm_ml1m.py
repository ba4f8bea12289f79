"""MovieLens-1M in CoLLM's split, on which CoLLM, BinLLM, CoRA and others report.

Three tables, ``train``, ``valid`` and ``test`` (which may be missing), as Parquet or as the
authors' own pickles. A row is a user, an item and whether it was liked (4 stars or more). Its
history ``his`` holds the items that its user liked before, in (time, row) order, after a padding 0.
So histories hold no dislikes. Unlike elsewhere, they hold likes of the same second that are earlier
in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ckf_demo.data.sources.base import RawData, Source
from ckf_demo.data.sources.frames import read_table
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError

PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}
PARQUET, PICKLES = "{}.parquet", "{}_ood2.pkl"
COLUMNS = ("uid", "iid", "label", "timestamp", "his", "title")


def read(folder: Path) -> RawData:
    """Read the split from a folder.

    Raises UserError when the training or validation part is missing, a column is missing or of
    another type, or a history differs from the rows before it.
    """
    form = _form(folder)
    if form is None:
        raise UserError(f"{folder} holds no {SOURCE.label}; it must hold {SOURCE.files}")
    tables = []
    for part, split in PARTS.items():
        path = folder / form.format(part)
        if path.is_file():
            tables.append(_read_part(path).assign(split=split, path=path.name))
    rows = pd.concat(tables, ignore_index=True)
    _check_histories(rows)
    titles = rows.drop_duplicates("iid")
    items = [
        (str(item), *tidy_title(title), ())
        for item, title in zip(titles["iid"], titles["title"], strict=True)
    ]
    users = [(str(user), None, None, None) for user in dict.fromkeys(rows["uid"])]
    numbers = rows[["uid", "iid", "label", "timestamp"]].itertuples(index=False)
    interactions = [(str(u), str(i), float(label), t) for u, i, label, t in numbers]
    raw = RawData.from_rows(users, items, interactions, feedback="likes")
    kept = raw.interactions["source_row"].to_numpy()
    raw.interactions["split"] = rows["split"].to_numpy(np.int8)[kept]
    return raw


def _form(folder: Path) -> str | None:
    """The form in which a folder holds both needed parts; None if it does not hold them."""
    for form in (PARQUET, PICKLES):
        if all((folder / form.format(part)).is_file() for part in ("train", "valid")):
            return form
    return None


def _read_part(path: Path) -> pd.DataFrame:
    table = read_table(path, COLUMNS)[list(COLUMNS)].reset_index(drop=True)
    for column in ("uid", "iid", "label", "timestamp"):
        if not pd.api.types.is_integer_dtype(table[column]):
            raise UserError(f"{path}: column {column!r} does not hold whole numbers; mend it")
    wrong = table.index[~table["label"].isin((0, 1))]
    if len(wrong):
        value = table["label"][wrong[0]]
        raise UserError(f"{path}, row {wrong[0]}: label {value} is not 0 or 1; mend the row")
    return table


def _check_histories(rows: pd.DataFrame) -> None:
    """Raise unless every ``his`` holds the earlier likes of its user in (time, row) order."""
    liked: dict[int, list[int]] = {}
    in_order = rows.sort_values("timestamp", kind="stable")
    for row in cast(Iterator[Any], in_order.itertuples()):
        before = liked.setdefault(row.uid, [])
        given = [int(item) for item in row.his if item != 0]
        if given != before:
            raise UserError(
                f"{row.path}: the history of user {row.uid} at item {row.iid} holds {len(given)} "
                f"items where the rows before say {len(before)}; use a complete copy of the split"
            )
        if row.label:
            before.append(int(row.iid))


SOURCE = Source(
    name="collm-ml-1m",
    label="MovieLens-1M in CoLLM's split",
    files="train.parquet and valid.parquet (test.parquet may be missing), or "
    "train_ood2.pkl and valid_ood2.pkl",
    holds=lambda folder: _form(folder) is not None,
    read=read,
    dislikes=True,
)
