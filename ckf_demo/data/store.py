"""The interaction store: users, items and interactions in one DuckDB file.

`ckf prepare` writes the file once, with `write_store`. Everything else opens it read-only, through
`InteractionStore`. A history holds interactions *strictly before* a moment: interactions of the
same moment do not see each other. All SQL is in ``ckf_demo.data``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from ckf_demo.data.analyses import Analysis, all_analyses
from ckf_demo.data.free_sql import (
    QueryResult,
    Table,
    as_text,
    readable_tables,
    row_limit,
    run_select,
)
from ckf_demo.data.item_facts import COLUMNS
from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.data.store_tables import (
    SCHEMA,
    SCHEMA_VERSION,
    core,
    fill_statistics,
    fold,
    insert_items,
    insert_meta,
)
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import store_path

LONGEST_NAME = 80
"""Characters of a query that is compared letter by letter where nothing holds its words."""

RECENT_LIKES = 20
"""Number of last likes that candidates are retrieved for; neighbours are counted from as many."""

_USERS = """
SELECT id AS "user", age, gender, occupation, n_before, n_total, default_at AS "at" FROM users
"""
_ITEMS = """
SELECT id AS item, title, year, genres, n_ratings, mean_rating,
    directors, actors, tags, countries, languages, description
FROM items
"""

# Best first: the title equals the query, begins with it, holds all words, holds words that begin
# with them, holds them anywhere; then items whose people and tags hold them. Among equals the most
# rated item comes first.
_SEARCH = (
    _ITEMS
    + """
WHERE list_bool_and(list_transform($words, lambda word: contains(folded || facts, word)))
ORDER BY
    CASE
        WHEN core = $core THEN 0
        WHEN starts_with(core, $core) THEN 1
        WHEN list_bool_and(list_transform(
            $words, lambda word: contains(folded, ' ' || word || ' '))) THEN 2
        WHEN list_bool_and(list_transform(
            $words, lambda word: contains(folded, ' ' || word))) THEN 3
        WHEN list_bool_and(list_transform($words, lambda word: contains(folded, word))) THEN 4
        ELSE 5
    END,
    n_ratings DESC,
    position
LIMIT $limit
"""
)

# Where nothing holds the words: the titles, people and surnames that are spelt most alike. A sixth
# of the letters may differ.
_SEARCH_MISSPELT = (
    """
WITH alike AS (
    SELECT position, list_min(list_transform(
        list_concat([core], names, list_transform(names, lambda name: split_part(name, ' ', -1))),
        lambda text: damerau_levenshtein(text, $core) / greatest(length(text), length($core))
    )) AS distance
    FROM items
)
"""
    + _ITEMS.replace("FROM items", "FROM items JOIN alike USING (position)")
    + """
WHERE distance <= 1 / 6
ORDER BY distance, n_ratings DESC, position
LIMIT $limit
"""
)

# Items are joined in Python, which takes a fifth of the time that planning the join in SQL does.
_OF_USER = "SELECT item_position, rating, moment FROM interactions WHERE user_position = $user "

# Items that the same users like as the last likes before a moment, then the most rated items. Rated
# items are left out.
_CANDIDATES = """
WITH rated AS (
    SELECT item_position, rating, interactions.position AS place
    FROM interactions JOIN users ON users.position = user_position
    WHERE users.id = $user AND moment < $at
), recent AS (
    SELECT item_position FROM rated WHERE rating >= $liked ORDER BY place DESC LIMIT $recent
), near AS (
    SELECT neighbour_position AS position, sum(score) AS score
    FROM recent JOIN neighbours USING (item_position)
    GROUP BY position
)
SELECT items.id AS item, title, year, genres, coalesce(score, 0) AS score, n_ratings
FROM items LEFT JOIN near ON near.position = items.position
WHERE items.position NOT IN (SELECT item_position FROM rated)
ORDER BY score DESC, n_ratings DESC, items.position
LIMIT $limit
"""

_STATISTICS = """
SELECT count(*) AS n_interactions,
    count(*) FILTER (split = $train) AS n_train,
    count(*) FILTER (split = $valid) AS n_valid,
    count(*) FILTER (split = $test) AS n_test,
    avg(rating::DOUBLE) AS mean_rating,
    avg((rating >= $liked)::INTEGER) AS share_liked,
    min(moment) AS first_time,
    max(moment) AS last_time,
    count(DISTINCT user_position) FILTER (split = $train) AS n_users_in_train,
    count(DISTINCT user_position) FILTER (split = $test) AS n_users_in_test,
    count(DISTINCT item_position) FILTER (split = $train) AS n_items_in_train,
    (SELECT count(*) FROM users) AS n_users,
    (SELECT count(*) FROM items) AS n_items
