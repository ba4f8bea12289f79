"""The sandbox for SQL that visitors write: one SELECT statement, read-only, limited.

Each query runs in a process of its own. In it DuckDB is locked down, and the kernel refuses further
files and sockets and limits time and memory: DuckDB checks its own limits only between batches of
rows, and single functions allocate past them.
"""

import inspect
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.subprocesses import end_with

# Queries see this view beside the tables: it has ids, titles and times instead of positions and
# seconds. A column "user" would need quotes: in SQL, user is the name of the database's user.
_RATINGS_VIEW = f"""
CREATE TEMP VIEW ratings AS
SELECT users.id AS user_id, items.id AS item_id, title, year, genres, rating,
    make_timestamp(moment * 1000000) AS time,
    CASE split WHEN {TRAIN} THEN 'train' WHEN {VALID} THEN 'valid' WHEN {TEST} THEN 'test' END
        AS part,
    text
FROM interactions
    JOIN users ON users.position = user_position
    JOIN items ON items.position = item_position
"""
_COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE NOT internal ORDER BY table_name <> 'ratings', table_name, column_index
"""

_HAS_FACTS = "SELECT count(*) > 0 FROM items WHERE description <> '' OR trim(facts) <> ''"
_ABOUT_FACTS = (
    "directors, actors (as billed), tags (themes), countries and languages are lists of names, and "
    "description is a sentence; they are empty where nothing is known. unnest(tags) gives each tag "
    "a row. Searches compare names, facts, folded and core."
)

MAX_SQL = 10_000
"""Longest text of a free query, in characters."""

MAX_RESULT = 4_000_000
"""Most characters of a free query's result, as JSON."""

_QUERY_MEMORY = 1 << 30  # bytes of address space; DuckDB's own limit is a quarter of it
_UNREADABLE = 3
"""The exit code of a query's process that cannot open the store."""
# Time for a new process to start on a busy machine, added to the query's own.
_START_SECONDS = 60.0


@dataclass(frozen=True)
class QueryResult:
    """The result of a free query."""

    columns: list[str]
    """Names as the statement gives them; names may repeat."""
    types: list[str]
    """DuckDB's type of each column."""
    rows: list[list[Any]]
    """One list of JSON values per row: times and dates are ISO text, decimals and floats are
    numbers, NaN and infinity are None."""
    truncated: bool
    """Whether rows were cut off at the limit, or at `MAX_RESULT` characters."""
    seconds: float
    """Time of the query, without the start of its process."""


@dataclass(frozen=True)
class Table:
    """A table that free queries can read; ``columns`` holds pairs of name and type, ``about`` says
    what some of them hold."""

    name: str
    columns: list[tuple[str, str]]
    n_rows: int
    about: str = ""


def run_select(
    path: Path, sql: str, *, limit: int | None = 1000, seconds: float = 5.0
) -> QueryResult:
    """Answer one SELECT statement over the tables of the store file at ``path``.

    The statement has at most `MAX_SQL` characters and may take that many ``seconds``; at most
    ``limit`` rows are returned.

    Raises
    ------
    UserError
        When the text is not a single SELECT statement, DuckDB refuses it (with DuckDB's words), it
        takes too much time or memory, or a row is too long.
    """
    if not sql.strip():
        raise UserError("no query was given; write a SELECT statement")
    if len(sql) > MAX_SQL:
        raise UserError(f"the query has {len(sql):,} characters; write it in at most {MAX_SQL:,}")
    if not seconds > 0:
        raise UserError(f"a query cannot run for {seconds:g} seconds; give more than 0")
    request = {
        "path": str(path),
        "setup": _RATINGS_VIEW,
        "sql": as_text(sql),
        "limit": row_limit(limit),
        "seconds": seconds,
        "memory": _QUERY_MEMORY,
        "size": MAX_RESULT,
    }
    # The child runs only the source of one function: importing this module would take longer
    # than most queries.
    program = "\n".join(map(inspect.getsource, (end_with, _answer_query)))
    program += f"\n{end_with.__name__}({os.getpid()})\n{_answer_query.__name__}({_UNREADABLE})"
    process = subprocess.run(
        [sys.executable, "-P", "-c", program],
        input=json.dumps(request),
        capture_output=True,
        encoding="utf-8",
        timeout=_START_SECONDS + seconds,
        check=False,
    )
    if process.returncode == -signal.SIGALRM:
        raise UserError(
            f"the query was stopped after {seconds:g} seconds; ask for less, for example with "
            "a filter, or join on ids"
        )
    if process.returncode == _UNREADABLE:
        raise UserError(
            "the data cannot be read at present: their file is damaged or being replaced; whoever "
            "runs this server can run ckf prepare"
        )
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise UserError(
            f"the query was ended ({reason[0]}): it needed more than "
            f"{_QUERY_MEMORY >> 20:,} MB of memory, or something that DuckDB cannot do; ask "
            "for less"
        )
    answer = json.loads(process.stdout)
    if "error" in answer:
        raise UserError(answer["error"])
    return QueryResult(**answer)


