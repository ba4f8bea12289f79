"""Stores of tens of millions of interactions: DuckDB reads the file itself, in bounded memory.

The result is the store that `ckf_demo.data.store.write_store` makes of the same data, with one more
table: items that the same users like. Candidates are retrieved from it, since a collaborative model
would need all interactions in memory. Rows are sorted in a scratch database beside the new store,
which DuckDB keeps on disk when memory runs out.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from ckf_demo.data.prepared import LIKED_STARS
from ckf_demo.data.sources.base import MEND, Bulk
from ckf_demo.data.sources.moments import UNITS, unit_of
from ckf_demo.data.splits import TEST, TRAIN, TRAIN_SHARE, VALID, VALID_SHARE
from ckf_demo.data.store import RECENT_LIKES
from ckf_demo.data.store_tables import (
    SCHEMA,
    fill_statistics,
    insert_items,
    insert_meta,
)
from ckf_demo.runtime.errors import UserError

MEMORY = "1GB"
"""DuckDB's own limit; the process takes up to 1.5 times as much."""

NEIGHBOURS, SHRINKAGE = 50, 20
"""Neighbours kept for each item, by cosine, and the number added to both counts."""

_RAW = """
CREATE TABLE scratch.raw AS
SELECT (row_number() OVER () - 1)::INTEGER AS source_row, {user} AS user_number,
    {item} AS item_number, {rating} AS rating, {timestamp} AS moment
FROM read_csv($path, header = true, columns = {columns}, auto_detect = false, store_rejects = true,
    encoding = 'utf-8')
"""
_MOMENTS = "SELECT moment FROM scratch.raw USING SAMPLE 10000 ROWS (reservoir, 0)"
_IN_SECONDS = "UPDATE scratch.raw SET moment = moment // $unit"
# Of interactions of a user with an item the newest stays, and of one moment the last in the file.
_OLDER = """
DELETE FROM scratch.raw WHERE source_row IN (
    SELECT source_row FROM scratch.raw
    QUALIFY row_number() OVER (
        PARTITION BY user_number, item_number ORDER BY moment DESC, source_row DESC
    ) > 1
)
"""
_REJECTED = "SELECT line, error_message FROM reject_errors ORDER BY line LIMIT 1"
_IMPOSSIBLE = """
SELECT source_row, user_number, item_number, rating, moment FROM scratch.raw
WHERE user_number IS NULL OR item_number IS NULL OR moment IS NULL OR rating IS NULL
    OR rating NOT BETWEEN 0.5 AND 5
ORDER BY source_row LIMIT 1
"""
_UNKNOWN = """
SELECT source_row, item_number FROM scratch.raw
WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.id = item_number::VARCHAR)
ORDER BY source_row LIMIT 1
"""
_USERS = """
INSERT INTO users (position, id)
SELECT row_number() OVER (ORDER BY first) - 1, user_number::VARCHAR
FROM (SELECT user_number, min(source_row) AS first FROM scratch.raw GROUP BY user_number)
"""
# The number of a row in this table is the position of the interaction.
_ORDERED = """
CREATE TABLE scratch.ordered AS
SELECT users.position AS user_position, items.position AS item_position, rating::FLOAT AS rating,
    moment, source_row
FROM scratch.raw
    JOIN users ON users.id = user_number::VARCHAR
    JOIN items ON items.id = item_number::VARCHAR
ORDER BY moment, source_row
"""
_INTERACTIONS = """
INSERT INTO interactions
SELECT rowid, user_position, item_position, rating, moment, source_row,
    CASE WHEN rowid < $n_train THEN $train WHEN rowid < $n_known THEN $valid ELSE $test END, NULL
FROM scratch.ordered
ORDER BY user_position, rowid
"""
_SPLIT_TIME = "SELECT moment FROM scratch.ordered WHERE rowid = $n_train"
_LIKES = f"""
CREATE TABLE scratch.likes AS
SELECT user_position, unnest(max_by(item_position, position, {RECENT_LIKES})) AS item_position
FROM (
    SELECT user_position, item_position, position FROM interactions
    WHERE split = $train AND rating >= $liked
)
GROUP BY user_position
"""
_NEIGHBOUR_TABLE = """
CREATE TABLE neighbours (
    item_position INTEGER NOT NULL,
    neighbour_position INTEGER NOT NULL,
    score DOUBLE NOT NULL
)
"""
_NEIGHBOURS = f"""
INSERT INTO neighbours
WITH counts AS (
    SELECT item_position, count(*) AS n FROM scratch.likes GROUP BY item_position
), pairs AS (
    SELECT one.item_position AS item, other.item_position AS near, count(*) AS n
    FROM scratch.likes AS one JOIN scratch.likes AS other USING (user_position)
    WHERE one.item_position <> other.item_position AND one.item_position % $parts = $part
    GROUP BY item, near
), scored AS (
    SELECT item, near,
        pairs.n / sqrt((a.n + $shrinkage)::DOUBLE * (b.n + $shrinkage)) AS score
    FROM pairs
        JOIN counts AS a ON a.item_position = item
        JOIN counts AS b ON b.item_position = near
)
SELECT item, s.near, s.score FROM (
    SELECT item, unnest(max_by(
        {{'near': near, 'score': score}}, {{'score': score, 'earlier': -near}}, {NEIGHBOURS}
    )) AS s
    FROM scored GROUP BY item
)
ORDER BY item, s.score DESC, s.near
"""
PARTS = 8
"""Passes in which pairs of liked items are counted, each for its share of the items."""


