"""The interaction store: users, items and interactions in one DuckDB file. All SQL lives here.

`ckf prepare` writes the file once, with `write_store`; everything else opens it read-only, through
`InteractionStore`. A history always means interactions *strictly before* a moment: interactions of
the same moment do not see each other.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import store_path
from ckf_demo.runtime.subprocesses import end_with

# Raise it with every change of the tables below. The file is made from raw data in seconds, so an
# older one is not migrated but made anew.
SCHEMA_VERSION = 2

# The history of someone without interactions before the split ends at this interaction of theirs.
NEWCOMER_INTERACTIONS = 10

RECENT_LIKES = 20
"""From how many of a person's last likes candidates are retrieved, as neighbours were counted."""

# `position` is the dense index in `Prepared`; `folded` and `core` are what searches compare.
# Interactions lie in the order of (user_position, position), so that a history is read from a few
# blocks of the file.
TABLES = """
CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    dataset VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
    texts VARCHAR NOT NULL,
    split_time BIGINT NOT NULL
);
CREATE TABLE users (
    position INTEGER PRIMARY KEY,
    id VARCHAR UNIQUE NOT NULL,
    age INTEGER,
    gender VARCHAR,
    occupation VARCHAR,
    n_before INTEGER,
    n_total INTEGER,
    default_at BIGINT
);
CREATE TABLE items (
    position INTEGER PRIMARY KEY,
    id VARCHAR UNIQUE NOT NULL,
    title VARCHAR NOT NULL,
    year INTEGER,
    genres VARCHAR[] NOT NULL,
    folded VARCHAR NOT NULL,
    core VARCHAR NOT NULL,
    n_ratings INTEGER,
    mean_rating DOUBLE
);
CREATE TABLE interactions (
    position INTEGER NOT NULL,
    user_position INTEGER NOT NULL,
    item_position INTEGER NOT NULL,
    rating FLOAT NOT NULL,
    moment BIGINT NOT NULL,
    source_row INTEGER NOT NULL,
    split TINYINT NOT NULL,
    text VARCHAR
);
"""

_FILL_ITEM_STATISTICS = """
UPDATE items SET n_ratings = seen.n, mean_rating = seen.mean
FROM (
    SELECT items.position, count(rating) AS n, avg(rating::DOUBLE) AS mean
    FROM items LEFT JOIN interactions
        ON item_position = items.position AND split = $train
    GROUP BY items.position
) AS seen
WHERE items.position = seen.position
"""

# The tenth moment by list instead of by rank: ranks of all interactions would have to be in memory.
_FILL_USER_MOMENTS = f"""
WITH summary AS (
    SELECT users.position, count(moment) AS n_total,
        count(moment) FILTER (moment < $split_time) AS n_early,
        list_max(min(moment, {NEWCOMER_INTERACTIONS})) AS newcomer_at
    FROM users LEFT JOIN interactions ON user_position = users.position
    GROUP BY users.position
)
UPDATE users SET
    n_total = summary.n_total,
    default_at = CASE WHEN n_early > 0 OR summary.n_total = 0 THEN $split_time ELSE newcomer_at END
FROM summary WHERE users.position = summary.position
"""
_FILL_USER_HISTORIES = """
UPDATE users SET n_before = summary.n FROM (
    SELECT users.position, count(moment) FILTER (moment < default_at) AS n
    FROM users LEFT JOIN interactions ON user_position = users.position
    GROUP BY users.position
) AS summary
WHERE users.position = summary.position
"""

_USERS = """
SELECT id AS "user", age, gender, occupation, n_before, n_total, default_at AS "at" FROM users
"""
_ALL_USERS = _USERS + "ORDER BY position"
_ONE_USER = _USERS + "WHERE id = $user"

_ITEMS = "SELECT id AS item, title, year, genres, n_ratings, mean_rating FROM items "
_ALL_ITEMS = _ITEMS + "ORDER BY position"
_ONE_ITEM = _ITEMS + "WHERE id = $item"

# Best first: the title itself, titles that begin with the query, all words whole, all words begun,
# and the words anywhere; within each the more popular first.
_SEARCH = (
    _ITEMS
    + """
WHERE list_bool_and(list_transform($words, lambda word: contains(folded, word)))
    AND ($genre IS NULL OR list_contains(genres, $genre))
    AND ($year_from IS NULL OR year >= $year_from)
    AND ($year_to IS NULL OR year <= $year_to)
ORDER BY
    CASE
        WHEN core = $core THEN 0
        WHEN starts_with(core, $core) THEN 1
        WHEN list_bool_and(list_transform(
            $words, lambda word: contains(folded, ' ' || word || ' '))) THEN 2
        WHEN list_bool_and(list_transform(
            $words, lambda word: contains(folded, ' ' || word))) THEN 3
        ELSE 4
    END,
    n_ratings DESC,
    position
LIMIT $limit
"""
)

