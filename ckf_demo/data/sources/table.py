"""One table of interactions by anyone, with an optional one of items and of users.

The folder may hold CSV, Parquet or JSON lines, plain or gzipped. A table is recognised by its
columns: interactions have a user and an item, items have an item and a title or the like, users a
user and an age or the like. What was understood is reported, and `Choices` say otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ckf_demo.data.sources import columns as meanings
from ckf_demo.data.sources.base import BROKEN, FILMS, Choices, RawData, Source
from ckf_demo.data.sources.columns import ITEM, RATING, TEXT, TIME, TITLE, USER, YEAR
from ckf_demo.data.sources.item_facts import FACTS_FILE
from ckf_demo.data.sources.moments import read_moments
from ckf_demo.data.sources.names import names_from_reviews
from ckf_demo.data.sources.numbers import as_ids, as_numbers
from ckf_demo.data.sources.plain_text import plain, unmarked
from ckf_demo.data.sources.scales import Scale, read_ratings
from ckf_demo.data.sources.tables import Table, is_table, read_any
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.data.splits import FIT_SHARE
from ckf_demo.runtime.errors import UserError

NEEDED = "a user and an item in each row, and, where known, rating, time, text and title"
OTHERWISE = "Say otherwise with --columns user=NAME item=NAME rating=NAME time=NAME"
NO_GENRES = "(no genres listed)"
SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Understood:
    """A table and the names of its columns by what they hold."""

    table: Table
    columns: dict[str, str]

    @property
    def name(self) -> str:
        return self.table.path.name

    def column(self, meaning: str) -> pd.Series:
        """The column of a meaning."""
        return self.table.frame[self.columns[meaning]]

    def __str__(self) -> str:
        """Such as ``ratings.csv (CSV, 6 rows): user = User, item = Item``."""
        held = ", ".join(f"{meaning} = {name}" for meaning, name in self.columns.items())
        none = "" if self.table.has_header else ", columns without names"
        return f"{self.name} ({self.table.form}, {len(self.table.frame):,} rows{none}): {held}."


def read(folder: Path, choices: Choices | None = None) -> RawData:
    """Read the tables in a folder, or a table with those beside it.

    Raises
    ------
    UserError
        When there is no table of interactions or more than one, a chosen column is missing, or
        half of the rows cannot be used.
    """
    choices = choices or Choices()
    folder = Path(folder)
    paths = _tables(folder)
    if not paths:
        raise UserError(f"{folder} holds no table; it must hold one with {NEEDED}")
    understood = [_understand(path, choices) for path in paths]
    held = {name for each in understood for name in each.table.frame.columns}
    if unknown := [name for name in choices.columns.values() if name and name not in held]:
        raise UserError(f"no table in {folder} has a column {unknown[0]!r}; {_held(understood)}")
    rows = _interactions(folder, understood)
    things = [u for u in understood if u is not rows and _describes(u, ITEM)]
    people = [u for u in understood if u is not rows and _describes(u, USER)]
    used = (rows, *things[:1], *people[:1])
    unused = [u.name for u in understood if u not in used]
    notes = [f"Not used: {', '.join(unused)}."] if unused else []
    if choices == Choices():
        notes.append(f"{OTHERWISE}.")
    return assembled(*used[:1], things[:1], people[:1], choices, notes)


def assembled(
    rows: Understood,
    things: Sequence[Understood],
    people: Sequence[Understood],
    choices: Choices,
    notes: Sequence[str] = (),
) -> RawData:
    """Data of a table of interactions, and of one of items and of users where there are such.

    ``notes`` follow what is said of the tables. UserError when half of the rows cannot be used.
    """
    said = [*map(str, (rows, *things, *people)), *notes]
    table, feedback, more = _usable(rows, choices)
    kind = choices.kind or meanings.kind_of(rows.columns[ITEM])
    items, of_items = _items(table, rows, things[0] if things else None, kind)
    return RawData.from_tables(
        _users(table, people[0] if people else None),
        items,
        table,
        feedback=feedback,
        notes=[*said, *more, *of_items],
        domain=kind,
    )


def holds(folder: Path) -> bool:
    """Whether a folder has exactly one table of interactions whose columns say what they are."""
    found = 0
    for path in _tables(Path(folder)):
        try:
            found += _is_interactions(_understand(path, Choices()))
        except UserError:
            continue
    return found == 1


def _held(understood: Sequence[Understood]) -> str:
    """The columns of some tables, for messages."""
    return "; ".join(
        f"{each.name} has {', '.join(list(each.table.frame.columns)[:12])}"
        for each in understood[:3]
    )


def _tables(folder: Path) -> list[Path]:
    """The tables in a folder or in its only folder; a file comes first among those beside it."""
    if folder.is_file():
        beside = [path for path in _tables(folder.parent) if path != folder]
        return [folder, *beside]
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder and no file; name one that holds a table")
    paths = sorted(path for path in folder.iterdir() if is_table(path) and path.name != FACTS_FILE)
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return paths if paths or len(inner) != 1 else _tables(inner[0])


def _understand(path: Path, choices: Choices) -> Understood:
    table = read_any(path)
    names = list(table.frame.columns)
    columns = meanings.chosen(names, choices.columns) if table.has_header else {}
    if not table.has_header:
        columns = meanings.by_cells(table.frame) | {
            meaning: name for meaning, name in choices.columns.items() if name in names
        }
    return Understood(table, columns)


def _is_interactions(understood: Understood) -> bool:
    return USER in understood.columns and ITEM in understood.columns


def _describes(understood: Understood, owner: str) -> bool:
    """Whether a table is about items, or about users."""
    other = USER if owner == ITEM else ITEM
    return (
        owner in understood.columns
        and other not in understood.columns
        and len(understood.columns) > 1
    )


def _interactions(folder: Path, understood: Sequence[Understood]) -> Understood:
    """The one table of interactions; UserError when there is none, or several."""
    tables = [each for each in understood if _is_interactions(each)]
    if folder.is_file():
        tables = [each for each in tables if each.table.path == folder]
    if len(tables) > 1:
        first, second = tables[0].name, tables[1].name
        raise UserError(
            f"{folder} holds {len(tables)} tables of interactions, {first} and {second}; name one: "
            f"--data {folder / first}"
        )
    if not tables:
        raise UserError(
            f"no table in {folder} has columns for a user and an item ({_held(understood)}); say "
            "which they are with --columns user=NAME item=NAME"
        )
    return tables[0]


def _usable(rows: Understood, choices: Choices) -> tuple[pd.DataFrame, str, list[str]]:
    """Rows that can be used, with the columns of `RawData.interactions`.

    Returns
    -------
    The rows, the kind of feedback, and sentences about both.
    """
    notes = []
    if not len(rows.table.frame):
        raise UserError(f"{rows.table.path} has no rows; it must hold {NEEDED}")
    frame = pd.DataFrame(
        {"user": as_ids(rows.column(USER)), "item": as_ids(rows.column(ITEM))},
    )
    lacking = [("no user or no item", (frame["user"] == "") | (frame["item"] == ""))]
    feedback = "likes"
    frame["rating"] = 1.0
    if RATING in rows.columns:
        scale = Scale.read(choices.scale) if choices.scale else None
        understood = read_ratings(rows.column(RATING), scale)
        frame["rating"], feedback = understood.values, understood.kind
        notes.append(f"Ratings: {understood.said}.")
        lacking.append((understood.lacking, frame["rating"].isna()))
    else:
        notes.append("No column of ratings: a row says that something was chosen.")
    if TIME in rows.columns:
        frame["timestamp"], said = read_moments(rows.column(TIME))
        first = frame["timestamp"].dropna()
        notes.append(f"Times: {said}{_first(first)}.")
        lacking.append(("no time in seconds or as a date", frame["timestamp"].isna()))
    if TEXT in rows.columns:
        frame["text"] = [unmarked(text) for text in rows.column(TEXT)]
    frame, left_out = _without(rows, frame, lacking)
    notes += left_out
    if TIME not in rows.columns:
        frame, said = _numbered(frame)
        notes.append(said)
    names = ["user", "item", "rating", "timestamp", *(["text"] if TEXT in rows.columns else [])]
    return frame[names].astype({"timestamp": "int64"}), feedback, notes


def _first(moments: pd.Series) -> str:
    if not len(moments):
        return ""
    return f" (first row: {pd.Timestamp(int(moments.iloc[0]), unit='s'):%Y-%m-%d %H:%M:%S} UTC)"


def _without(
    rows: Understood, frame: pd.DataFrame, lacking: Sequence[tuple[str, pd.Series]]
) -> tuple[pd.DataFrame, list[str]]:
    """The rows that lack nothing, and a sentence on the others; UserError if half of them do."""
    reasons = Counter(rows.table.left_out)
    first: dict[str, int] = {}
    left = pd.Series(False, index=frame.index)
    start = 2 if rows.table.has_header else 1
    for reason, cells in lacking:
        new = cells & ~left
        if new.any():
            reasons[reason] += int(new.sum())
            first[reason] = int(new.idxmax()) + start
        left |= cells
    total = len(frame) + rows.table.left_out.total()
    if not reasons:
        return frame, []
    said = "; ".join(
        f"{n:,} with {reason}" + (f" (first: line {first[reason]})" if reason in first else "")
        for reason, n in reasons.most_common()
    )
    summary = f"{reasons.total():,} of {total:,} rows of {rows.name} cannot be used: {said}"
    if reasons.total() >= BROKEN * total:
        held = ", ".join(f"{meaning} = {name}" for meaning, name in rows.columns.items())
        raise UserError(f"{summary}. It was read with {held}. {OTHERWISE}")
    return frame[~left].reset_index(drop=True), [f"{summary}. They were left out."]


def _numbered(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows without times, with their number as time.

    Where a user's rows stand together, the last rows of the file are of few users, and a split
    there would part users and not moments; the rows are then shuffled.
    """
    changes = (frame["user"] != frame["user"].shift()).mean()
    users = frame["user"].nunique()
    said = "No column of times: the order of the rows stands for it."
    if changes < 0.5 and len(frame) > 2 * users:
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(frame))
        frame = frame.iloc[order].reset_index(drop=True)
        said = "No column of times, and rows are sorted by user: they were put in a random order."
    return frame.assign(timestamp=np.arange(len(frame))), said