FROM interactions
"""

_DAMAGE = (
    *(duckdb.IOException, duckdb.SerializationException),
    *(duckdb.FatalException, duckdb.InternalException),
)


def write_store(prepared: Prepared, path: Path, texts: Sequence[str] | None = None) -> None:
    """Write a new store file at ``path``, which must not exist yet.

    ``texts`` holds the text of each interaction, by its row in the source. The number and the mean
    of an item's ratings count the training part only.
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
    if prepared.facts is not None:
        items = items.assign(**prepared.facts.to_json())
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
        connection.execute(SCHEMA.read_text())
        insert_meta(connection, prepared.dataset, prepared.hash, texts, prepared.split_time)
        connection.register("raw_users", users)
        connection.register("raw_rows", interactions)
        connection.execute(
            "INSERT INTO users (position, id, age, gender, occupation) SELECT position, id, "
            "nullif(age, 0), nullif(gender, ''), nullif(occupation, '') FROM raw_users"
        )
        insert_items(connection, items)
        connection.execute(
            "INSERT INTO interactions SELECT * REPLACE (nullif(text, '') AS text) FROM raw_rows "
            "ORDER BY user_position, position"
        )
        fill_statistics(connection, prepared.split_time)
        connection.execute("CHECKPOINT")


class InteractionStore:
    """Read-only access to one prepared data set; safe to use from several threads.

    Users and items are named by the ids of the source, as text or as numbers. Moments are int64
    seconds since 1970 (UTC). UserError is raised for an unknown id, a moment that is no number of
    seconds, a negative limit, and a damaged file. ``hash`` is `Prepared.hash` of the data that the
    file was made from, ``texts`` the `texts_hash` of its interactions, and ``split_time`` the first
    moment of the validation part.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; UserError if it is missing, damaged, or of another schema version."""
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"no data store at {self.path}; run: ckf prepare")
        # One thread: queries take milliseconds, and the model needs the cores.
        config = {
            "threads": 1,
            "enable_external_access": False,
            "python_enable_replacements": False,
        }
        try:
            self._connection = duckdb.connect(self.path, read_only=True, config=config)
            # The version alone first: another version's table may have other columns.
            ((version,),) = self._connection.execute("SELECT schema_version FROM meta").fetchall()
            if version == SCHEMA_VERSION:
                meta = self._connection.execute("SELECT dataset, hash, texts, split_time FROM meta")
                ((self.dataset, self.hash, self.texts, self.split_time),) = meta.fetchall()
        except duckdb.Error as e:
            raise self._damaged(e) from e
        self._size = self.path.stat().st_size
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
        return _item_frame(self._query(_ITEMS + "ORDER BY position").df())

    def users(self) -> pd.DataFrame:
        """All users, in the order of `Prepared.user_ids`.

        Columns: ``user`` str, ``age`` Int64 (may be missing), ``gender`` and ``occupation`` str or
        None, ``n_before`` int64 (interactions before the default moment), ``n_total`` int64,
        ``at`` int64 (the default moment).
        """
        frame = self._query(_USERS + "ORDER BY position").df()
        for name in ("gender", "occupation"):
            given = frame[name].notna()
            # pyrefly: ignore[bad-argument-type]: pandas takes None, its annotation does not
            frame[name] = frame[name].astype(object).where(given, None)
        return frame.astype(
            {"age": "Int64", "n_before": "int64", "n_total": "int64", "at": "int64"}
        )

    def user(self, user: str | int) -> dict[str, Any]:
        """One row of `users` as plain values, None where unknown."""
        hint = ", or describe a new person by history, taste or profile"
        return self._one(_USERS, "user", user, hint)

    def item(self, item: str | int) -> dict[str, Any]:
        """One row of `items` as plain values, None where unknown."""
        return self._one(_ITEMS, "item", item, ": search by title to find one")

    def _one(self, sql: str, kind: str, identifier: str | int, hint: str) -> dict[str, Any]:
        rows = self._records(sql + "WHERE id = $id", {"id": as_text(identifier)})
        if not rows:
            raise UserError(
                f"unknown {kind} {str(identifier)!r}; give an id of {self.dataset}{hint}"
            )
        return rows[0]

    def default_at(self, user: str | int) -> int:
        """The moment at which predictions for a user are made by default.

        It is the split time. For a user without interactions before the split it is the time of
        their tenth interaction, or of their last one if they have fewer.
        """
        return self.user(user)["at"]

    def history(self, user: str | int, at: int, limit: int | None = None) -> pd.DataFrame:
        """The interactions of a user strictly before ``at``, oldest first.

        With a ``limit``, only that many of the most recent ones. Columns: ``item`` str, ``title``
        str, ``year`` Int64 (may be missing), ``genres`` list of str, ``rating`` float32 and
        ``timestamp`` int64.
        """
        parameters = {"user": self._position(user), "at": moment(at), "limit": row_limit(limit)}
        sql = _OF_USER + "AND moment < $at ORDER BY position DESC LIMIT $limit"
        newest_first = self._query(sql, parameters).fetchnumpy()
        return self._interactions({name: column[::-1] for name, column in newest_first.items()})

    def later(self, user: str | int, at: int) -> pd.DataFrame:
        """As `history`, for the interactions of a user at or after ``at``, oldest first."""
        parameters = {"user": self._position(user), "at": moment(at)}
        sql = _OF_USER + "AND moment >= $at ORDER BY position"
        return self._interactions(self._query(sql, parameters).fetchnumpy())

    def candidates(self, user: str | int, at: int, limit: int = 100) -> pd.DataFrame:
        """Items that a user may like next, best first; UserError if the store is not from bulk.

        `ckf_demo.data.bulk` stores which items the same users like. Items are ordered by the sum of
        these scores over the last likes before ``at``, then by their number of ratings. Items rated
        before ``at`` are left out. Columns: ``item`` str, ``title`` str, ``year`` Int64 (may be
        missing), ``genres`` list of str, ``score`` float64 and ``n_ratings`` int64.
        """
        self.user(user)
        if not self._holds("duckdb_tables()", "table_name = 'neighbours'"):
            raise UserError(
                f"the store of {self.dataset} has no candidates, since it was not written in bulk; "
                "rank with a checkpoint instead"
            )
        parameters = {
            "user": str(user),
            "at": moment(at),
            "liked": LIKED_STARS,
            "recent": RECENT_LIKES,
            "limit": row_limit(limit),
        }
        return _item_frame(self._query(_CANDIDATES, parameters).df(), "score")

    def search_items(self, query: str, limit: int | None = 20) -> pd.DataFrame:
        """Items whose title, year, people or tags hold all words of the query, in any order.

        Case, accents and punctuation do not matter, and parts of words count. Where nothing holds
        them, titles and names that are spelt much like the query count. An empty query matches
        every item. Columns as in `items`, the best match first; among equals the most rated item.
        """
        words = fold(query).split()
        if query.strip() and not words:
            # No title holds punctuation alone; only a blank query means every item.
            limit = 0
        parameters = {"words": words or [""], "core": core(query), "limit": row_limit(limit)}
        found = self._query(_SEARCH, parameters).df()
        if found.empty and words and len(query) <= LONGEST_NAME:
            del parameters["words"]
            found = self._query(_SEARCH_MISSPELT, parameters).df()
        return _item_frame(found)

    def genres(self) -> list[str]:
        """All genres, in alphabetical order."""
        sql = "SELECT DISTINCT unnest(genres) AS genre FROM items ORDER BY genre"
        return [genre for (genre,) in self._query(sql).fetchall()]

    def occupations(self) -> list[str]:
        """All occupations, in alphabetical order."""
        sql = "SELECT DISTINCT occupation FROM users WHERE occupation IS NOT NULL ORDER BY ALL"
        return [occupation for (occupation,) in self._query(sql).fetchall()]

    def statistics(self) -> dict[str, Any]:
        """Counts of the whole data set and its parts, times in seconds, and counts of each rating.

        ``ratings`` maps each rating to its count, ``density`` is the share of the user–item table
        that is filled, ``share_liked`` the share of ratings of 4 and above.
        """
        (counts,) = self._records(
            _STATISTICS, {"train": TRAIN, "valid": VALID, "test": TEST, "liked": LIKED_STARS}
        )
        ratings = "SELECT rating, count(*) FROM interactions GROUP BY rating ORDER BY rating"
        return {
            "dataset": self.dataset,
            **counts,
            "density": counts["n_interactions"] / (counts["n_users"] * counts["n_items"]),
            "split_time": self.split_time,
            "ratings": {f"{rating:g}": n for rating, n in self._query(ratings).fetchall()},
        }

    def query(self, sql: str, *, limit: int = 1000, seconds: float = 5.0) -> QueryResult:
        """Answer one SELECT statement that a visitor wrote; see `free_sql.run_select`."""
        return run_select(self.path, sql, limit=limit, seconds=seconds)

    def schema(self) -> list[Table]:
        """The tables that `query` reads, the one to begin with first."""
        return readable_tables(self._connection.cursor())

    def check_file(self) -> None:
        """See that the file is still the whole one that was opened, which takes no time.

        What the database has read of a file it answers from memory, so that a file that was cut
        off meanwhile goes unnoticed for long.

        Raises
        ------
        UserError
            When the file is gone or has another size.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._size:
            raise UserError(
                f"{self.path} has {size:,} bytes, and had {self._size:,} when it was opened; "
                "restart the program, and run ckf prepare if that does not help"
            )

    def check(self) -> None:
        """Read every row of every table, so that damage anywhere in them is noticed."""
        for (table,) in self._query("SELECT table_name FROM duckdb_tables()").fetchall():
            self._query(f"SELECT bit_xor(hash(t)) FROM {table} AS t").fetchall()

    def _damaged(self, error: duckdb.Error, name: str = "") -> UserError:
        reason = str(error).splitlines()[0].replace(str(self.path), self.path.name)
        return UserError(
            f"{name or self.path} is damaged or not a data store ({reason}); remove it and run: "
            "ckf prepare"
        )

    def analyses(self) -> list[Analysis]:
        """The ready-made queries that suit this data set."""
        return [each for each in all_analyses() if each.needs is None or self._holds(*each.needs)]

    @cached_property
    def _catalogue(self) -> pd.DataFrame:
        """Item, title, year and genres, in the order of positions."""
        return self.items()[["item", "title", "year", "genres"]]

    def _position(self, user: str | int) -> int:
        """A user's position; raises as `user`."""
        sql = "SELECT position FROM users WHERE id = $user"
        rows = self._query(sql, {"user": as_text(user)}).fetchall()
        if not rows:
            self.user(user)
        return rows[0][0]

    def _interactions(self, rows: Mapping[str, Any]) -> pd.DataFrame:
        """Columns as `history` returns them."""
        items = self._catalogue.take(rows["item_position"]).reset_index(drop=True)
        return items.assign(
            rating=np.asarray(rows["rating"], dtype=np.float32),
            timestamp=np.asarray(rows["moment"], dtype=np.int64),
        )

    def _holds(self, table: str, condition: str) -> bool:
        sql = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {condition})"
        ((exists,),) = self._query(sql).fetchall()
        return exists

    def _query(
        self, sql: str, parameters: dict[str, Any] | None = None
    ) -> duckdb.DuckDBPyConnection:
        # A cursor per call: results of one connection must not be shared between threads.
        try:
            return self._connection.cursor().execute(sql, parameters)
        except duckdb.Error as error:
            # a wrong checksum has no class of its own
            if isinstance(error, _DAMAGE) or type(error) is duckdb.Error:
                # visitors see it: the folder is none of their business
                raise self._damaged(error, self.path.name) from error
            raise

    def _records(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._query(sql, parameters)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def moment(at: int) -> int:
    """``at`` as whole seconds since 1970; UserError when it is not such a number."""
    try:
        seconds = int(at)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or abs(seconds) >= 2**63:
        raise UserError(
            f"moment {at!r} is not valid; give whole seconds since 1970, such as 889237269"
        )
    return seconds


def _item_frame(frame: pd.DataFrame, score: str = "mean_rating") -> pd.DataFrame:
    # DuckDB gives arrays for its lists.
    lists = [name for name in ("genres", *COLUMNS) if name in frame]
    frame = frame.assign(**{name: frame[name].map(list).astype(object) for name in lists})
    return frame.astype({"year": "Int64", "n_ratings": "int64", score: "float64"})