_POSITION = "SELECT position FROM users WHERE id = $user"
# Without the items: joined in Python they cost a fifth of what planning the join does.
_OWN = "SELECT item_position, rating, moment FROM interactions WHERE user_position = $user "
_HISTORY = _OWN + "AND moment < $at ORDER BY position DESC LIMIT $limit"
_LATER = _OWN + "AND moment >= $at ORDER BY position"

_HAS_NEIGHBOURS = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'neighbours'"
# Items liked together with the last likes before a moment, then the most rated; what is known is
# left out.
_CANDIDATES = """
WITH known AS (
    SELECT item_position, rating, interactions.position AS place
    FROM interactions JOIN users ON users.position = user_position
    WHERE users.id = $user AND moment < $at
), recent AS (
    SELECT item_position FROM known WHERE rating >= $liked ORDER BY place DESC LIMIT $recent
), near AS (
    SELECT neighbour_position AS position, sum(score) AS score
    FROM recent JOIN neighbours USING (item_position)
    GROUP BY position
)
SELECT items.id AS item, title, year, genres, coalesce(score, 0) AS score, n_ratings
FROM items LEFT JOIN near ON near.position = items.position
WHERE items.position NOT IN (SELECT item_position FROM known)
ORDER BY score DESC, n_ratings DESC, items.position
LIMIT $limit
"""

_GENRES = "SELECT DISTINCT unnest(genres) AS genre FROM items ORDER BY genre"
_OCCUPATIONS = """
SELECT DISTINCT occupation FROM users WHERE occupation IS NOT NULL ORDER BY occupation
"""

_STATISTICS = """
SELECT count(*) AS n_interactions,
    count(*) FILTER (split = $train) AS n_train,
    count(*) FILTER (split = $valid) AS n_valid,
    count(*) FILTER (split = $test) AS n_test,
    avg(rating::DOUBLE) AS mean_rating,
    avg((rating >= 4)::INTEGER) AS share_liked,
    min(moment) AS first_time,
    max(moment) AS last_time,
    count(DISTINCT user_position) FILTER (split = $train) AS n_users_in_train,
    count(DISTINCT user_position) FILTER (split = $test) AS n_users_in_test,
    count(DISTINCT item_position) FILTER (split = $train) AS n_items_in_train,
    (SELECT count(*) FROM users) AS n_users,
    (SELECT count(*) FROM items) AS n_items
FROM interactions
"""
_RATINGS = "SELECT rating, count(*) FROM interactions GROUP BY rating ORDER BY rating"

# What free queries see beside the tables: ids, titles and times in place of positions and seconds.
# The ids are not called "user" and "item": an unquoted user is the name of the database's user.
_RATINGS_VIEW = f"""
CREATE TEMP VIEW ratings AS
SELECT users.id AS user_id, items.id AS item_id, title, year, genres, rating,
    make_timestamp(moment * 1000000) AS time,
    CASE split WHEN {TRAIN} THEN 'train' WHEN {VALID} THEN 'valid' WHEN {TEST} THEN 'test' END
        AS part,
    text
FROM interactions
    JOIN users ON users.position = user_position
    JOIN items ON items.position = item_position
"""
_COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE NOT internal ORDER BY table_name <> 'ratings', table_name, column_index
"""

MAX_SQL = 10_000
"""Longest text of a free query, in characters."""

MAX_RESULT = 4_000_000
"""Most characters of a free query's result, as JSON."""

_QUERY_MEMORY = 1 << 30  # bytes of address space; DuckDB's own limit is a quarter of it
# Beyond the query's own time: until a new process has started on a busy machine.
_START_SECONDS = 60.0


@dataclass(frozen=True)
class QueryResult:
    """What a free query found.

    Attributes
    ----------
    columns
        Names, as the statement gives them; they may repeat.
    types
        DuckDB's type of each column.
    rows
        One list of JSON values per row: times and dates are ISO text, decimals and floats are
        numbers, NaN and infinity are None.
    truncated
        Whether there were more rows than the limit, or than `MAX_RESULT` characters hold.
    seconds
        What the query took, without the start of its process.
    """

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool
    seconds: float


@dataclass(frozen=True)
class Table:
    """A table that free queries can read: ``columns`` are pairs of name and type."""

    name: str
    columns: list[tuple[str, str]]
    n_rows: int


@dataclass(frozen=True)
class Analysis:
    """A ready-made query, with one sentence on what it shows.

    ``needs`` is a condition on the data set: it makes sense where some row of ``table`` meets it.
    """

    title: str
    about: str
    sql: str
    needs: tuple[str, str] | None = None


