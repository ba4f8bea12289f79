"""``ckf score``: the top-k lists of many users, written to one Parquet file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.errors import UserError
from ckf_demo.paths import replacing

if TYPE_CHECKING:
    from ckf_demo.recommender import Recommender

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("rank", pa.int32()),
        ("item", pa.string()),
        ("title", pa.string()),
        ("score", pa.float64()),
    ]
)
ENGINES = ("local",)

_USERS_PER_WRITE = 64


def score(checkpoint: Path, users_file: Path, k: int, out: Path, engine: str = "local") -> None:
    """Rank for every user of ``users_file`` and write columns user, rank, item, title, score.

    The moment is each user's default one. Rows come in the order of the users and by rank; ``out``
    appears when all users are done, or not at all.

    Raises
    ------
    UserError
        For an unreadable or empty file, an unknown user, or an engine that is not there.
    """
    if engine not in ENGINES:
        raise UserError(
            f"--engine {engine} is not available here; use --engine {' or '.join(ENGINES)}"
        )
    users = read_users(users_file)

    from ckf_demo.recommender import Recommender

    recommender = Recommender.load(checkpoint)
    check_users(recommender, users)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with (
        replacing(out) as temporary,
        pq.ParquetWriter(temporary, SCHEMA) as writer,
        Progress(*columns, TimeRemainingColumn()) as progress,
    ):
        task = progress.add_task("Ranking", total=len(users))
        for start in range(0, len(users), _USERS_PER_WRITE):
            rows = []
            for user in users[start : start + _USERS_PER_WRITE]:
                rows.extend(rank_rows(recommender, user, k))
                progress.advance(task)
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    print(f"{len(users)} users, {k} items each: {out}")


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


def check_users(recommender: "Recommender", users: list[str]) -> None:
    """Make sure that all users are known, before minutes are spent on the first ones.

    Raises
    ------
    UserError
        Naming the unknown users, at most ten of them.
    """
    known = set(recommender.store.users()["user"])
    unknown = [user for user in users if user not in known]
    if unknown:
        more = ", …" if len(unknown) > 10 else ""
        raise UserError(
            f"{len(unknown)} of {len(users)} users are not in {recommender.store.dataset}: "
            f"{', '.join(unknown[:10])}{more}; take them out of the file"
        )


def rank_rows(recommender: "Recommender", user: str, k: int) -> Iterator[dict[str, object]]:
    """The rows of one user, best first."""
    for row in recommender.rank(user=user, k=k):
        yield {"user": user} | {name: row[name] for name in ("rank", "item", "title", "score")}
