"""``ckf score``: the top-k lists of many users, written to one Parquet file.

Finished batches are kept beside the file until it is complete, so that the same command continues a
killed run. A batch is written under its number, and the file is joined in the order of the numbers.
So every user is in it once, even if a batch was computed twice.
"""

import hashlib
import importlib.util
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import exclusive, replacing, store_path, writing

RANKED = {"rank": pa.int32(), "item": pa.string(), "title": pa.string(), "score": pa.float64()}
"""The columns of each item of a list."""
SCHEMA = pa.schema({"user": pa.string()} | RANKED)

ENGINES = ("local", "ray")

USERS_PER_BATCH = 16
LEAST_BATCHES, MOST_BATCHES = 32, 10_000

Row = dict[str, object]
Batch = tuple[int, list[str]]
Ranked = tuple[int, list[Row]]
"""The number of a batch with its users, and with its rows."""


class Ranker:
    """A loaded checkpoint that ranks for batches of users; with Ray, one in each worker."""

    def __init__(self, checkpoint: Path, quantization: str | None = None) -> None:
        from ckf_demo.recommender import Recommender

        self.recommender = Recommender.load(checkpoint, quantization=quantization)

    def rank(self, users: list[str], k: int) -> list[Row]:
        """The rows of each user in turn, best first.

        Caches of earlier users are cleared. Otherwise the last digits of scores, and so the lists,
        would depend on how users are distributed over workers.
        """
        rows = []
        for user in users:
            self.recommender.forget()
            for row in self.recommender.rank(user=user, k=k):
                rows.append({"user": user} | {name: row[name] for name in RANKED})
        return rows