def described_items(
    described: Understood, kind: str
) -> tuple[list[tuple[str, str, int | None, tuple[str, ...]]], list[str]]:
    """Rows of `RawData.items` for a table of items, and sentences on what was left out."""
    none = pd.DataFrame({"item": pd.Series([], dtype=object), "timestamp": []})
    frame, notes = _items(none, described, described, kind)
    years = [None if pd.isna(year) else int(year) for year in frame["year"]]
    return list(zip(frame["item"], frame["title"], years, frame["genres"], strict=True)), notes


def _items(
    table: pd.DataFrame, rows: Understood, described: Understood | None, kind: str
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of `RawData.items`: those that occur, and those that are described."""
    ids = list(dict.fromkeys(table["item"]))
    notes = []
    about = pd.DataFrame(index=pd.Index([], name="item"), columns=["title", "year", "genres"])
    for source in (described, rows):
        if source is not None and {TITLE, YEAR, meanings.GENRES} & source.columns.keys():
            more = _about(source, kind)
            about = more if not len(about) else about.combine_first(more)
    about = about[about.index != ""]
    if described is not None:
        listed = [item for item in as_ids(described.column(ITEM)) if item]
        unknown = len(set(ids) - set(listed))
        if unknown:
            notes.append(f"{unknown:,} items are not in {described.name}.")
        ids = list(dict.fromkeys([*listed, *ids]))
    titles = about["title"].reindex(ids).fillna("").to_dict()
    untitled = [item for item in ids if not titles[item]]
    if untitled and "text" in table and table["text"].any():
        fitted = table.sort_values("timestamp", kind="stable").head(int(FIT_SHARE * len(table)))
        titles |= names_from_reviews(untitled, list(fitted[["item", "text"]].itertuples(False)))
        notes.append(f"{len(untitled):,} of {len(ids):,} items have no title and were named.")
    elif untitled:
        titles |= {item: item for item in untitled}
        notes.append(
            f"{len(untitled):,} of {len(ids):,} items have no title, and are called by their ids."
        )
    genres = about["genres"].reindex(ids)
    frame = pd.DataFrame(
        {
            "item": ids,
            "title": [titles[item] for item in ids],
            "year": about["year"].reindex(ids).tolist(),
            "genres": [value if isinstance(value, tuple) else () for value in genres],
        },
        dtype=object,
    )
    return frame.assign(year=pd.to_numeric(frame["year"], errors="coerce")), notes


def _about(source: Understood, kind: str) -> pd.DataFrame:
    """Title, year and genres by item, of the first row of each; missing where there are none."""
    frame = source.table.frame
    about = pd.DataFrame({"item": as_ids(source.column(ITEM))})
    about["title"], about["year"], about["genres"] = "", np.nan, None
    first = ~about["item"].duplicated()
    about, frame = about[first].reset_index(drop=True), frame[first.to_numpy()]
    if TITLE in source.columns:
        given = [_text(t) for t in frame[source.columns[TITLE]]]
        split = [tidy_title(title) if kind == FILMS else (title, None) for title in given]
        about["title"] = [title for title, _ in split]
        about["year"] = [year for _, year in split]
    if YEAR in source.columns:
        text = frame[source.columns[YEAR]].astype(str).str.extract(r"\b(1[5-9]\d\d|20\d\d)\b")[0]
        years = as_numbers(text).reset_index(drop=True)
        about["year"] = years.fillna(pd.to_numeric(about["year"], errors="coerce"))
    if meanings.GENRES in source.columns:
        about["genres"] = [_names(cell) for cell in frame[source.columns[meanings.GENRES]]]
    about = about.replace({"title": {"": None}})
    return about.set_index("item")


def _text(cell: object) -> str:
    """A cell as text; empty where there is nothing."""
    return unmarked(cell) if isinstance(cell, str) else "" if cell != cell else plain(str(cell))


def _names(cell: object) -> tuple[str, ...]:
    """Genres in a cell: a list, or text with bars, semicolons or commas."""
    if isinstance(cell, list | tuple | np.ndarray):
        parts = [plain(str(part)) for part in cell]
    else:
        text = "" if cell is None or cell != cell else str(cell)
        text = text.strip("[]").replace("'", "") if text.startswith("[") else text
        mark = next((mark for mark in "|;," if mark in text), "|")
        parts = [unmarked(part) for part in text.split(mark)]
    return tuple(sorted({part for part in parts if part and part != NO_GENRES}))


def _users(table: pd.DataFrame, described: Understood | None) -> pd.DataFrame:
    """Rows of `RawData.users`, of those who occur."""
    users = pd.DataFrame({"user": list(dict.fromkeys(table["user"]))})
    users["age"], users["gender"], users["occupation"] = pd.NA, None, None
    if described is None:
        return users
    about = pd.DataFrame({"user": as_ids(described.column(USER))})
    for meaning in (meanings.AGE, meanings.GENDER, meanings.OCCUPATION):
        if meaning in described.columns:
            about[meaning] = described.column(meaning).to_numpy()
    about = about.drop_duplicates("user").set_index("user").reindex(users["user"])
    if meanings.AGE in about:
        ages = as_numbers(about[meanings.AGE])
        users["age"] = ages.where((ages > 0) & (ages < 150)).round().to_numpy()
    for meaning in (meanings.GENDER, meanings.OCCUPATION):
        if meaning in about:
            users[meaning] = [plain(str(v)) or None if v == v else None for v in about[meaning]]
    return users


SOURCE = Source(
    name="table",
    label="a table of interactions",
    files=f"a table (CSV, Parquet or JSON lines) with {NEEDED}",
    holds=holds,
    read=read,
    describe=read,
)
