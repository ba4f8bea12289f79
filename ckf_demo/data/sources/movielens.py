"""MovieLens as it is distributed in newer sizes (latest, 25M): ``ratings.csv`` and ``movies.csv``.

Ratings go from half a star to five in steps of a half. There are no user attributes. Ids are whole
numbers. Users are in the order of their first rating in the file, films in that of ``movies.csv``.

The larger sizes have tens of millions of ratings. The store reads these itself (`Bulk`); only films
pass through Python.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ckf_demo.data.sources.base import MEND, Bulk, RawData, Source
from ckf_demo.data.sources.frames import read_table
from ckf_demo.data.sources.reviews import plain
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.runtime.errors import UserError

RATINGS, FILMS = "ratings.csv", "movies.csv"
COLUMNS = ("userId", "movieId", "rating", "timestamp")
NO_GENRES = "(no genres listed)"


def read(folder: Path) -> RawData:
    """Read the two files from a folder; UserError if one is missing or holds a wrong row."""
    films = _films(folder)
    path = folder / RATINGS
    table = _table(path, COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    bad = numbers.isna().any(axis=1) | ~numbers["rating"].between(0.5, 5)
    if bad.any():
        row = int(bad.idxmax())
        raise UserError(
            f"{path}, line {row + 2}: {', '.join(map(str, table.loc[row]))!r} must be a user, "
            f"a film, a rating from 0.5 to 5 and a time; {MEND}"
        )
    rows = [
        (str(int(user)), str(int(item)), float(rating), int(time))
        for user, item, rating, time in numbers.itertuples(index=False)
    ]
    return RawData.from_rows(
        [(user, None, None, None) for user in dict.fromkeys(row[0] for row in rows)], films, rows
    )


def bulk(folder: Path) -> Bulk:
    """The same data for the store to read; UserError if a file is missing."""
    films = _films(folder)
    if not (folder / RATINGS).is_file():
        raise UserError(f"{folder} lacks {RATINGS}; it must hold {SOURCE.files}")
    return Bulk(folder / RATINGS, COLUMNS, films)


def _films(folder: Path) -> list[tuple[str, str, int | None, tuple[str, ...]]]:
    """Rows of `RawData.items`."""
    path = folder / FILMS
    table = _table(path, ("movieId", "title", "genres"))
    films = []
    for number, (film, title, genres) in enumerate(table.itertuples(index=False), start=2):
        if not (film.isascii() and film.isdigit()) or not plain(title):
            raise UserError(
                f"{path}, line {number}: no whole number as movieId, or no title; {MEND}"
            )
        names = () if genres == NO_GENRES else tuple(sorted(filter(None, genres.split("|"))))
        films.append((str(int(film)), *tidy_title(plain(title)), names))
    return films


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path.parent} lacks {path.name}; it must hold {SOURCE.files}")
    return read_table(path, columns)[list(columns)]


SOURCE = Source(
    name="ml-latest",
    label="MovieLens (latest, 25M and other sizes as CSV)",
    files=f"{RATINGS} and {FILMS}",
    holds=lambda folder: (folder / RATINGS).is_file() and (folder / FILMS).is_file(),
    read=read,
    bulk=bulk,
)
