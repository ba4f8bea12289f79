"""Small data sets made at run time: MovieLens-100K's and XRec's formats, and raw data."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData
from ckf_demo.data.sources.movielens100k import GENRES
from ckf_demo.data.sources.xrec import PLAIN

USERS = [("1", 24, "M", "technician"), ("2", 53, "F", "other"), ("3", None, None, None)]
ITEMS = [
    ("10", "Matrix, The (1999)", ("Action", "Sci-Fi")),
    ("20", "Cité des enfants perdus, La (1995)", ("Adventure", "Sci-Fi")),
    ("30", "Garden of Finzi-Contini, The (Giardino dei Finzi-Contini, Il) (1970)", ("Drama",)),
    ("40", "unknown", ()),
    ("50", "Toy Story (1995)", ("Animation", "Children's", "Comedy")),
]
# (user, item, rating, timestamp): user 1 rates twice in one moment.
INTERACTIONS = [
    ("1", "10", 5, 100),
    ("2", "20", 1, 105),
    ("1", "50", 3, 110),
    ("1", "30", 4, 110),
    ("2", "10", 2, 90),
    ("1", "20", 2, 120),
    ("2", "30", 3, 130),
    ("2", "40", 4, 140),
    ("1", "40", 5, 150),
    ("2", "50", 1, 160),
]

# Of XRec's form: pairs of user and item, and pairs with the item's title, by part.
XREC_INTERACTIONS = {
    "train": [(7, 1), (8, 2), (7, 2), (9, 3)],
    "valid": [(8, 3), (7, 4)],
    "test": [(7, 5), (9, 1)],
}
XREC_EXPLAINED = {
    "train": [(7, 6, "Taco  Riendo")],
    "valid": [(8, 6, "Taco Riendo"), (8, 1, "Caf\u0065\u0301 Noir")],
    "test": [(9, 7, "The Logan, Curio")],
}


def write_lines(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def write_original(
    folder: Path, users: list = USERS, items: list = ITEMS, interactions: list = INTERACTIONS
) -> Path:
    """The files as GroupLens distributes them: ``u.data``, ``u.item``, ``u.user``."""
    people = [
        "|".join([user, str(age or ""), gender or "", job or "", "00000"])
        for user, age, gender, job in users
    ]
    films = []
    for item, title, genres in items:
        flags = [str(int(name in (genres or ("unknown",)))) for name in GENRES]
        films.append("|".join([item, title, "01-Jan-1995", "", "http://example", *flags]))
    ratings = ["\t".join(map(str, row)) for row in interactions]
    for name, lines in (("user", people), ("item", films), ("data", ratings)):
        write_lines(folder / f"u.{name}", lines, encoding="latin-1")
    return folder


def _write_atomic(folder: Path, users: list, items: list, interactions: list) -> Path:
    """RecBole's atomic files of rows."""
    for kind, columns, rows in (
        ("user", "user_id:token age:token gender:token occupation:token zip_code:token", users),
        ("item", "item_id:token movie_title:token_seq release_year:token class:token_seq", items),
        ("inter", "user_id:token item_id:token rating:float timestamp:float", interactions),
    ):
        lines = ["\t".join(map(str, row)) for row in (columns.split(), *rows)]
        write_lines(folder / f"ml-100k.{kind}", lines)
    return folder


def write_recbole(folder: Path) -> Path:
    """The same data in RecBole's atomic files, spelt as RecBole spells it."""
    users = [(user, age or "", sex or "", job or "", "00000") for user, age, sex, job in USERS]
    items = [
        (item, "unkonwn", "unkonwn", "unknown")
        if title == "unknown"
        else (item, title[:-7], title[-5:-1], " ".join(genres))
        for item, title, genres in ITEMS
    ]
    return _write_atomic(folder, users, items, INTERACTIONS)


def write_recbole_tables(folder: Path, data: Prepared) -> Path:
    """A prepared data set as RecBole's atomic files, from which it can be prepared again."""
    users = [
        (user, 30, gender, "writer", "00000")
        for user, gender in zip(data.user_ids, data.genders, strict=True)
    ]
    items = [
        (item, title, 1990, " ".join(genres))
        for item, title, genres in zip(data.item_ids, data.titles, data.genres, strict=True)
    ]
    interactions = [
        (data.user_ids[user], data.item_ids[item], f"{rating:g}", moment)
        for user, item, rating, moment in zip(
            data.user, data.item, data.rating, data.timestamp, strict=True
        )
    ]
    return _write_atomic(folder, users, items, interactions)


def raw_data(
    interactions: list[tuple[str, str, float, int]], titles: dict[str, str] | None = None
) -> RawData:
    """Raw data with just the users and items that the interactions (or ``titles``) name."""
    titles = titles or {item: f"Film {item}" for _, item, _, _ in interactions}
    return RawData.from_rows(
        users=[(user, 30, "F", "writer") for user in dict.fromkeys(row[0] for row in interactions)],
        items=[(item, title, 1990, ("Drama",)) for item, title in titles.items()],
        interactions=interactions,
    )


def xrec_line(user: object, item: object, title: object) -> str:
    """A line as XRec writes it."""
    return json.dumps(xrec_record(user, item, title))


def xrec_record(user: object, item: object, title: object) -> dict:
    summaries = {"user_summary": "SUMMARY", "item_summary": "SUMMARY"}
    return {"uid": user, "iid": item, "title": title, **summaries, "explanation": f"Why {item}."}


def write_xrec(folder: Path, interactions=XREC_INTERACTIONS, explained=XREC_EXPLAINED) -> Path:
    """XRec's files: three tables of interactions, and explained pairs beside each."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PLAIN:
        pairs = np.array(interactions[part], np.int64).reshape(-1, 2)
        table = pd.DataFrame(pairs, columns=["user", "item"])
        table.to_parquet(folder / f"interactions-{part}.parquet")
        write_lines(folder / f"explanations-{part}.jsonl", (xrec_line(*p) for p in explained[part]))
    return folder
