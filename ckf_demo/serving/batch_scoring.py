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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.data.exports import read_table
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore
from ckf_demo.inference.people import People
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import exclusive, prepared_path, replacing, store_path, writing

RANKED = {"rank": pa.int32(), "item": pa.string(), "title": pa.string(), "score": pa.float64()}
"""The columns of each item of a list."""
SCHEMA = pa.schema({"user": pa.string()} | RANKED)

ENGINES = ("local", "ray")

USERS_PER_BATCH = 16
LEAST_BATCHES, MOST_BATCHES = 32, 10_000

DESCRIBED = ("history", "taste", "profile", "strength", "at")
"""Columns and keys of a file of people that describe a person."""


@dataclass(frozen=True)
class DescribedPerson:
    """Somebody who is more than a user's id: a name, and the keywords of `Described`."""

    name: str
    person: dict


Asked = str | DescribedPerson
Row = dict[str, object]
Batch = tuple[int, list[Asked]]
Ranked = tuple[int, list[Row]]
"""The number of a batch with its users, and with its rows."""


class Ranker:
    """A loaded checkpoint that ranks for batches of users; with Ray, one in each worker."""

    def __init__(self, checkpoint: Path, quantization: str | None = None) -> None:
        from ckf_demo.recommender import Recommender

        self.recommender = Recommender.load(checkpoint, quantization=quantization)

    def rank(self, users: Sequence[Asked], k: int) -> list[Row]:
        """The rows of each user or described person in turn, best first.

        Caches of earlier users are cleared. Otherwise the last digits of scores, and so the lists,
        would depend on how users are distributed over workers.
        """
        rows = []
        for user in users:
            self.recommender.forget()
            name, person = _name(user), _person(user)
            for row in self.recommender.rank(**person, k=k):
                rows.append({"user": name} | {column: row[column] for column in RANKED})
        return rows


def _name(asked: Asked) -> str:
    return asked if isinstance(asked, str) else asked.name


def _person(asked: Asked) -> dict:
    return {"user": asked} if isinstance(asked, str) else asked.person


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
    """Rank for everybody in ``users_file`` and write columns user, rank, item, title, score.

    Each user is ranked for at their default moment, unless the file names another. Rows are in the
    order of the users and by rank.
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


def in_batches(users: Sequence[Asked]) -> list[list[Asked]]:
    """Users in batches, which depend on the users alone; at most `MOST_BATCHES` of them.

    They are small enough that workers end at about the same time and that a kill loses little.
    """
    size = min(USERS_PER_BATCH, math.ceil(len(users) / LEAST_BATCHES))
    size = max(size, math.ceil(len(users) / MOST_BATCHES))
    return [list(users[start : start + size]) for start in range(0, len(users), size)]


def _made_of(manifest: dict, users: Sequence[Asked], k: int) -> dict[str, object]:
    """Everything that the lists depend on."""
    store = store_path(manifest["dataset"])
    state = store.stat() if store.exists() else None
    return {
        "checkpoint": {key: manifest.get(key) for key in ("dataset", "hashes", "calibration")},
        "store": None if state is None else [state.st_size, state.st_mtime_ns],
        "users": hashlib.sha256("\n".join(map(_line, users)).encode()).hexdigest(),
        "k": k,
    }


def _line(asked: Asked) -> str:
    """A text that tells people apart."""
    if isinstance(asked, str):
        return asked
    return f"{asked.name} {json.dumps(asked.person, sort_keys=True, default=str)}"


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


def read_users(file: Path) -> list[Asked]:
    """The distinct people of a file, in its order: of one that the page wrote, or a list of ids.

    A CSV, Parquet or JSON file has ids in its column ``user``, or else one person's ratings in the
    columns ``item`` and ``rating``. JSON objects may also describe a person as `Described` does,
    with a ``name``. Any other file has one id a line.

    Raises
    ------
    UserError
        When the file is missing, unreadable, without these columns, or without people.
    """
    if not file.is_file():
        raise UserError(f"{file} is not a file; give one with a user id a line")
    if file.suffix in {".parquet", ".csv", ".json", ".jsonl"}:
        users = _from_table(file)
    else:
        users = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    distinct = list({_line(user): user for user in users if user}.values())
    if not distinct:
        raise UserError(f"{file} names no user; give a user id a line")
    return distinct


def _from_table(file: Path) -> list[Asked]:
    table = read_table(file)
    columns = [name for name in DESCRIBED if name in table]
    if "user" not in table and {"item", "rating"} <= set(table):
        rows = table[["item", "rating"]].to_dict("records")
        ratings = [{**row, "imported": True} for row in rows if row["item"]]
        return [DescribedPerson(file.stem, {"history": ratings})] if ratings else []
    if "user" not in table and "history" not in columns and "taste" not in columns:
        raise UserError(f"{file} has no column `user`; it has {', '.join(map(str, table))}")
    users: list[Asked] = []
    for place, row in enumerate(table.to_dict("records"), start=1):
        user = str(row.get("user", "")).strip()
        said = {name: row[name] for name in columns if row[name] != ""}
        if "at" in said:
            said["at"] = _whole(file, said["at"])
        name = str(row.get("name", "")) or user or f"person {place}"
        if said:
            users.append(DescribedPerson(name, said | ({"user": user} if user else {})))
        else:
            users.append(user)
    return users


def _whole(file: Path, text: str) -> int:
    if not text.removeprefix("-").isdigit():
        raise UserError(f"{file} has at = {text!r}, which is no moment in seconds since 1970")
    return int(text)


def check_users(users: Sequence[Asked], dataset: str) -> None:
    """UserError that names unknown users, at most ten of them, before minutes are spent.

    People who are described are read, and the first who does not fit the data is named.
    """
    with InteractionStore.open(dataset) as store:
        ids = set(store.users()["user"])
        described = [user for user in users if isinstance(user, DescribedPerson)]
        if described:
            people = People(Prepared.load(prepared_path(dataset)), store)
            for each in described:
                try:
                    people.read_person(**each.person)
                except UserError as error:
                    raise UserError(f"{each.name}: {error}") from error
    unknown = [user for user in users if isinstance(user, str) and user not in ids]
    if unknown:
        more = ", …" if len(unknown) > 10 else ""
        raise UserError(
            f"{len(unknown)} of {len(users)} users are not in {dataset}: "
            f"{', '.join(unknown[:10])}{more}; take them out of the file"
        )
