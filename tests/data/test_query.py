"""Free queries: what they find, what they are refused, and the limits that hold whatever is asked.

Every query starts a process, so there are few examples of each.
"""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data.analyses import all_analyses
from ckf_demo.data.free_sql import MAX_SQL
from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.runtime.errors import UserError
from support.hostile_sql import NOT_A_SELECT, RUNAWAYS, WRONG_SELECTS
from support.synthetic import made_up, made_up_likes

SECRET = "do-not-read-this-a8f3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The store's folder, with a file beside it that no query may read."""
    made = tmp_path_factory.mktemp("query")
    (made / "secret.csv").write_text(f"name\n{SECRET}\n")
    write_store(made_up(), made / "s.duckdb")
    return made


@pytest.fixture(scope="module")
def store(folder) -> Iterator[InteractionStore]:
    with InteractionStore(folder / "s.duckdb") as opened:
        yield opened


def state(folder: Path) -> dict[str, str]:
    """Every file and folder with its contents' hash."""
    return {
        path.name: hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
        for path in folder.rglob("*")
    }


def test_a_query_gives_names_types_and_rows(store):
    found = store.query("SELECT part, count(*) AS n FROM ratings GROUP BY part ORDER BY n DESC")
    assert found.columns == ["part", "n"]
    assert found.types == ["VARCHAR", "BIGINT"]
    assert found.rows == [["train", 1920], ["valid", 240], ["test", 240]]
    assert not found.truncated and 0 < found.seconds < 5