LONG_TAIL = Analysis(
    "Long tail of items",
    "How many percent of all ratings the most rated items have together, by percent of the "
    "catalogue.",
    """\
WITH counted AS (
    SELECT items.id, count(rating) AS n
    FROM items LEFT JOIN ratings ON item_id = items.id
    GROUP BY items.id
), ranked AS (
    SELECT n, row_number() OVER (ORDER BY n DESC) AS place, count(*) OVER () AS n_items
    FROM counted
)
SELECT ceil(100 * place / n_items)::INTEGER AS top_percent_of_items,
    round(100 * sum(sum(n)) OVER (ORDER BY top_percent_of_items)
        / (SELECT count(*) FROM ratings), 2) AS percent_of_ratings,
    min(n) AS ratings_of_the_last
FROM ranked
GROUP BY top_percent_of_items
ORDER BY top_percent_of_items""",
)
USER_GROUPS = Analysis(
    "Ratings per user",
    "How many users have how many ratings, in the bands of the cold-start metrics: before the "
    "split, and in all.",
    """\
WITH counted AS (
    SELECT users.id, count(rating) FILTER (part = 'train') AS before, count(rating) AS total
    FROM users LEFT JOIN ratings ON user_id = users.id
    GROUP BY users.id
), bands(low, high, band) AS (
    VALUES (0, 0, '0'), (1, 3, '1–3'), (4, 10, '4–10'), (11, 30, '11–30'),
        (31, 100, '31–100'), (101, NULL, '101+')
)
SELECT band,
    count(*) FILTER (before >= low AND before <= coalesce(high, before)) AS users_before_split,
    count(*) FILTER (total >= low AND total <= coalesce(high, total)) AS users_in_all
FROM bands, counted
GROUP BY band, low
ORDER BY low""",
)
DRIFT = Analysis(
    "Ratings over time",
    "The mean rating of each month (the share of likes where the data set has likes), with the "
    "number of ratings behind it.",
    """\
SELECT date_trunc('month', time)::DATE AS month,
    round(avg(rating), 3) AS mean_rating,
    count(*) AS ratings
FROM ratings
GROUP BY month
ORDER BY month""",
)
NEWCOMERS = Analysis(
    "Newcomers per month",
    "How many users gave their first rating in each month, and what percentage of that month’s "
    "ratings came from them.",
    """\
WITH firsts AS (
    SELECT user_id, date_trunc('month', min(time)) AS first_month FROM ratings GROUP BY user_id
)
SELECT date_trunc('month', time)::DATE AS month,
    count(DISTINCT user_id) FILTER (date_trunc('month', time) = first_month) AS newcomers,
    round(100 * avg((date_trunc('month', time) = first_month)::INTEGER), 1)
        AS percent_of_ratings_by_newcomers
FROM ratings JOIN firsts USING (user_id)
GROUP BY month
ORDER BY month""",
)
FIRST_RATINGS = Analysis(
    "What the first ratings tell",
    "How far the mean of a user’s first k ratings is from the mean of all theirs, over users with "
    "at least 20 ratings.",
    """\
WITH counted AS (
    SELECT min_by(rating, position, 20) AS firsts, avg(rating) AS mean_of_all
    FROM interactions
    GROUP BY user_position
    HAVING count(*) >= 20
)
SELECT k, round(avg(abs(list_avg(firsts[1:k]) - mean_of_all)), 4) AS mean_difference,
    count(*) AS users
FROM counted, range(1, 21) AS ks(k)
GROUP BY k
ORDER BY k""",
)
GENRES_BY_AGE = Analysis(
    "Genres by age",
    "What percentage of an age group’s ratings goes to films of each genre; a film counts for all "
    "its genres.",
    """\
WITH rated AS (
    SELECT age, genres FROM ratings JOIN users ON users.id = user_id
), totals AS (
    SELECT count(*) FILTER (age < 25) AS young,
        count(*) FILTER (age BETWEEN 25 AND 39) AS middle,
        count(*) FILTER (age >= 40) AS old
    FROM rated
)
SELECT genre,
    round(100 * count(*) FILTER (age < 25) / any_value(young), 1) AS percent_under_25,
    round(100 * count(*) FILTER (age BETWEEN 25 AND 39) / any_value(middle), 1)
        AS percent_25_to_39,
    round(100 * count(*) FILTER (age >= 40) / any_value(old), 1) AS percent_40_and_over
FROM (SELECT age, unnest(genres) AS genre FROM rated), totals
GROUP BY genre
ORDER BY count(*) DESC""",
    needs=("users, items", "age IS NOT NULL AND len(genres) > 0"),
)
RELEASE_YEARS = Analysis(
    "Ratings by year of release",
    "The number of ratings and their mean for films of each year of release.",
    """\
SELECT year, count(*) AS ratings, round(avg(rating), 3) AS mean_rating
FROM ratings
WHERE year IS NOT NULL
GROUP BY year
ORDER BY year""",
    needs=("items", "year IS NOT NULL"),
)
SPARSITY = Analysis(
    "Sparsity",
    "How much of the table of users and items is filled, in each part of the data and in all.",
    """\
SELECT coalesce(part, 'all') AS part,
    count(DISTINCT user_id) AS users,
    count(DISTINCT item_id) AS items,
    count(*) AS ratings,
    round(100 * count(*) / (count(DISTINCT user_id) * count(DISTINCT item_id)), 3)
        AS percent_filled
FROM ratings
GROUP BY ROLLUP (part)
ORDER BY ratings DESC""",
)
ANALYSES = (
    USER_GROUPS,
    LONG_TAIL,
    DRIFT,
    NEWCOMERS,
    FIRST_RATINGS,
    GENRES_BY_AGE,
    RELEASE_YEARS,
    SPARSITY,
)
"""All ready-made analyses; `InteractionStore.analyses` leaves out what a data set cannot answer."""

