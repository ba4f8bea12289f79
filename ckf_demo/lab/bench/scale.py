"""The store at twenty-five million interactions, against SQLite and pandas in the same run.

    python -m ckf_demo.lab.bench.scale --json ckf_demo/lab/results/scale.json

Ratings in the shape of MovieLens-25M are made up first (not timed), then each way of holding them
runs in a process of its own, whose most memory is noted: the import, histories of random people
with the fifty last ratings, and for the store also those of the most active, candidates, the
ready-made analyses and a search. SQLite gets an index by user and time, pandas the whole table in
memory with its rows grouped by user.
"""

from __future__ import annotations

import multiprocessing
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from rich.console import Console

from ckf_demo.data.bulk import write_bulk_store
from ckf_demo.data.sources import movielens
from ckf_demo.data.store import InteractionStore
from ckf_demo.lab.bench.made_ratings import ROWS, write_ratings
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import write_json
from ckf_demo.runtime.timing import Row

LAST = 50
"""Ratings of a history, as prompts show at most."""
LOOKUPS, RETRIEVALS, ACTIVE = 1_000, 100, 100
QUERY_SECONDS = 60.0
LATE = 2**40
"""A moment after all others."""

Measured = dict[str, Sequence[float]]
"""From a name and its unit ("import s") to its values."""


def store_way(folder: Path) -> Measured:
    """The project's own store."""
    path = folder / "store.duckdb"
    began = time.perf_counter()
    write_bulk_store(movielens.bulk(folder), "made-up", path)
    found: Measured = {
        "import s": [time.perf_counter() - began],
        "file MB": [path.stat().st_size / 1e6],
    }
    with InteractionStore(path) as store:
        people = store.users()
        users = _some(people["user"].tolist(), LOOKUPS)
        active = people.sort_values("n_total")["user"].tolist()[-ACTIVE:]
        found["history ms"] = _milliseconds(lambda u: store.history(u, LATE, LAST), users)
        found["history of the most active ms"] = _milliseconds(
            lambda u: store.history(u, LATE, LAST), active
        )
        found["100 candidates ms"] = _milliseconds(
            lambda u: store.candidates(u, LATE), users[:RETRIEVALS]
        )
        found["search ms"] = _milliseconds(
            store.search_items, [f"film {n}" for n in range(1, 200, 10)]
        )
        for analysis in store.analyses():
            answer = store.query(analysis.sql, seconds=QUERY_SECONDS)
            found[f"{analysis.title.lower()} s"] = [answer.seconds]
    return found


def sqlite_way(folder: Path) -> Measured:
    """SQLite of the standard library, in its own fastest form: one transaction, then the index."""
    path = folder / "store.sqlite"
    began = time.perf_counter()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE ratings (user INT, item INT, rating REAL, moment INT)")
        for block in _blocks(folder):
            connection.executemany(
                "INSERT INTO ratings VALUES (?, ?, ?, ?)", block.itertuples(index=False, name=None)
            )
        connection.execute("CREATE INDEX by_user ON ratings (user, moment)")
    found: Measured = {
        "import s": [time.perf_counter() - began],
        "file MB": [path.stat().st_size / 1e6],
    }
    statement = (
        "SELECT item, rating, moment FROM ratings WHERE user = ? AND moment < ? "
        "ORDER BY moment DESC LIMIT ?"
    )
    ids = [i for (i,) in connection.execute("SELECT DISTINCT user FROM ratings ORDER BY user")]
    found["history ms"] = _milliseconds(
        lambda u: connection.execute(statement, (u, LATE, LAST)).fetchall(), _some(ids, LOOKUPS)
    )
    began = time.perf_counter()
    connection.execute(
        "SELECT strftime('%Y-%m', moment, 'unixepoch') AS month, avg(rating), count(*) "
        "FROM ratings GROUP BY month"
    ).fetchall()
    found["ratings over time s"] = [time.perf_counter() - began]
    connection.close()
    return found