def bulk_hash(bulk: Bulk, dataset: str) -> str:
    """SHA-256 over the file and the items, which tells two data sets apart."""
    digest = hashlib.sha256(repr([dataset, bulk.columns, bulk.items]).encode())
    with bulk.interactions.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def write_bulk_store(
    bulk: Bulk,
    dataset: str,
    path: Path,
    *,
    memory: str = MEMORY,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[int, Sequence[str]]:
    """Write a new store file at ``path``, which must not exist yet.

    ``memory`` is DuckDB's limit, such as ``"1GB"``; DuckDB puts the rest into files beside
    ``path``. ``progress`` is called with a description of each step as it begins.

    Returns
    -------
    n : int, notes
        The number of interactions, and sentences on what was converted or left out.

    Raises
    ------
    UserError
        When the file cannot be read, a line holds no interaction (the message has its number), or
        an item is not described.
    """
    path = Path(path)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "temp_directory": str(path.parent / "spilled"),
    }
    with duckdb.connect(path, config=config) as connection:
        connection.execute("SET enable_progress_bar = false")
        scratch = path.with_suffix(".scratch")
        scratch.unlink(missing_ok=True)
        # The name comes from this program; DuckDB takes no parameter here.
        connection.execute(f"ATTACH '{str(scratch).replace(chr(39), chr(39) * 2)}' AS scratch")
        connection.execute(SCHEMA.read_text())
        items = pd.DataFrame(bulk.items, columns=["item", "title", "year", "genres"])
        insert_items(connection, items)
        progress("reading interactions")
        _read(connection, bulk)
        # users are those of the whole file, in its order, as in the ordinary import
        connection.execute(_USERS)
        notes = [*bulk.notes, *_tidy(connection)]
        progress("sorting them by time")
        connection.execute(_ORDERED)
        connection.execute("DROP TABLE scratch.raw")
        ((n,),) = connection.execute("SELECT count(*) FROM scratch.ordered").fetchall()
        if not n:
            raise UserError(
                f"{bulk.interactions} has no interactions; use a complete copy of the data set"
            )
        n_train = int(n * TRAIN_SHARE)
        ((split_time,),) = connection.execute(_SPLIT_TIME, {"n_train": n_train}).fetchall()
        progress("sorting them by user")
        connection.execute(
            _INTERACTIONS,
            {
                "n_train": n_train,
                "n_known": n_train + int(n * VALID_SHARE),
                "train": TRAIN,
                "valid": VALID,
                "test": TEST,
            },
        )
        connection.execute("DROP TABLE scratch.ordered")
        insert_meta(connection, dataset, bulk_hash(bulk, dataset), None, split_time)
        progress("counting")
        fill_statistics(connection, split_time)
        progress("finding what is liked together")
        connection.execute(_NEIGHBOUR_TABLE)
        connection.execute(_LIKES, {"train": TRAIN, "liked": LIKED_STARS})
        for part in range(PARTS):
            share = {"parts": PARTS, "part": part, "shrinkage": SHRINKAGE}
            connection.execute(_NEIGHBOURS, share)
        connection.execute("CHECKPOINT")
        connection.execute("DETACH scratch")
    scratch.unlink()
    return n, notes


def _tidy(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Bring moments to seconds and keep the newest of repeated interactions; say what changed."""
    notes = []
    sample = np.array([m for (m,) in connection.execute(_MOMENTS).fetchall()])
    if unit := unit_of(sample):
        connection.execute(_IN_SECONDS, {"unit": 1000**unit})
        notes.append(f"Times are in {UNITS[unit]}; they became seconds.")
    ((older,),) = connection.execute(_OLDER).fetchall()
    if older:
        notes.append(
            f"{older:,} interactions are older ones of a user with the same item, and were left "
            "out; the newest stays."
        )
    return notes


def _header(bulk: Bulk) -> list[str]:
    """The quoted names in the first line; UserError when a column is missing."""
    with bulk.interactions.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = [name.strip() for name in next(csv.reader(file), [])]
    if missing := [name for name in bulk.columns if name not in names]:
        raise UserError(
            f"{bulk.interactions} has no column {missing[0]!r}; it has {', '.join(names)}"
        )
    return ['"' + name.replace('"', '""') + '"' for name in names]


def _read(connection: duckdb.DuckDBPyConnection, bulk: Bulk) -> None:
    """Fill ``scratch.raw`` and check that every line is an interaction with a known item."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in bulk.columns]
    names = dict(zip(("user", "item", "rating", "timestamp"), quoted, strict=True))
    kinds = dict(zip(quoted, ("BIGINT", "BIGINT", "DOUBLE", "BIGINT"), strict=True))
    # as the file has them, since the parser goes by position
    columns = ", ".join(f"{name}: '{kinds.get(name, 'VARCHAR')}'" for name in _header(bulk))
    try:
        connection.execute(
            _RAW.format(**names, columns=f"{{{columns}}}"), {"path": str(bulk.interactions)}
        )
    except duckdb.Error as error:
        raise UserError(
            f"{bulk.interactions} cannot be read ({str(error).splitlines()[0]}); it must be CSV "
            f"with the columns {', '.join(bulk.columns)}"
        ) from error
    for line, reason in connection.execute(_REJECTED).fetchall():
        raise UserError(f"{bulk.interactions}, line {line}: {reason.splitlines()[0]}; {MEND}")
    for row, *values in connection.execute(_IMPOSSIBLE).fetchall():
        given = ", ".join("nothing" if value is None else f"{value:g}" for value in values)
        raise UserError(
            f"{bulk.interactions}, line {row + 2}: {given} must be a user, an item, "
            f"a rating from 0.5 to 5 and a time; {MEND}"
        )
    for row, item in connection.execute(_UNKNOWN).fetchall():
        raise UserError(
            f"{bulk.interactions}, line {row + 2}: item {item} is not among those described; add "
            "its line there or remove the interaction"
        )