_DAMAGE = (
    *(duckdb.IOException, duckdb.SerializationException),
    *(duckdb.FatalException, duckdb.InternalException),
)
_ARTICLE = re.compile(r"^(?:the|an?|le|la|les|il|el|los|las|das|der|die) (?=\S)")
# Letters with strokes and ligatures, which Unicode does not decompose.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})


def fold(text: str) -> str:
    """Text as searches compare it: lower case, no accents, no punctuation, single spaces.

    Apostrophes vanish ("Schindler's" and "schindlers" are the same), other punctuation parts
    words.
    """
    # compatibility forms may decompose into capitals, so case is folded on both sides of it
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    bare = re.sub("['’‘`´]", "", bare.translate(_PLAIN_LETTERS))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def _core(text: str) -> str:
    """What stays of a title or a query, folded, without brackets and its article."""
    return _ARTICLE.sub("", fold(text.partition("(")[0])) or fold(text)


def write_store(prepared: Prepared, path: Path, texts: Sequence[str] | None = None) -> None:
    """Write a new store file at ``path``, which must not exist yet.

    ``texts`` holds what was written with each interaction, by its row in the source. Everything
    shown about items (their number of ratings and mean) counts the training part only.
    """
    users = pd.DataFrame(
        {
            "position": np.arange(prepared.n_users),
            "id": prepared.user_ids,
            "age": prepared.ages,
            "gender": prepared.genders,
            "occupation": prepared.occupations,
        }
    )
    items = pd.DataFrame(
        {
            "item": prepared.item_ids,
            "title": prepared.titles,
            "year": prepared.years,
            "genres": [list(genres) for genres in prepared.genres],
        }
    )
    interactions = pd.DataFrame(
        {
            "position": np.arange(len(prepared.user)),
            "user_position": prepared.user,
            "item_position": prepared.item,
            "rating": prepared.rating,
            "moment": prepared.timestamp,
            "source_row": prepared.source_row,
            "split": prepared.split,
            "text": None if texts is None else [texts[row] for row in prepared.source_row],
        }
    )
    with duckdb.connect(path) as connection:
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO meta VALUES (?, ?, ?, ?, ?)",
            [
                SCHEMA_VERSION,
                prepared.dataset,
                prepared.hash,
                texts_hash(texts),
                prepared.split_time,
            ],
        )
        for name, table in (("raw_users", users), ("raw_rows", interactions)):
            connection.register(name, table)
        connection.execute(
            "INSERT INTO users (position, id, age, gender, occupation) SELECT position, id, "
            "nullif(age, 0), nullif(gender, ''), nullif(occupation, '') FROM raw_users"
        )
        insert_items(connection, item_table(items))
        connection.execute(
            "INSERT INTO interactions SELECT * REPLACE (nullif(text, '') AS text) FROM raw_rows "
            "ORDER BY user_position, position"
        )
        fill_statistics(connection, prepared.split_time)
        connection.execute("CHECKPOINT")