@pytest.mark.parametrize(
    "harm", [lambda whole: whole[: len(whole) // 2], lambda whole: b"x" * 9000]
)
def test_a_store_that_breaks_while_it_is_served_names_no_path(folder, tmp_path, harm):
    path = tmp_path / "s.duckdb"
    path.write_bytes((folder / "s.duckdb").read_bytes())
    with InteractionStore(path) as opened:
        opened.check_file()
        path.write_bytes(harm(path.read_bytes()))
        with pytest.raises(UserError, match="cannot be read|DuckDB cannot answer") as error:
            opened.query("SELECT count(*), max(text), min(time) FROM ratings")
        assert str(tmp_path) not in str(error.value)
        with pytest.raises(UserError, match="bytes, and had"):
            opened.check_file()
        path.unlink()
        with pytest.raises(UserError, match="has 0 bytes"):
            opened.check_file()


def test_values_are_json(store):
    sql = """SELECT 1.50::DECIMAL(4, 2), 'nan'::DOUBLE, 'inf'::FLOAT, DATE '2020-02-03',
        TIMESTAMP '2020-02-03 04:05:06', [1.5, NULL], {'a': DATE '2020-01-01'}, MAP {1: 'x'},
        NULL, 'ab'::BLOB, INTERVAL 1 DAY, true, 2::HUGEINT, TIME '10:00', 'a' AS "a", 'b' AS "a" """
    (row,) = store.query(sql).rows
    assert row[:5] == [1.5, None, None, "2020-02-03", "2020-02-03T04:05:06"]
    assert row[5:10] == [[1.5, None], {"a": "2020-01-01"}, {"1": "x"}, None, "6162"]
    assert row[10:] == ["1 day, 0:00:00", True, 2, "10:00:00", "a", "b"]


def test_the_schema_names_what_can_be_read(store):
    tables = {table.name: table for table in store.schema()}
    assert list(tables) == ["ratings", "interactions", "items", "meta", "users"]
    assert tables["ratings"].n_rows == 2400 and tables["users"].n_rows == 60
    for table in tables.values():
        if table.name == "meta":
            continue
        found = store.query(f"SELECT * FROM {table.name} LIMIT 1")
        assert list(zip(found.columns, found.types, strict=True)) == table.columns


@pytest.mark.parametrize("data", [made_up, made_up_likes])
def test_every_ready_made_analysis_runs(tmp_path, data):
    prepared = data()
    prepared.ages[:40] = [20] * 20 + [50] * 20
    some, none = [("A", "B")] * prepared.n_items, [()] * prepared.n_items
    facts = ItemFacts(some, none, some, some, none, ["A sentence."] * prepared.n_items)
    prepared = replace(prepared, facts=facts)
    write_store(prepared, tmp_path / "s.duckdb")
    with InteractionStore(tmp_path / "s.duckdb") as store:
        assert store.analyses() == list(all_analyses())
        for analysis in all_analyses():
            found = store.query(analysis.sql)
            assert found.rows and not found.truncated, analysis.title
            assert all(None not in row for row in found.rows), analysis.title


def test_analyses_of_fields_that_are_missing_are_left_out(tmp_path):
    data = made_up()
    data.ages[:] = 0
    write_store(data, tmp_path / "s.duckdb")
    with InteractionStore(tmp_path / "s.duckdb") as store:
        assert [each.title for each in all_analyses() if each not in store.analyses()] == [
            "Genres by age",
            *("Ratings by theme", "Ratings by director", "Ratings by country"),
            "Best-known items and what they are about",
        ]


def test_the_long_tail_ends_at_everything_and_bands_hold_everybody(store):
    sql = {each.title: each.sql for each in all_analyses()}
    tail = store.query(sql["Long tail of items"]).rows
    assert tail[-1][:2] == [100, 100.0]
    assert [row[1] for row in tail] == sorted(row[1] for row in tail)
    bands = store.query(sql["Ratings per user"]).rows
    assert [row[0] for row in bands] == ["0", "1–3", "4–10", "11–30", "31–100", "101+"]
    assert sum(row[1] for row in bands) == sum(row[2] for row in bands) == 60
    parts = store.query(sql["Sparsity"]).rows
    assert parts[0] == ["all", 60, 40, 2400, 100.0]


@pytest.mark.parametrize("sql", NOT_A_SELECT)
def test_what_is_no_single_select_is_refused(store, folder, sql):
    before = state(folder)
    # DuckDB rewrites some statements while it reads them, and refuses what they would open.
    with pytest.raises(UserError, match="write one SELECT statement|DuckDB cannot answer"):
        store.query(sql.format(folder=folder))
    assert state(folder) == before


@pytest.mark.parametrize("sql", WRONG_SELECTS)
def test_a_select_reaches_nothing_but_the_tables(store, folder, sql):
    before = state(folder)
    with pytest.raises(UserError) as refused:
        store.query(sql.replace("{folder}", str(folder)))
    assert SECRET not in str(refused.value)
    assert state(folder) == before


WORDS = st.sampled_from(
    [
        *"SELECT * FROM WHERE ( ) , ; 1 'x' = AS WITH".split(),
        *"items ratings users meta COPY TO INSERT INTO DELETE DROP TABLE ATTACH SET".split(),
        "read_text('{folder}/secret.csv')",
        "'{folder}/secret.csv'",
        "'{folder}/out.csv'",
        "glob('{folder}/*')",
    ]
)


@settings(max_examples=12)
@given(st.one_of(st.lists(WORDS, max_size=9).map(" ".join), st.text(max_size=60)))
def test_whatever_the_text_files_stay_as_they_are_and_unread(store, folder, sql):
    before = state(folder)
    try:
        answer = str(store.query(sql.replace("{folder}", str(folder)), seconds=2).rows)
    except UserError as error:
        answer = str(error)
    assert SECRET not in answer
    assert state(folder) == before


def test_errors_say_what_was_given_and_what_to_do(store):
    for sql, said in (
        ("", "no query was given; write a SELECT statement"),
        (" \n", "no query was given"),
        ("x" * (MAX_SQL + 1), "10,001 characters; write it in at most 10,000"),
        ("DROP TABLE items", "the text holds DROP; write one SELECT"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT; write one"),
        ("SELECT ?, $x", "parameters"),
        ("SELECT now()", "::TIMESTAMP"),
    ):
        with pytest.raises(UserError, match=said):
            store.query(sql)
    with pytest.raises(UserError) as error:
        store.query("SELECT titel\nFROM items")
    assert '"titel" not found' in str(error.value)
    assert "LINE 1: SELECT titel" in str(error.value) and "title" in str(error.value)
    with pytest.raises(UserError, match="limit -1 is negative"):
        store.query("SELECT 1", limit=-1)
    with pytest.raises(UserError, match="cannot run for 0 seconds"):
        store.query("SELECT 1", seconds=0)


def test_rows_are_limited_and_it_is_said(store):
    found = store.query("FROM range(1000000000)", limit=3)
    assert found.rows == [[0], [1], [2]] and found.truncated
    assert not store.query("FROM range(3)", limit=3).truncated
    assert len(store.query("FROM ratings").rows) == 1000
    none = store.query("FROM range(3)", limit=0)
    assert none.rows == [] and none.truncated
    assert store.query("FROM range(0)", limit=0).truncated is False


def test_long_values_are_limited(store):
    found = store.query("SELECT repeat('x', 1000000) FROM range(100)")
    assert len(found.rows) == 3 and found.truncated
    with pytest.raises(UserError, match="one row has more than 4,000,000 characters"):
        store.query("SELECT repeat('x', 5000000)")


@pytest.mark.parametrize("sql", RUNAWAYS)
def test_a_runaway_query_is_stopped_in_time(store, sql):
    began = time.perf_counter()
    with pytest.raises(UserError, match="stopped after 0.5 seconds|too much memory"):
        store.query(sql, seconds=0.5)
    # The rest is the start of the process on a busy machine.
    assert time.perf_counter() - began < 15


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(range) FROM range(1000000000)",
        "SELECT length(range(1000000000))",
        "SELECT length(repeat('x', 2000000000))",
        "SELECT string_agg(range::VARCHAR, '') FROM range(1000000000)",
        "SELECT length(list_resize([1], 1000000000))",
    ],
)
def test_memory_is_limited(store, sql):
    with pytest.raises(UserError, match="memory"):
        store.query(sql, seconds=30)


def test_two_at_once_get_their_own_answers_and_one_does_not_stop_the_other(store):
    def ask(number: int) -> object:
        if number == 0:
            with pytest.raises(UserError, match="stopped"):
                store.query(RUNAWAYS[0], seconds=1)
            return 0
        return store.query(f"SELECT count(*) * {number} FROM items").rows[0][0] // 40

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(4))) == [0, 1, 2, 3]
    assert len(store.items()) == 40