def pandas_way(folder: Path) -> Measured:
    """The whole table in memory, sorted by user and time."""
    began = time.perf_counter()
    table = pd.read_csv(folder / movielens.RATINGS)
    table = table.sort_values(["userId", "timestamp"], kind="stable")
    starts = np.searchsorted(table["userId"], np.arange(table["userId"].max() + 2))
    found: Measured = {"import s": [time.perf_counter() - began]}
    ids = np.unique(table["userId"]).tolist()

    def history(user: int) -> pd.DataFrame:
        own = table.iloc[starts[user] : starts[user + 1]]
        return own[own["timestamp"] < LATE].tail(LAST)

    found["history ms"] = _milliseconds(history, _some(ids, LOOKUPS))
    began = time.perf_counter()
    months = pd.to_datetime(table["timestamp"], unit="s").dt.to_period("M")
    table.groupby(months)["rating"].agg(["mean", "count"])
    found["ratings over time s"] = [time.perf_counter() - began]
    return found


WAYS: dict[str, Callable[[Path], Measured]] = {
    "store": store_way,
    "sqlite": sqlite_way,
    "pandas": pandas_way,
}


def measure(folder: Path, names: Sequence[str] = tuple(WAYS)) -> Iterator[Row]:
    """Rows of every way, each in a process of its own; names are "store: import"."""
    for name in names:
        for key, values in _apart(name, folder).items():
            what, _, unit = key.rpartition(" ")
            if len(values) == 1:
                yield Row(f"{name}: {what}", values[0], values[0], values[0], unit)
            else:
                low, middle, high = np.percentile(values, [5, 50, 95])
                yield Row(f"{name}: {what}, median (5 % to 95 %)", middle, low, high, unit)


def _apart(name: str, folder: Path) -> Measured:
    """A way in a process of its own, with the most memory that it held."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(name, folder, sending))
    process.start()
    sending.close()
    try:
        return receiving.recv()
    except EOFError:
        raise UserError(
            f"the measurement of {name} ended without a result; look for memory or disk space that "
            "ran out, or measure fewer --rows"
        ) from None
    finally:
        process.join()


def _send(name: str, folder: Path, sending) -> None:
    found = WAYS[name](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sending.send(found | {"most memory MB": [peak / 1e6]})


def _blocks(folder: Path) -> Iterator[pd.DataFrame]:
    return iter(pd.read_csv(folder / movielens.RATINGS, chunksize=500_000))


def _some(ids: list, n: int) -> list:
    chosen = np.random.default_rng(0).choice(len(ids), min(n, len(ids)), replace=False)
    return [ids[place] for place in chosen]


def _milliseconds(call: Callable, arguments: Sequence) -> list[float]:
    """Of each call, after one that is not counted."""
    call(arguments[0])
    seconds = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        seconds.append(1e3 * (time.perf_counter() - began))
    return seconds


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Ratings to make up.")] = ROWS,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write figures here.")] = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for some 5 GB of files, which are removed.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="A way to measure; repeatable.")] = None,
) -> None:
    """Measure the store at the size of MovieLens-25M, beside SQLite and pandas."""
    names = only or list(WAYS)
    unknown = [name for name in names if name not in WAYS]
    if unknown:
        raise typer.BadParameter(f"no way {unknown[0]!r}; choose among {', '.join(WAYS)}")
    console = Console(stderr=True)
    found: list[Row] = []
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        with console.status("Making up ratings …"):
            made = write_ratings(Path(folder), rows)
        console.print(f"{made:,} ratings")
        with console.status("Measuring …"):
            for row in measure(Path(folder), names):
                found.append(row)
                console.print(f"{row.name}: {row.value:,.4g} {row.unit}")
    if json_path is not None:
        payload = {
            "machine": describe(torch.device("cpu")),
            "ratings": made,
            "rows": [vars(row) for row in found],
        }
        write_json(json_path, payload)


if __name__ == "__main__":
    typer.run(main)