def item_table(items: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table of items, from columns ``item``, ``title``, ``year`` and ``genres``.

    A year that is unknown is 0 or missing.
    """
    years = items["year"].fillna(0).astype("int64")
    folded = [
        f" {fold(title)}{f' {year}' if year else ''} "
        for title, year in zip(items["title"], years, strict=True)
    ]
    return pd.DataFrame(
        {
            "position": np.arange(len(items)),
            "id": items["item"],
            "title": items["title"],
            "year": years,
            "genres": items["genres"].map(list),
            "folded": folded,
            "core": [_core(title) for title in items["title"]],
        }
    )


def insert_items(connection: duckdb.DuckDBPyConnection, table: pd.DataFrame) -> None:
    """Insert what `item_table` made."""
    connection.register("raw_items", table)
    connection.execute(
        "INSERT INTO items (position, id, title, year, genres, folded, core) SELECT position, "
        "id, title, nullif(year, 0), genres::VARCHAR[], folded, core FROM raw_items"
    )
    connection.unregister("raw_items")


def fill_statistics(connection: duckdb.DuckDBPyConnection, split_time: int) -> None:
    """Fill what is counted of users and items, once all interactions stand in their table."""
    connection.execute(_FILL_ITEM_STATISTICS, {"train": TRAIN})
    connection.execute(_FILL_USER_MOMENTS, {"split_time": split_time})
    connection.execute(_FILL_USER_HISTORIES)


def texts_hash(texts: Sequence[str] | None) -> str:
    """What tells two sets of texts apart; empty for none."""
    if texts is None:
        return ""
    return hashlib.sha1(json.dumps(list(texts)).encode()).hexdigest()


class InteractionStore:
    """Read-only access to one prepared data set; safe to use from several threads.

    Users and items go by the ids of the source, as text; numbers are taken as well. Moments are
    int64 seconds since 1970 (UTC).

    Attributes
    ----------
    path
        The file.
    dataset
        The name of the data set.
    hash
        `Prepared.hash` of the data it was made from.
    texts
        `texts_hash` of what was written with its interactions.
    split_time
        The first moment of the validation part.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at ``path``.

        Raises
        ------
        UserError
            When it is missing, damaged, or was written with another schema version.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"no data store at {self.path}; run: ckf prepare")
        try:
            # One thread: queries take milliseconds, and the model needs the cores.
            self._connection = duckdb.connect(
                self.path,
                read_only=True,
                config={
                    "threads": 1,
                    "enable_external_access": False,
                    "python_enable_replacements": False,
                },
            )
            # The version alone first: another version's table may have other columns.
            ((version,),) = self._connection.execute("SELECT schema_version FROM meta").fetchall()
            if version == SCHEMA_VERSION:
                ((self.dataset, self.hash, self.texts, self.split_time),) = (
                    self._connection.execute(
                        "SELECT dataset, hash, texts, split_time FROM meta"
                    ).fetchall()
                )
        except duckdb.Error as e:
            raise self._damaged(e) from e
        if version != SCHEMA_VERSION:
            self._connection.close()
            age = "an older" if version < SCHEMA_VERSION else "a newer"
            raise UserError(
                f"{self.path} was written by {age} version of this program (schema {version}, "
                f"this one reads {SCHEMA_VERSION}); run: ckf prepare"
            )

    @classmethod
    def open(cls, dataset: str = "ml-100k") -> InteractionStore:
        """Open the store of a data set in the user's cache (raises as the constructor does)."""
        return cls(store_path(dataset))

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def items(self) -> pd.DataFrame:
        """The catalogue, in the order of `Prepared.item_ids`.

        Columns: ``item`` str, ``title`` str, ``year`` Int64 (may be missing), ``genres`` list of
        str, ``n_ratings`` int64 and ``mean_rating`` float64 (NaN without ratings), the last two
        counted on the training part only.
        """
        return _item_frame(self._query(_ALL_ITEMS).df())

    def users(self) -> pd.DataFrame:
        """Everyone, in the order of `Prepared.user_ids`.

        Columns: ``user`` str, ``age`` Int64 (may be missing), ``gender`` and ``occupation`` str or
        None, ``n_before`` int64 (interactions before the default moment), ``n_total`` int64,
        ``at`` int64 (the default moment).
        """
        frame = self._query(_ALL_USERS).df()
        for name in ("gender", "occupation"):
            known = frame[name].notna()
            # pyrefly: ignore[bad-argument-type]: pandas takes None, its annotation does not
            frame[name] = frame[name].astype(object).where(known, None)
        return frame.astype(
            {"age": "Int64", "n_before": "int64", "n_total": "int64", "at": "int64"}
        )

    def user(self, user: str | int) -> dict[str, Any]:
        """One row of `users` as plain values, None where unknown.

        Raises
        ------
        UserError
            When there is no such user.
        """
        rows = self._records(_ONE_USER, {"user": _key(user)})
        if not rows:
            raise UserError(
                f"unknown user {str(user)!r}; give an id of {self.dataset}, or describe a new "
                "person by history, taste or profile"
            )
        return rows[0]

    def item(self, item: str | int) -> dict[str, Any]:
        """One row of `items` as plain values, None where unknown.

        Raises
        ------
        UserError
            When there is no such item.
        """
        rows = self._records(_ONE_ITEM, {"item": _key(item)})
        if not rows:
            raise UserError(
                f"unknown item {str(item)!r}; give an id of {self.dataset}: search by title to "
                "find one"
            )
        return rows[0]

    def default_at(self, user: str | int) -> int:
        """The moment at which predictions for a user are made unless another is asked for.

        It is the split time or, for someone without interactions before that, the time of their
        tenth interaction (their last, if they have fewer).

        Raises
        ------
        UserError
            When there is no such user.
        """
        return self.user(user)["at"]

    def history(self, user: str | int, at: int, limit: int | None = None) -> pd.DataFrame:
        """What a user had rated strictly before ``at``, oldest first.

        Parameters
        ----------
        user
            An id.
        at
            The moment, in seconds.
        limit
            How many of the most recent ones at most; all when None.

        Returns
        -------
        DataFrame
            Columns ``item`` str, ``title`` str, ``year`` Int64 (may be missing), ``genres`` list
            of str, ``rating`` float32 and ``timestamp`` int64.

        Raises
        ------
        UserError
            When there is no such user, the moment is none, or the limit is negative.
        """
        own = {"user": self._position(user), "at": moment(at), "limit": _limit(limit)}
        newest_first = self._query(_HISTORY, own).fetchnumpy()
        return self._interactions({name: column[::-1] for name, column in newest_first.items()})

    def later(self, user: str | int, at: int) -> pd.DataFrame:
        """What a user rated at or after ``at``, oldest first; columns and errors as `history`."""
        own = {"user": self._position(user), "at": moment(at)}
        return self._interactions(self._query(_LATER, own).fetchnumpy())

    def candidates(self, user: str | int, at: int, limit: int = 100) -> pd.DataFrame:
        """Items that somebody may like next, by what is liked together; best first.

        For stores that were written in bulk (`ckf_demo.data.bulk`): items liked together with the
        last likes before ``at``, by the sum of their scores, then the most rated ones. What was
        rated before ``at`` is left out.

        Returns
        -------
        DataFrame
            Columns ``item`` str, ``title`` str, ``year`` Int64 (may be missing), ``genres`` list of
            str, ``score`` float64 and ``n_ratings`` int64.

        Raises
        ------
        UserError
            When there is no such user, the moment is none, the limit is negative, or the store was
            not written in bulk.
        """
        self.user(user)
        if not self._query(_HAS_NEIGHBOURS).fetchall():
            raise UserError(
                f"the store of {self.dataset} does not say what is liked together, since it was "
                "not written in bulk; rank with a checkpoint instead"
            )
        parameters = {
            "user": str(user),
            "at": moment(at),
            "liked": LIKED_STARS,
            "recent": RECENT_LIKES,
            "limit": _limit(limit),
        }
        frame = _with_lists(self._query(_CANDIDATES, parameters).df())
        return frame.astype({"year": "Int64", "n_ratings": "int64", "score": "float64"})

    def search_items(
        self,
        query: str,
        limit: int | None = 20,
        genre: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
    ) -> pd.DataFrame:
        """Items whose title (with its year) holds all words of the query, in any order.

        Case, accents and punctuation do not matter, and parts of words count. An empty query finds
        everything, so that the filters can be used alone.

        Parameters
        ----------
        query
            Words of a title.
        limit
            How many items at most; all when None.
        genre
            One of `genres`, as spelt there.
        year_from
            First year, inclusive; items without a year are left out.
        year_to
            Last year, inclusive.

        Returns
        -------
        DataFrame
            Columns as in `items`, the best match first and among equals the most rated.

        Raises
        ------
        UserError
            When there is no such genre, or the limit is negative.
        """
        if genre is not None and genre not in self.genres():
            raise UserError(f"unknown genre {genre!r}; choose one of {', '.join(self.genres())}")
        words = fold(query).split()
        if query.strip() and not words:
            # Punctuation alone is in no title; only a blank query means everything.
            limit = 0
        parameters = {
            "words": words or [""],
            "core": _core(query),
            "genre": genre,
            "year_from": year_from,
            "year_to": year_to,
            "limit": _limit(limit),
        }
        return _item_frame(self._query(_SEARCH, parameters).df())

    def genres(self) -> list[str]:
        """All genres, in alphabetical order."""
        return [genre for (genre,) in self._query(_GENRES).fetchall()]

    def occupations(self) -> list[str]:
        """All occupations, in alphabetical order."""
        return [occupation for (occupation,) in self._query(_OCCUPATIONS).fetchall()]

    def statistics(self) -> dict[str, Any]:
        """Counts of the whole data set and its parts, times in seconds, and how ratings spread.

        ``ratings`` maps each rating to its count, ``density`` is the share of the user–item table
        that is filled, ``share_liked`` the share of ratings of 4 and above.
        """
        (counts,) = self._records(_STATISTICS, {"train": TRAIN, "valid": VALID, "test": TEST})
        return {
            "dataset": self.dataset,
            **counts,
            "density": counts["n_interactions"] / (counts["n_users"] * counts["n_items"]),
            "split_time": self.split_time,
            "ratings": {f"{rating:g}": n for rating, n in self._query(_RATINGS).fetchall()},
        }

    def query(self, sql: str, *, limit: int = 1000, seconds: float = 5.0) -> QueryResult:
        """Answer one SELECT statement that somebody wrote, over the store's tables (see `schema`).

        It runs in a process of its own that has the file open for reading only. There DuckDB is
        locked down, and the kernel lets it open nothing more, write no file, and take no more time
        and memory than it may: DuckDB looks at its own limits only between batches of rows, and
        single functions allocate past them.

        Parameters
        ----------
        sql
            The statement, at most `MAX_SQL` characters.
        limit
            How many rows to return at most.
        seconds
            How long the query may take.

        Raises
        ------
        UserError
            When the text is no single SELECT statement, DuckDB refuses it (with DuckDB's words),
            it takes too much time or memory, or a row is too long.
        """
        if not sql.strip():
            raise UserError("no query was given; write a SELECT statement")
        if len(sql) > MAX_SQL:
            raise UserError(
                f"the query has {len(sql):,} characters; write it in at most {MAX_SQL:,}"
            )
        if not seconds > 0:
            raise UserError(f"{seconds:g} seconds are no time; give more than 0")
        request = {
            "path": str(self.path),
            "setup": _RATINGS_VIEW,
            "sql": _key(sql),
            "limit": _limit(limit),
            "seconds": seconds,
            "memory": _QUERY_MEMORY,
            "size": MAX_RESULT,
        }
        # The source of one function in a bare interpreter: to import this module there would take
        # longer than most queries.
        program = "\n".join(map(inspect.getsource, (end_with, _answer_query)))
        program += f"\n{end_with.__name__}({os.getpid()})\n{_answer_query.__name__}()"
        process = subprocess.run(
            [sys.executable, "-P", "-c", program],
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            timeout=_START_SECONDS + seconds,
            check=False,
        )
        if process.returncode == -signal.SIGALRM:
            raise UserError(
                f"the query was stopped after {seconds:g} seconds; ask for less, for example with "
                "a filter, or join on ids"
            )
        if process.returncode:
            reason = process.stderr.strip().splitlines()[-1:] or [f"exit {process.returncode}"]
            raise UserError(
                f"the query was ended ({reason[0]}): it needed more than "
                f"{_QUERY_MEMORY >> 20:,} MB of memory, or something that DuckDB cannot do; ask "
                "for less"
            )
        answer = json.loads(process.stdout)
        if "error" in answer:
            raise UserError(answer["error"])
        return QueryResult(**answer)

    def schema(self) -> list[Table]:
        """The tables that `query` reads, the one to begin with first."""
        cursor = self._connection.cursor()
        cursor.execute(_RATINGS_VIEW)
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, name, kind in cursor.execute(_COLUMNS).fetchall():
            columns.setdefault(table, []).append((name, kind))
        return [
            Table(name, found, cursor.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0])
            for name, found in columns.items()
        ]

    def check(self) -> None:
        """Read every row of every table, by which damage anywhere in them is noticed.

        Raises
        ------
        UserError
            When the file is damaged.
        """
        for (table,) in self._query("SELECT table_name FROM duckdb_tables()").fetchall():
            self._query(f"SELECT bit_xor(hash(t)) FROM {table} AS t").fetchall()

    def _damaged(self, error: duckdb.Error) -> UserError:
        reason = str(error).splitlines()[0]
        return UserError(
            f"{self.path} is damaged or not a data store ({reason}); remove it and run: ckf prepare"
        )

    def analyses(self) -> list[Analysis]:
        """The ready-made queries that make sense for this data set."""
        return [each for each in ANALYSES if each.needs is None or self._holds(*each.needs)]

    @cached_property
    def _catalogue(self) -> pd.DataFrame:
        """Item, title, year and genres, in the order of positions."""
        return self.items()[["item", "title", "year", "genres"]]

    def _position(self, user: str | int) -> int:
        """A user's position; raises as `user`."""
        found = self._query(_POSITION, {"user": _key(user)}).fetchall()
        if not found:
            self.user(user)
        return found[0][0]

    def _interactions(self, own: Mapping[str, Any]) -> pd.DataFrame:
        """Columns as `history` returns them."""
        return (
            self._catalogue.take(own["item_position"])
            .reset_index(drop=True)
            .assign(
                rating=np.asarray(own["rating"], dtype=np.float32),
                timestamp=np.asarray(own["moment"], dtype=np.int64),
            )
        )

    def _holds(self, table: str, condition: str) -> bool:
        ((found,),) = self._query(
            f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {condition})"
        ).fetchall()
        return found

    def _query(
        self, sql: str, parameters: dict[str, Any] | None = None
    ) -> duckdb.DuckDBPyConnection:
        # A cursor per call: results of one connection must not be shared between threads.
        try:
            return self._connection.cursor().execute(sql, parameters)
        except duckdb.Error as error:
            # a wrong checksum has no class of its own
            if isinstance(error, _DAMAGE) or type(error) is duckdb.Error:
                raise self._damaged(error) from error
            raise

    def _records(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._query(sql, parameters)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _answer_query() -> None:
    """Answer the request on standard input, with everything but that shut off.

    It is run by its source in an interpreter of its own, so it knows nothing of this module.
    """
    import datetime
    import decimal
    import json
    import math
    import resource
    import signal
    import sys
    import time
    import uuid

    import duckdb

    def value(found):
        """A value of DuckDB's as JSON can hold it."""
        if isinstance(found, decimal.Decimal):
            found = float(found)
        if isinstance(found, float):
            return found if math.isfinite(found) else None
        if isinstance(found, datetime.date | datetime.time):  # a datetime is a date
            return found.isoformat()
        if isinstance(found, datetime.timedelta | uuid.UUID):
            return str(found)
        if isinstance(found, bytes):
            return found.hex()
        if isinstance(found, dict):
            return {str(key): value(inner) for key, inner in found.items()}
        if isinstance(found, list | tuple):
            return [value(inner) for inner in found]
        return found

    def answer(connection, sql, limit, size):
        statements = connection.extract_statements(sql)
        kinds = [statement.type.name for statement in statements]
        if kinds != ["SELECT"]:
            given = ", ".join(kinds) or "nothing"
            return {
                "error": f"the text holds {given}; write one SELECT statement, which only reads"
            }
        if statements[0].named_parameters:
            names = ", ".join(sorted(statements[0].named_parameters))
            return {"error": f"the query has parameters ({names}); write their values in it"}
        began = time.perf_counter()
        connection.execute(statements[0])
        types = [str(column[1]) for column in connection.description]
        if any("WITH TIME ZONE" in name for name in types):
            return {"error": "a column has a time zone; leave it out with a cast: …::TIMESTAMP"}
        rows, used, more = [], 0, False
        while (row := connection.fetchone()) is not None:
            row = value(row)
            used += len(json.dumps(row))
            more = len(rows) == limit or used > size
            if more:
                break
            rows.append(row)
        if more and not rows and limit:
            return {"error": f"one row has more than {size:,} characters; select less of it"}
        return {
            "columns": [column[0] for column in connection.description],
            "types": types,
            "rows": rows,
            "truncated": more,
            "seconds": time.perf_counter() - began,
        }

    request = json.load(sys.stdin)
    connection = duckdb.connect(
        request["path"],
        read_only=True,
        config={
            "threads": 1,
            "memory_limit": f"{request['memory'] >> 22}MiB",
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    for statement in (
        request["setup"],
        "SET enable_progress_bar = false",  # it would be drawn into the answer after two seconds
        "SET temp_directory = ''",  # before access ends: it could not be changed any more
        "SET enable_external_access = false",
        "SET lock_configuration = true",
        "BEGIN TRANSACTION READ ONLY",
    ):
        connection.execute(statement)
    # From here on the kernel refuses every further file and socket, and ends what takes too long.
    for limit, most in (
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, request["memory"]),
    ):
        resource.setrlimit(limit, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    try:
        found = answer(connection, request["sql"], request["limit"], request["size"])
    except (duckdb.OutOfMemoryException, MemoryError):
        found = {"error": "the query needed too much memory; ask for less, or for shorter values"}
    except duckdb.Error as error:
        found = {"error": f"DuckDB cannot answer this query; mend it. {error}"}
    signal.setitimer(signal.ITIMER_REAL, 0)
    json.dump(found, sys.stdout)


def _key(identifier: str | int) -> str:
    # Half of a surrogate pair, as JSON may carry it, is no text for the database.
    return str(identifier).encode(errors="replace").decode()


def moment(at: int) -> int:
    """``at`` as whole seconds since 1970; UserError when it is no such number."""
    try:
        seconds = int(at)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or abs(seconds) >= 2**63:
        raise UserError(f"moment {at!r} is none; give whole seconds since 1970, such as 889237269")
    return seconds


def _limit(limit: int | None) -> int | None:
    if limit is not None and limit < 0:
        raise UserError(f"limit {limit} is negative; give 0 or more, or none for all")
    return limit


def _item_frame(frame: pd.DataFrame) -> pd.DataFrame:
    return _with_lists(frame).astype(
        {"year": "Int64", "n_ratings": "int64", "mean_rating": "float64"}
    )


def _with_lists(frame: pd.DataFrame) -> pd.DataFrame:
    # DuckDB gives arrays for its lists.
    return frame.assign(genres=frame["genres"].map(list).astype(object))
