"""What the columns of a table hold, by their names, and by their cells where there are none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from ckf_demo.data.sources.base import BOOKS, FILMS, ITEMS, PLACES, PRODUCTS
from ckf_demo.data.sources.moments import LARGEST
from ckf_demo.data.sources.numbers import as_numbers
from ckf_demo.runtime.errors import UserError

USER, ITEM, RATING, TIME, TEXT = "user", "item", "rating", "time", "text"
TITLE, YEAR, GENRES = "title", "year", "genres"
AGE, GENDER, OCCUPATION = "age", "gender", "occupation"

KINDS = {
    FILMS: "movie film video show series anime tconst const imdb tmdb",
    BOOKS: "book isbn novel",
    PRODUCTS: "product asin sku article goods parentasin",
    PLACES: "business place restaurant venue poi hotel location shop",
    ITEMS: "item song track artist album game recipe joke course app news post content object "
    "podcast podcastid channel",
}
"""Words for items, by the kind of thing that they are."""

NAMES = {
    USER: "user uid username userid reviewer reviewerid customer client visitor member account "
    "person profile viewer reader listener buyer player student author",
    ITEM: " ".join(KINDS.values()) + " iid itemid",
    RATING: "rating ratings rate stars star score overall vote grade value preference label like "
    "liked plays playcount count weight feedback",
    TIME: "timestamp time date datetime created unixreviewtime reviewtime unixtime ts when rated "
    "watched",
    TEXT: "text review reviewtext comment body",
    TITLE: "title name movietitle booktitle itemname",
    YEAR: "year releaseyear yearofpublication releasedate release",
    GENRES: "genre genres category categories class tags",
    AGE: "age",
    GENDER: "gender sex",
    OCCUPATION: "occupation job profession",
}
"""Words that name a column's meaning."""
_MEANING = {word: meaning for meaning, words in NAMES.items() for word in words.split()}
_KIND = {word: kind for kind, words in KINDS.items() for word in words.split()}
_NOTHING = {"id", "ids", "no", "nr", "number", "num", "code", "key", "index", "idx", "hash", "at"}
_NOTHING |= {"your", "my", "the", "of", "added", "unix", "utc", "given", "main", "parent"}
_ATTRIBUTE = {
    ITEM: {TITLE: TITLE, YEAR: YEAR, GENRES: GENRES, TIME: ""},
    USER: {TITLE: USER, AGE: AGE, GENDER: GENDER, OCCUPATION: OCCUPATION, TIME: ""},
}
"""What a word means behind "movie" or "user": a movie's name is a title, a user's is the user."""
_SAMPLE = 5_000


def words_of(name: str) -> list[str]:
    """``["movie", "id"]`` for ``movieId``, ``movie_id`` and RecBole's ``movie_id:token``."""
    name = re.sub(r":(token|float|token_seq|float_seq)$", "", name.strip())
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", name.lower())


def meaning_of(name: str) -> str:
    """What a column of a name holds; empty where the name does not say."""
    words = words_of(name)
    if (joined := "".join(words)) in _MEANING:
        return _MEANING[joined]
    known = [_MEANING.get(word, "") for word in words if word not in _NOTHING]
    if not known or "" in known:
        return ""
    if len(known) == 1:
        return known[0]
    first, last = known[0], known[-1]
    if first in _ATTRIBUTE:
        return _ATTRIBUTE[first].get(last, first if first == last else "")
    return first if first == last or first in (RATING, TIME) else last


def recognised(columns: Sequence[str]) -> dict[str, str]:
    """Columns by what they hold; of several with one meaning that which looks most like an id."""
    found: dict[str, str] = {}
    for name in columns:
        meaning = meaning_of(name)
        if meaning and (meaning not in found or _rank(name) < _rank(found[meaning])):
            found[meaning] = name
    return found


def _rank(name: str) -> int:
    """Lower for ids and for single words; higher for names and what is put together."""
    words = words_of(name)
    joined = "".join(words)
    if joined in {"parentasin"}:
        return -1
    if "id" in words or joined.endswith("id"):
        return 0
    return 1 + len(words) + ("name" in words)


def chosen(columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """`recognised`, changed by what the user says: a name for a meaning, or nothing for none."""
    found = recognised(columns)
    for meaning, name in given.items():
        found = {m: c for m, c in found.items() if m != meaning and (c != name or not name)}
        if name in columns:
            found[meaning] = name
    return found


def by_cells(frame: pd.DataFrame) -> dict[str, str]:
    """Meanings of columns without names: user, item, then rating and time as the cells look.

    Empty where the table does not look like interactions.
    """
    sample = frame.head(_SAMPLE)
    names = list(frame.columns)
    found: dict[str, str] = {}
    for name in names[2:]:
        numbers = as_numbers(sample[name])
        if numbers.notna().mean() < 0.9:
            continue
        if TIME not in found and numbers.median() > LARGEST / 1000:
            found[TIME] = name
        elif RATING not in found and numbers.nunique() <= 101 and numbers.abs().max() <= 100:
            found[RATING] = name
    if len(names) < 2:
        return {}
    return {USER: names[0], ITEM: names[1]} | found


def read_choices(pairs: Sequence[str]) -> dict[str, str]:
    """What ``--columns user=NAME item=NAME`` says.

    UserError for another form or a meaning that no column can have.
    """
    found = {}
    for pair in (part for given in pairs for part in re.split(r"[\s,]+(?=\w+=)", given.strip())):
        meaning, equals, name = pair.partition("=")
        if not equals or meaning not in NAMES:
            raise UserError(
                f"--columns {pair!r} is not understood; write MEANING=NAME with one of "
                f"{', '.join(NAMES)}, such as --columns user=customer item=sku"
            )
        found[meaning] = name
    return found


def kind_of(name: str) -> str:
    """The kind of things that a column of items names, such as films for ``movieId``."""
    return next((_KIND[word] for word in words_of(name) if word in _KIND), ITEMS)
