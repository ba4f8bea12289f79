"""Yelp, Google and Amazon in XRec's form: who liked what, with explanations for some of the pairs.

Interactions and explained pairs come in three parts each: training, validation and test. They are
implicit feedback: each counts as a like, and there is no rating and no dislike. Two forms are
read:

- the authors' own, ``total_trn.csv`` (columns ``user`` and ``item``) and ``trn.pkl`` (a pandas
  table with ``uid``, ``iid``, ``title``, ``explanation``), with ``val`` and ``tst`` for the other
  parts;
- ``interactions-train.parquet`` and ``explanations-train.jsonl`` (the same columns, one JSON object
  a line), with ``valid`` and ``test``.

Explained pairs that cannot be used are counted, reported and left out.

There are no dates. The number of a row is its time: the interactions of a part, then its explained
pairs, one part after another. So "before" means in an earlier part or further up in the same one,
and explained pairs are their users' last interactions in that part. An explained pair is removed
from the interactions, where the authors' tables may hold it: else a target would be in its own
history. Of other pairs that occur twice the last stays.

An item has a title if an explanation names it, in any part, and an empty one otherwise. The text of
an explained pair is its explanation. Summaries of users and items may have been written from what
is to be explained: they are kept separately, and nothing reads them by default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pandas as pd

from ckf_demo.data.sources.base import BOOKS, PLACES, RawData, Skipping, Source
from ckf_demo.data.sources.frames import read_table
from ckf_demo.data.sources.plain_text import plain
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError

SPLITS = (TRAIN, VALID, TEST)
PLAIN, AUTHORS = ("train", "valid", "test"), ("trn", "val", "tst")
FORMS = {
    PLAIN: ("interactions-{}.parquet", "explanations-{}.jsonl"),
    AUTHORS: ("total_{}.csv", "{}.pkl"),
}
"""Names of the parts, with the files of a part: interactions, then explained pairs."""
COLUMNS = ("uid", "iid", "title", "explanation")
SUMMARIES = ("user_summary", "item_summary")
EXPECTED = "uid and iid as whole numbers, a title and an explanation"
LIKED = 1.0


def read(folder: Path, domain: str = PLACES) -> RawData:
    """Read the six files from a folder; ``domain`` says what the items are.

    Raises UserError when a file is missing or of another kind, a table lacks a column, or an
    item has two titles.
    """
    parts = _form(folder)
    titles: dict[int, str] = {}
    about: dict[str, dict[str, str]] = {"item": {}, "user": {}}
    tables, notes = [], []
    for part, split in zip(parts, SPLITS, strict=True):
        pairs_name, explained_name = (form.format(part) for form in FORMS[parts])
        pairs = _interactions(folder / pairs_name)
        skipping = Skipping(folder / explained_name, EXPECTED)
        explained = _explained(folder / explained_name, skipping, titles, about)
        notes.append(skipping.note() if skipping.lines else "")
        tables.append(pairs.assign(text="", split=split, file=pairs_name))
        tables.append(explained.assign(split=split, file=explained_name))
    rows = _without_targets(pd.concat(tables, ignore_index=True), notes)
    raw = RawData.from_rows(
        [(str(user), None, None, None) for user in dict.fromkeys(rows["user"])],
        [(str(item), titles.get(item, ""), None, ()) for item in dict.fromkeys(rows["item"])],
        [
            (str(user), str(item), LIKED, time)
            for time, (user, item) in enumerate(zip(rows["user"], rows["item"], strict=True))
        ],
        feedback="likes",
        texts=rows["text"].tolist(),
        notes=notes,
        domain=domain,
        about_items=about["item"],
        about_users=about["user"],
    )
    kept = raw.interactions["source_row"].to_numpy()
    raw.interactions["split"] = rows["split"].to_numpy(np.int8)[kept]
    return raw


def _form(folder: Path) -> tuple[str, str, str]:
    """The names of the parts in a folder, by its form; UserError when no form is whole."""
    parts = min(FORMS, key=lambda parts: len(_lacking(folder, parts)))
    if lacking := _lacking(folder, parts):
        raise UserError(f"{folder} lacks {lacking[0]}; it must hold {FILES}")
    return parts


def _lacking(folder: Path, parts: tuple[str, str, str]) -> list[str]:
    names = [form.format(part) for form in FORMS[parts] for part in parts]
    return [name for name in names if not (folder / name).is_file()]


def _interactions(path: Path) -> pd.DataFrame:
    """Columns ``user`` and ``item``, int64."""
    table = read_table(path, ("user", "item"))
    for column in ("user", "item"):
        if path.suffix == ".csv":
            table[column] = pd.to_numeric(table[column], errors="coerce")
        if not pd.api.types.is_integer_dtype(table[column]) or table[column].hasnans:
            raise UserError(f"{path}: column {column!r} does not hold whole numbers; mend it")
    return table[["user", "item"]].astype("int64").reset_index(drop=True)


def _usable(number: object) -> TypeGuard[int]:
    return type(number) is int and 0 <= number < 2**63


def _explained(
    path: Path, skipping: Skipping, titles: dict[int, str], about: dict[str, dict[str, str]]
) -> pd.DataFrame:
    """Explained pairs: ``user`` and ``item`` int64, ``text`` str; their items' titles are added,
    and to ``about`` the first summary of each user and item."""
    rows = []
    for number, record in _records(path):
        skipping.lines += 1
        if record is None:
            skipping.leave(number, "no JSON object")
            continue
        user, item = record.get("uid"), record.get("iid")
        title, text = (plain(record.get(key)) for key in ("title", "explanation"))
        if not (_usable(user) and _usable(item)):
            skipping.leave(number, "no uid or no iid as a whole number")
        elif not title or not text:
            skipping.leave(number, "no title or no explanation")
        elif titles.setdefault(item, title) != title:
            raise UserError(
                f"{path}, line {number}: item {item} is called {title!r}, and "
                f"{titles[item]!r} elsewhere; use a fresh copy of the data set"
            )
        else:
            rows.append((user, item, text))
            for kind, owner in (("item", item), ("user", user)):
                if summary := plain(record.get(f"{kind}_summary")):
                    about[kind].setdefault(str(owner), summary)
    frame = pd.DataFrame(rows, columns=["user", "item", "text"])
    return frame.astype({"user": "int64", "item": "int64"})


def _records(path: Path) -> Iterator[tuple[int, dict | None]]:
    """Numbered records from 1, None for what is none."""
    if path.suffix == ".pkl":
        table = read_table(path, COLUMNS)
        kept = [column for column in (*COLUMNS, *SUMMARIES) if column in table]
        records: Iterable[dict] = table[kept].to_dict("records")
        yield from enumerate(records, start=1)
        return
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); use a complete copy of it") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _json(line)


def _json(line: str) -> dict | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _without_targets(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Without the interactions that are also explained pairs."""
    explained = pd.MultiIndex.from_frame(rows.loc[rows["text"] != "", ["user", "item"]])
    again = pd.MultiIndex.from_frame(rows[["user", "item"]]).isin(explained) & (rows["text"] == "")
    if again.any():
        notes.append(f"{again.sum():,} explained pairs were taken out of the interactions.")
    return rows[~again].reset_index(drop=True)


FILES = "; or ".join(
    f"{pairs.format('*')} and {explained.format('*')}, with {', '.join(parts)} for *"
    for parts, (pairs, explained) in FORMS.items()
)


def _source(name: str, label: str, domain: str) -> Source:
    def holds(folder: Path) -> bool:
        return not all(_lacking(folder, parts) for parts in FORMS)

    return Source(name, label, FILES, holds, partial(read, domain=domain))


YELP = _source("xrec-yelp", "Yelp in XRec's form", PLACES)
GOOGLE = _source("xrec-google", "Google reviews in XRec's form", PLACES)
AMAZON = _source("xrec-amazon", "Amazon books in XRec's form", BOOKS)
