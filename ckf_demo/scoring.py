"""``ckf score``: the top-k lists of many users, written to one Parquet file."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.data.store import InteractionStore
from ckf_demo.errors import UserError
from ckf_demo.paths import replacing

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("rank", pa.int32()),
        ("item", pa.string()),
        ("title", pa.string()),
        ("score", pa.float64()),
    ]
)
ENGINES = ("local", "ray")

USERS_PER_BATCH = 16
CORES_PER_WORKER = 2

Row = dict[str, object]


class Ranker:
    """A loaded checkpoint that ranks for batches of users; with Ray, one in each worker."""

    def __init__(self, checkpoint: Path) -> None:
        from ckf_demo.recommender import Recommender

        self.recommender = Recommender.load(checkpoint)

    def rank(self, users: list[str], k: int) -> list[Row]:
        """The rows of each user in turn, best first."""
        return [
            {"user": user} | {name: row[name] for name in ("rank", "item", "title", "score")}
            for user in users
            for row in self.recommender.rank(user=user, k=k)
        ]


def score(checkpoint: Path, users_file: Path, k: int, out: Path, engine: str = "local") -> None:
    """Rank for every user of ``users_file`` and write columns user, rank, item, title, score.

    The moment is each user's default one. Rows come in the order of the users and by rank; ``out``
    appears when all users are done, or not at all. ``engine`` is ``"local"`` (this process) or
    ``"ray"`` (one worker for every two cores of the cluster, or of this machine without one).

    Raises
    ------
    UserError
        For an unreadable or empty file, an unknown user, or an engine that is not there.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}; use one of {', '.join(ENGINES)}")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError(
            "--engine ray needs the package ray; pip install ray, or use --engine local"
        )
    users = read_users(users_file)

    from ckf_demo.system import read_manifest, verify_files

    manifest = read_manifest(checkpoint)
    verify_files(checkpoint, manifest)
    check_users(users, manifest["dataset"])

    batches = [
        users[start : start + USERS_PER_BATCH] for start in range(0, len(users), USERS_PER_BATCH)
    ]
    rank = _rank_locally if engine == "local" else _rank_with_ray
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with (
        replacing(out) as temporary,
        pq.ParquetWriter(temporary, SCHEMA) as writer,
        Progress(*columns, TimeRemainingColumn()) as progress,
    ):
        task = progress.add_task("Ranking", total=len(users))
        for batch, rows in zip(batches, rank(checkpoint, batches, k), strict=True):
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
            progress.advance(task, len(batch))
    print(f"{len(users)} users, up to {k} items each: {out}")


def _rank_locally(checkpoint: Path, batches: list[list[str]], k: int) -> Iterator[list[Row]]:
    ranker = Ranker(checkpoint)
    for batch in batches:
        yield ranker.rank(batch, k)


def _rank_with_ray(checkpoint: Path, batches: list[list[str]], k: int) -> Iterator[list[Row]]:
    import ray
    from ray.util import ActorPool

    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        remote = ray.remote(num_cpus=min(cores, CORES_PER_WORKER))(Ranker)
        count = min(len(batches), max(1, cores // CORES_PER_WORKER))
        pool = ActorPool([remote.remote(checkpoint.resolve()) for _ in range(count)])
        yield from pool.map(lambda worker, batch: worker.rank.remote(batch, k), batches)
    finally:
        ray.shutdown()


def read_users(file: Path) -> list[str]:
    """The distinct users of a file, in its order.

    A Parquet or CSV file has them in its column ``user``; any other file has one id a line.

    Raises
    ------
    UserError
        When the file is missing, unreadable, without that column, or without users.
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
    """Make sure that the store knows all users, before minutes are spent on the first ones.

    Raises
    ------
    UserError
        Naming the unknown users, at most ten of them; or when there is no store.
    """
    with InteractionStore.open(dataset) as store:
        known = set(store.users()["user"])
    unknown = [user for user in users if user not in known]
    if unknown:
        more = ", …" if len(unknown) > 10 else ""
        raise UserError(
            f"{len(unknown)} of {len(users)} users are not in {dataset}: "
            f"{', '.join(unknown[:10])}{more}; take them out of the file"
        )