def score(
    checkpoint: Path,
    users_file: Path,
    k: int,
    out: Path,
    engine: str = "local",
    *,
    workers: int | None = None,
    threads: int | None = None,
) -> None:
    """Rank for every user of ``users_file`` and write columns user, rank, item, title, score.

    Each user is ranked for at their default moment. Rows are in the order of the users and by rank.
    ``engine`` is ``"local"`` (this process) or ``"ray"`` (``workers`` of ``threads`` threads each,
    by default one for every two cores of the cluster, or of this machine without one). UserError
    for an unreadable or empty file, an unknown user, a missing engine, or options that the engine
    does not have.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}; use one of {', '.join(ENGINES)}")
    if engine == "local" and (workers, threads) != (None, None):
        raise UserError("--workers and --threads are for --engine ray; leave them away or add it")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError(
            "--engine ray needs the package ray; pip install ray, or use --engine local"
        )
    users = read_users(users_file)

    from ckf_demo.model.manifest import read_manifest, verify_files

    manifest = read_manifest(checkpoint)
    verify_files(checkpoint, manifest)
    check_users(users, manifest["dataset"])

    batches = list(enumerate(in_batches(users)))
    out = Path(out)
    folder = out.parent / f".{out.name}.parts"
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with exclusive(out.parent / f".{out.name}.lock", lambda: _busy(out)):
        parts = Parts(folder, _made_of(manifest, users, k))
        left = [batch for batch in batches if not parts.has(batch[0])]
        sizes = {number: len(batch) for number, batch in batches}
        with Progress(*columns, TimeRemainingColumn()) as progress:
            kept = len(users) - sum(sizes[number] for number, _ in left)
            if kept:
                progress.console.print(f"{kept} of {len(users)} users are done from before.")
            task = progress.add_task("Ranking", total=len(users), completed=kept)
            if engine == "local":
                ranked = _rank_locally(checkpoint, left, k)
            else:
                ranked = _rank_with_ray(checkpoint, manifest, left, k, workers, threads)
            for number, rows in ranked:
                parts.put(number, rows)
                progress.advance(task, sizes[number])
        parts.join(len(batches), out)
    (out.parent / f".{out.name}.lock").unlink(missing_ok=True)
    print(f"{len(users)} users, up to {k} items each: {out}")


def _busy(out: Path) -> None:
    raise UserError(f"another process is writing {out}; wait for it, or name another --out")


def in_batches(users: list[str]) -> list[list[str]]:
    """Users in batches, which depend on the users alone; at most `MOST_BATCHES` of them.

    They are small enough that workers end at about the same time and that a kill loses little.
    """
    size = min(USERS_PER_BATCH, math.ceil(len(users) / LEAST_BATCHES))
    size = max(size, math.ceil(len(users) / MOST_BATCHES))
    return [users[start : start + size] for start in range(0, len(users), size)]


def _made_of(manifest: dict, users: list[str], k: int) -> dict[str, object]:
    """Everything that the lists depend on."""
    store = store_path(manifest["dataset"])
    state = store.stat() if store.exists() else None
    return {
        "checkpoint": {key: manifest.get(key) for key in ("dataset", "hashes", "calibration")},
        "store": None if state is None else [state.st_size, state.st_mtime_ns],
        "users": hashlib.sha256("\n".join(users).encode()).hexdigest(),
        "k": k,
    }


class Parts:
    """Finished batches in a folder, which a later run of the same command uses."""

    def __init__(self, folder: Path, made_of: dict[str, object]) -> None:
        self.folder = folder
        label = folder / "made_of.json"
        if not label.exists() or json.loads(label.read_text()) != made_of:
            with writing(folder):
                shutil.rmtree(folder, ignore_errors=True)
            with replacing(label) as temporary:
                temporary.write_text(json.dumps(made_of))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"

    def has(self, number: int) -> bool:
        return self._file(number).exists()

    def put(self, number: int, rows: list[Row]) -> None:
        """Write one batch whole, or not at all."""
        with replacing(self._file(number)) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)

    def join(self, count: int, out: Path) -> None:
        """Join the first ``count`` batches in their order, and remove them."""
        with replacing(out) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
            for number in range(count):
                writer.write_table(pq.read_table(self._file(number), schema=SCHEMA))
        shutil.rmtree(self.folder)


def _rank_locally(checkpoint: Path, batches: list[Batch], k: int) -> Iterator[Ranked]:
    if batches:
        ranker = Ranker(checkpoint)
        for number, batch in batches:
            yield number, ranker.rank(batch, k)


def _rank_with_ray(
    checkpoint: Path,
    manifest: dict,
    batches: list[Batch],
    k: int,
    workers: int | None,
    threads: int | None,
) -> Iterator[Ranked]:
    if not batches:
        return
    from ckf_demo.backbone.precision import choose
    from ckf_demo.serving.workers import Workers

    # chosen once, since workers that measure by themselves might choose differently
    quantization = choose(manifest["backbone"]).chosen
    with Workers(Ranker, checkpoint, quantization, workers, threads) as pool:
        yield from pool.ranked(batches, k)
        if pool.restarts:
            print(f"{pool.restarts} workers died and were started again; their batches were redone")


def read_users(file: Path) -> list[str]:
    """The distinct users of a file, in its order.

    A Parquet or CSV file has them in its column ``user``; any other file has one id a line.
    UserError when the file is missing, unreadable, without that column, or without users.
    """
    if not file.is_file():
        raise UserError(f"{file} is not a file; give one with a user id a line")
    if file.suffix in {".parquet", ".csv"}:
        try:
            table = pd.read_csv(file, dtype=str) if file.suffix == ".csv" else pd.read_parquet(file)
        except ValueError as error:
            raise UserError(f"{file} cannot be read as {file.suffix[1:]}: {error}") from error
        if "user" not in table:
            raise UserError(f"{file} has no column `user`; it has {', '.join(map(str, table))}")
        ids = table["user"].dropna().astype(str)
    else:
        ids = file.read_text(encoding="utf-8").splitlines()
    users = list(dict.fromkeys(user.strip() for user in ids if user.strip()))
    if not users:
        raise UserError(f"{file} names no user; give a user id a line")
    return users


def check_users(users: list[str], dataset: str) -> None:
    """UserError that names unknown users, at most ten of them, before minutes are spent."""
    with InteractionStore.open(dataset) as store:
        ids = set(store.users()["user"])
    unknown = [user for user in users if user not in ids]
    if unknown:
        more = ", …" if len(unknown) > 10 else ""
        raise UserError(
            f"{len(unknown)} of {len(users)} users are not in {dataset}: "
            f"{', '.join(unknown[:10])}{more}; take them out of the file"
        )
