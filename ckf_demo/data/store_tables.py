"""The tables of a store file, and how they are filled.

`ckf_demo.data.store` fills them from prepared data, `ckf_demo.data.bulk` from files that are too
large for memory.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence

import duckdb
import numpy as np
import pandas as pd

from ckf_demo.data.item_facts import COLUMNS
from ckf_demo.data.splits import NEWCOMER_INTERACTIONS, TRAIN
from ckf_demo.runtime.assets import ASSETS

# Raise it with every change of `SCHEMA`, `fold` or `core`, whose results are stored. A file is made
# from raw data in seconds, so an older one is made again and not migrated.
SCHEMA_VERSION = 3

SCHEMA = ASSETS / "schema.sql"

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

# The tenth moment comes from a list: ranks of all interactions would have to fit into memory.
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

_ARTICLE = re.compile(r"^(?:the|an?|le|la|les|il|el|los|las|das|der|die) (?=\S)")
# Letters with strokes and ligatures, which Unicode does not decompose.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})


def fold(text: str) -> str:
    """Text as searches compare it: lower case, no accents, no punctuation, single spaces.

    Apostrophes are dropped ("Schindler's" equals "schindlers"); other punctuation separates words.
    """
    # compatibility forms may decompose into capitals, so case is folded on both sides of it
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    bare = re.sub("['’‘`´]", "", bare.translate(_PLAIN_LETTERS))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def core(text: str) -> str:
    """A title or query, folded, without its article and what follows the first bracket."""
    return _ARTICLE.sub("", fold(text.partition("(")[0])) or fold(text)


def insert_meta(
    connection: duckdb.DuckDBPyConnection,
    dataset: str,
    data_hash: str,
    texts: Sequence[str] | None,
    split_time: int,
) -> None:
    """Insert the one row that says which data and which schema a store has."""
    row = [SCHEMA_VERSION, dataset, data_hash, texts_hash(texts), split_time]
    connection.execute("INSERT INTO meta VALUES (?, ?, ?, ?, ?)", row)


def insert_items(connection: duckdb.DuckDBPyConnection, items: pd.DataFrame) -> None:
    """Insert items: ``item``, ``title``, ``year`` (0 or missing if unknown) and ``genres``.

    Their row numbers become their positions. The columns of `ItemFacts` may be missing.
    """
    nothing = [[]] * len(items)
    facts = {name: items.get(name, nothing) for name in COLUMNS}
    names = [
        [fold(name) for name in (*directors, *actors)]
        for directors, actors in zip(facts["directors"], facts["actors"], strict=True)
    ]
    tags = [[fold(tag) for tag in each] for each in facts["tags"]]
    years = items["year"].fillna(0).astype("int64")
    # spaces at both ends let a search find whole words
    folded = [
        f" {fold(title)}{f' {year}' if year else ''} "
        for title, year in zip(items["title"], years, strict=True)
    ]
    table = pd.DataFrame(
        {
            "position": np.arange(len(items)),
            "id": items["item"],
            "title": items["title"],
            "year": years,
            "genres": items["genres"].map(list),
            "folded": folded,
            "core": [core(title) for title in items["title"]],
            **facts,
            "description": items.get("descriptions", ""),
            "names": names,
            "facts": [f" {' '.join((*n, *t))} " for n, t in zip(names, tags, strict=True)],
        }
    )
    lists = ("genres", *COLUMNS, "names")
    connection.register("raw_items", table)
    connection.execute(
        "INSERT INTO items BY NAME SELECT * REPLACE (nullif(year, 0) AS year, "
        f"{', '.join(f'{name}::VARCHAR[] AS {name}' for name in lists)}) FROM raw_items"
    )
    connection.unregister("raw_items")


def fill_statistics(connection: duckdb.DuckDBPyConnection, split_time: int) -> None:
    """Fill the counts of users and items; the ``interactions`` table must be complete."""
    connection.execute(_FILL_ITEM_STATISTICS, {"train": TRAIN})
    connection.execute(_FILL_USER_MOMENTS, {"split_time": split_time})
    connection.execute(_FILL_USER_HISTORIES)


def texts_hash(texts: Sequence[str] | None) -> str:
    """SHA-1 of the texts of all interactions; empty without texts."""
    if texts is None:
        return ""
    return hashlib.sha1(json.dumps(list(texts)).encode()).hexdigest()
