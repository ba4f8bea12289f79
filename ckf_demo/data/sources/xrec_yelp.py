"""Yelp businesses in XRec's form: who went where, with an explanation for some of the pairs.

Interactions and explained pairs come in three parts each, ``train``, ``valid`` and ``test``. They
are implicit feedback: each counts as a like, and there is no rating and no dislike.

There are no dates. A row's number stands for its time: the interactions of a part, then its
explained pairs, one part after another. So "before" means in an earlier part, or further up in the
same one; within a part it says nothing of what a person did first.

Explained pairs are thus their users' last interactions in that part. The tables of interactions
must not hold them, and no pair may stand twice: a target would be in its own history. A business
has a title where an explanation names it, in whichever part, and an empty one otherwise. Summaries
of users and items may have been written from what is to be explained, and are not read.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from ckf_demo.data.sources.base import Line, RawData, Source, read_lines
from ckf_demo.data.sources.frames import read_parquet
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.errors import UserError

PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}
INTERACTIONS, EXPLANATIONS = "interactions-{}.parquet", "explanations-{}.jsonl"
LIKED = 1.0

UNTITLED = ""


def read(folder: Path) -> RawData:
    """Read the six files from a folder.

    Raises
    ------
    UserError
        When a file is missing, a table lacks a column, a line cannot be read, an item has two
        titles, or a pair stands twice.
    """
    missing = [name for name in _names() if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {missing[0]}; {SOURCE.label} is {SOURCE.files} in one folder"
        )
    titles: dict[int, str] = {}
    tables = []
    for part, split in PARTS.items():
        path = folder / INTERACTIONS.format(part)
        tables.append(_interactions(path).assign(split=split, file=path.name))
        path = folder / EXPLANATIONS.format(part)
        tables.append(_explained(path, titles).assign(split=split, file=path.name))
    rows = pd.concat(tables, ignore_index=True)
    twice = rows[rows.duplicated(["user", "item"])]
    if len(twice):
        user, item, _, name = twice.iloc[0]
        raise UserError(
            f"{folder / name}: user {user} and item {item} stand together a second "
            "time, so that the pair would be in its own history; keep one of them"
        )
    raw = RawData.from_rows(
        [(str(user), None, None, None) for user in dict.fromkeys(rows["user"])],
        [(str(item), titles.get(item, UNTITLED), None, ()) for item in dict.fromkeys(rows["item"])],
        [
            (str(user), str(item), LIKED, time)
            for time, (user, item) in enumerate(zip(rows["user"], rows["item"], strict=True))
        ],
        feedback="likes",
    )
    raw.interactions["split"] = rows["split"].to_numpy(np.int8)
    return raw


def _names() -> list[str]:
    return [form.format(part) for form in (INTERACTIONS, EXPLANATIONS) for part in PARTS]


def _interactions(path: Path) -> pd.DataFrame:
    """Columns ``user`` and ``item``, int64."""
    table = read_parquet(path)
    for column in ("user", "item"):
        if column not in table:
            raise UserError(
                f"{path} has no column {column!r}; it has {', '.join(map(str, table.columns))}"
            )
        if not pd.api.types.is_integer_dtype(table[column]) or table[column].hasnans:
            raise UserError(f"{path}: column {column!r} does not hold whole numbers; mend it")
    return table[["user", "item"]].astype("int64").reset_index(drop=True)


def _explained(path: Path, titles: dict[int, str]) -> pd.DataFrame:
    """The explained pairs, as `_interactions`; the titles of their items are added."""
    pairs = []
    # a line has no line end in it, so each is one field
    for line in read_lines(path, separator="\n", columns=1):
        user, item, title = _explanation(line)
        if titles.setdefault(item, title) != title:
            raise line.error(f"item {item} is called {title!r}, and {titles[item]!r} elsewhere")
        pairs.append((user, item))
    return pd.DataFrame(pairs, columns=["user", "item"], dtype="int64")


def _explanation(line: Line) -> tuple[int, int, str]:
    """User, item and title of a line."""
    try:
        found = json.loads(line[0])
    except (ValueError, RecursionError) as error:
        raise line.error(f"no JSON ({error})") from error
    if not isinstance(found, dict):
        raise line.error("no JSON object")
    for key in ("uid", "iid"):
        value = found.get(key)
        if type(value) is not int or not 0 <= value < 2**63:
            raise line.error(f"{key} {value!r} is not a whole number")
    title = found.get("title")
    plain = " ".join(unicodedata.normalize("NFC", title).split()) if isinstance(title, str) else ""
    if not plain:
        raise line.error("no title")
    return found["uid"], found["iid"], plain


SOURCE = Source(
    name="xrec-yelp",
    label="Yelp in XRec's form",
    files=f"{INTERACTIONS.format('*')} and {EXPLANATIONS.format('*')}, "
    "with train, valid and test for *",
    holds=lambda folder: all((folder / name).is_file() for name in _names()),
    read=read,
)