def readable_tables(cursor: duckdb.DuckDBPyConnection) -> list[Table]:
    """The tables that free queries can read, the one to begin with first."""
    cursor.execute(_RATINGS_VIEW)
    columns: dict[str, list[tuple[str, str]]] = {}
    for table, name, kind in cursor.execute(_COLUMNS).fetchall():
        columns.setdefault(table, []).append((name, kind))
    counts = {
        table: cursor.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in columns
    }
    ((known,),) = cursor.execute(_HAS_FACTS).fetchall()
    about = {"items": _ABOUT_FACTS} if known else {}
    return [Table(table, columns[table], counts[table], about.get(table, "")) for table in columns]


def as_text(identifier: str | int) -> str:
    """Text that the database accepts: half a surrogate pair, as JSON may carry it, is replaced."""
    return str(identifier).encode(errors="replace").decode()


def row_limit(limit: int | None) -> int | None:
    """``limit`` itself; UserError when it is negative."""
    if limit is not None and limit < 0:
        raise UserError(f"limit {limit} is negative; give 0 or more, or none for all")
    return limit


def _answer_query(unreadable: int) -> None:
    """Answer the request on standard input, with access to everything else shut off.

    It ends with the exit code ``unreadable`` when the store cannot be read. A visitor is told so
    without DuckDB's words, which name the file's place on this machine.

    A bare interpreter runs the source of this function, so it uses nothing of this module.
    """
    import datetime
    import decimal
    import json
    import math
    import resource
    import signal
    import sys
    import time
    import uuid

    import duckdb

    def as_json(cell):
        """A value of DuckDB's in a form that JSON can hold."""
        if isinstance(cell, decimal.Decimal):
            cell = float(cell)
        if isinstance(cell, float):
            return cell if math.isfinite(cell) else None
        if isinstance(cell, datetime.date | datetime.time):  # a datetime is a date
            return cell.isoformat()
        if isinstance(cell, datetime.timedelta | uuid.UUID):
            return str(cell)
        if isinstance(cell, bytes):
            return cell.hex()
        if isinstance(cell, dict):
            return {str(key): as_json(inner) for key, inner in cell.items()}
        if isinstance(cell, list | tuple):
            return [as_json(inner) for inner in cell]
        return cell

    def answer(connection, sql, limit, size):
        statements = connection.extract_statements(sql)
        kinds = [statement.type.name for statement in statements]
        if kinds != ["SELECT"]:
            held = ", ".join(kinds) or "nothing"
            return {"error": f"the text holds {held}; write one SELECT statement, which only reads"}
        if statements[0].named_parameters:
            names = ", ".join(sorted(statements[0].named_parameters))
            return {"error": f"the query has parameters ({names}); write their values in it"}
        began = time.perf_counter()
        connection.execute(statements[0])
        types = [str(column[1]) for column in connection.description]
        if any("WITH TIME ZONE" in name for name in types):
            return {"error": "a column has a time zone; leave it out with a cast: …::TIMESTAMP"}
        rows, used, more = [], 0, False
        while (row := connection.fetchone()) is not None:
            row = as_json(row)
            used += len(json.dumps(row))
            more = len(rows) == limit or used > size
            if more:
                break
            rows.append(row)
        if more and not rows and limit:
            return {"error": f"one row has more than {size:,} characters; select less of it"}
        return {
            "columns": [column[0] for column in connection.description],
            "types": types,
            "rows": rows,
            "truncated": more,
            "seconds": time.perf_counter() - began,
        }

    request = json.load(sys.stdin)
    try:
        connection = duckdb.connect(
            request["path"],
            read_only=True,
            config={
                "threads": 1,
                "memory_limit": f"{request['memory'] >> 22}MiB",
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        for statement in (
            request["setup"],
            "SET enable_progress_bar = false",  # it would be drawn into the answer after 2 s
            "SET temp_directory = ''",  # before access ends: it could not be changed any more
            "SET enable_external_access = false",
            "SET lock_configuration = true",
            "BEGIN TRANSACTION READ ONLY",
        ):
            connection.execute(statement)
    except duckdb.Error:
        sys.exit(unreadable)
    # From here on the kernel refuses every further file and socket, and ends what runs too long.
    for limit, most in (
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, request["memory"]),
    ):
        resource.setrlimit(limit, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    try:
        result = answer(connection, request["sql"], request["limit"], request["size"])
    except (duckdb.OutOfMemoryException, MemoryError):
        result = {"error": "the query needed too much memory; ask for less, or for shorter values"}
    except (duckdb.IOException, duckdb.FatalException):
        sys.exit(unreadable)
    except duckdb.Error as error:
        said = str(error).replace(request["path"], "the data")
        result = {"error": f"DuckDB cannot answer this query; mend it. {said}"}
    signal.setitimer(signal.ITIMER_REAL, 0)
    json.dump(result, sys.stdout)
