"""The interaction store: users, items and interactions in one DuckDB file. All SQL lives here.

`ckf prepare` writes the file once, with `write_store`; everything else opens it read-only, through
`InteractionStore`. A history always means interactions *strictly before* a moment: interactions of
the same moment do not see each other.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.errors import UserError
from ckf_demo.paths import store_path

# Raise it with every change of the tables below. The file is made from raw data in seconds, so an
# older one is not migrated but made anew.
SCHEMA_VERSION = 1

# The history of someone without interactions before the split ends at this interaction of theirs.
NEWCOMER_INTERACTIONS = 10

# `position` is the dense index in `Prepared`; `folded` and `core` are what searches compare.
_TABLES = """
CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    dataset VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
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
    split TINYINT NOT NULL
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

_FILL_USER_MOMENTS = """
WITH ranked AS (
    SELECT user_position, moment,
        row_number() OVER (PARTITION BY user_position ORDER BY position) AS nth
    FROM interactions
),
summary AS (
    SELECT users.position, count(moment) AS n_total,
        count(moment) FILTER (moment < $split_time) AS n_early,
        max(moment) FILTER (nth <= $newcomer) AS newcomer_at
    FROM users LEFT JOIN ranked ON user_position = users.position
    GROUP BY users.position
),
moments AS (
    SELECT position, n_total,
        CASE WHEN n_early > 0 OR n_total = 0 THEN $split_time ELSE newcomer_at END AS default_at
    FROM summary
)
UPDATE users SET
    n_total = moments.n_total,
    default_at = moments.default_at,
    n_before = (
        SELECT count(*) FROM interactions
        WHERE user_position = users.position AND moment < moments.default_at
    )
FROM moments WHERE users.position = moments.position
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

_INTERACTIONS = """
SELECT items.id AS item, title, year, genres, rating, moment AS "timestamp"
FROM interactions
    JOIN users ON users.position = user_position
    JOIN items ON items.position = item_position
WHERE users.id = $user
"""
_HISTORY = _INTERACTIONS + "AND moment < $at ORDER BY interactions.position DESC LIMIT $limit"
_LATER = _INTERACTIONS + "AND moment >= $at ORDER BY interactions.position"

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


def write_store(prepared: Prepared, path: Path) -> None:
    """Write a new store file at ``path``, which must not exist yet.

    Everything shown about items (their number of ratings and mean) counts the training part only.
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
    years = [f" {year}" if year else "" for year in prepared.years]
    items = pd.DataFrame(
        {
            "position": np.arange(prepared.n_items),
            "id": prepared.item_ids,
            "title": prepared.titles,
            "year": prepared.years,
            "genres": [list(genres) for genres in prepared.genres],
            "folded": [
                f" {fold(title)}{year} " for title, year in zip(prepared.titles, years, strict=True)
            ],
            "core": [_core(title) for title in prepared.titles],
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
        }
    )
    with duckdb.connect(path) as connection:
        connection.execute(_TABLES)
        connection.execute(
            "INSERT INTO meta VALUES (?, ?, ?, ?)",
            [SCHEMA_VERSION, prepared.dataset, prepared.hash, prepared.split_time],
        )
        for name, table in (("raw_users", users), ("raw_items", items), ("raw_rows", interactions)):
            connection.register(name, table)
        connection.execute(
            "INSERT INTO users (position, id, age, gender, occupation) SELECT position, id, "
            "nullif(age, 0), nullif(gender, ''), nullif(occupation, '') FROM raw_users"
        )
        connection.execute(
            "INSERT INTO items (position, id, title, year, genres, folded, core) SELECT position, "
            "id, title, nullif(year, 0), genres::VARCHAR[], folded, core FROM raw_items"
        )
        connection.execute("INSERT INTO interactions SELECT * FROM raw_rows")
        connection.execute(_FILL_ITEM_STATISTICS, {"train": TRAIN})
        connection.execute(
            _FILL_USER_MOMENTS,
            {"split_time": prepared.split_time, "newcomer": NEWCOMER_INTERACTIONS},
        )
        connection.execute("CHECKPOINT")


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
                ((self.dataset, self.hash, self.split_time),) = self._connection.execute(
                    "SELECT dataset, hash, split_time FROM meta"
                ).fetchall()
        except (duckdb.IOException, duckdb.SerializationException, duckdb.CatalogException) as e:
            reason = str(e).splitlines()[0]
            raise UserError(
                f"{self.path} is not a data store ({reason}); remove it and run: ckf prepare"
            ) from e
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
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
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
        self.user(user)
        newest_first = self._query(
            _HISTORY, {"user": str(user), "at": moment(at), "limit": _limit(limit)}
        ).df()
        return _interaction_frame(newest_first.iloc[::-1].reset_index(drop=True))

    def later(self, user: str | int, at: int) -> pd.DataFrame:
        """What a user rated at or after ``at``, oldest first; columns and errors as `history`."""
        self.user(user)
        return _interaction_frame(self._query(_LATER, {"user": str(user), "at": moment(at)}).df())

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

    def _query(
        self, sql: str, parameters: dict[str, Any] | None = None
    ) -> duckdb.DuckDBPyConnection:
        # A cursor per call: results of one connection must not be shared between threads.
        return self._connection.cursor().execute(sql, parameters)

    def _records(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._query(sql, parameters)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


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


def _interaction_frame(frame: pd.DataFrame) -> pd.DataFrame:
    return _with_lists(frame).astype({"year": "Int64", "rating": "float32", "timestamp": "int64"})


def _with_lists(frame: pd.DataFrame) -> pd.DataFrame:
    # DuckDB gives arrays for its lists.
    return frame.assign(genres=frame["genres"].map(list).astype(object))
