"""The Data tab: what a result looks like as table, plot and file, what is said when a query cannot
be answered, and the endpoint."""

import csv
import json
from pathlib import Path

import pytest
from gradio_client.exceptions import AppError

from ckf_demo.data.analyses import all_analyses
from ckf_demo.data.free_sql import QueryResult
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui import data as tab
from ckf_demo.ui.data import DataTab, figure, plotted, problem_markup, result_markup
from support.fakes import NASTY_TITLE

COUNTED = ["VARCHAR", "BIGINT"]


def result(rows: list[list], types: list[str], truncated: bool = False) -> QueryResult:
    names = [f"c{place}" for place in range(len(types))]
    return QueryResult(names, types, rows, truncated, 0.123)


@pytest.fixture(scope="module")
def made(fake) -> DataTab:
    with tab.gr.Blocks():
        return DataTab(fake)


def test_categories_are_bars_and_numbers_and_times_are_lines_in_order():
    bars = json.loads(figure(result([["b", 1], ["a", 2]], COUNTED), [1]))
    assert bars["data"][0]["type"] == "bar" and bars["data"][0]["x"] == ["b", "a"]
    for kind, first, second in (("DATE", "2020-01-01", "2020-02-01"), ("DECIMAL(5,2)", 1.5, 2.5)):
        found = result([[second, 2], [first, 1]], [kind, "DOUBLE"])
        (line,) = json.loads(figure(found, plotted(found)))["data"]
        assert line["type"] == "scatter" and line["x"] == [first, second] and line["y"] == [1, 2]


def test_every_numeric_column_has_an_axis_of_its_own_up_to_four():
    types = ["VARCHAR", "BIGINT", "VARCHAR", *["DOUBLE"] * 5]
    found = result([["a", 1, "x", *range(5)], ["b", 2, "y", *range(5)]], types)
    assert plotted(found) == [1, 3, 4, 5]
    drawn = json.loads(figure(found, plotted(found)))
    assert [trace["yaxis"] for trace in drawn["data"]] == ["y", "y2", "y3", "y4"]


@pytest.mark.parametrize(
    ("rows", "types"),
    [
        *(
            (rows, COUNTED)
            for rows in ([], [["a", 1]], [["a", 1], ["a", 2]], [["a", 1], [None, 2]])
        ),
        ([["a", "x"], ["b", "y"]], ["VARCHAR", "VARCHAR"]),
        ([["a", [1]], ["b", [2]]], ["VARCHAR", "INTEGER[]"]),
        ([[["a"], 1], [["b"], 2]], ["VARCHAR[]", "BIGINT"]),
        ([[1], [2]], ["BIGINT"]),
        ([[str(n), n] for n in range(tab.MAX_BARS + 1)], COUNTED),
    ],
)
def test_there_is_no_plot_where_none_suits(rows, types):
    found = result(rows, types)
    assert plotted(found) == [] and "data-figure" not in result_markup(found)


def test_every_ready_made_analysis_of_the_fake_data_is_plotted(made):
    for analysis in made.store.analyses():
        found = made.store.query(analysis.sql)
        assert plotted(found), analysis.title


def test_the_table_says_rows_time_and_truncation():
    shown = result_markup(result([["a", 1.25], ["b", None]], ["VARCHAR", "DOUBLE"], True))
    assert "2 rows in 0.12 s" in shown and "Truncated at 2 rows" in shown
    assert ">1.25<" in shown and ">–<" in shown
    one = result_markup(result([["a", 1]], COUNTED))
    assert "1 row in" in one and "Truncated" not in one
    assert "No row meets this query" in result_markup(result([], ["VARCHAR"]))


def test_numbers_of_a_column_share_their_decimals_and_sort_by_value():
    shown = result_markup(result([[5.0], [4.25], [-1.123456]], ["DOUBLE"]))
    assert ">5.0000<" in shown and ">4.2500<" in shown and ">−1.1235<" in shown
    assert 'data-sort="-1.123456"' in shown
    assert ">5<" in result_markup(result([[5.0]], ["DOUBLE"]))


def test_long_and_nested_values_are_readable():
    types = ["VARCHAR", "VARCHAR[]", "MAP", "BOOLEAN"]
    shown = result_markup(result([["x" * 500, ["Drama", "War"], {"a": 1}, True]], types))
    assert "x" * 201 not in shown and "x…" in shown
    assert "Drama, War" in shown and "{&quot;a&quot;: 1}" in shown and ">True<" in shown


def test_everything_is_escaped(made):
    nasty = "<img src=x onerror=alert(1)>"
    found = QueryResult([nasty, "n"], ["VARCHAR", "BIGINT"], [[nasty, 1], ["b", 2]], False, 0.1)
    for shown in (result_markup(found), problem_markup(UserError(f"{nasty}\n{nasty}"))):
        assert "<img" not in shown and "&lt;img" in shown
    # Plotly reads tags in its texts.
    assert "<img" not in figure(found, [1])
    shown = result_markup(made.store.query("SELECT title, length(title) AS n FROM items"))
    assert NASTY_TITLE not in shown and "&lt;b&gt;Bold&lt;/b&gt;" in shown


def test_errors_keep_the_place_that_the_database_points_at():
    shown = problem_markup(UserError("DuckDB cannot: no column\n\nLINE 1: SELECT x\n       ^"))
    assert "ckf-problem" in shown and "<pre" in shown and "LINE 1: SELECT x\n       ^" in shown
    assert "<pre" not in problem_markup(UserError("one line"))


def test_the_file_holds_what_the_result_holds(tmp_path: Path):
    rows = [['a "b", c', 1.5, ["Drama"]], ["ö\nü", None, []]]
    found = result(rows, ["VARCHAR", "DOUBLE", "VARCHAR[]"])
    tab.write_csv(found, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        names, *saved = csv.reader(file)
    assert names == ["c0", "c1", "c2"]
    assert saved == [['a "b", c', "1.5", '["Drama"]'], ["ö\nü", "", "[]"]]
    with pytest.raises(FileExistsError):
        tab.write_csv(found, tmp_path / "x.csv")


def test_the_schema_lists_every_table_and_column(made):
    shown = tab.schema_markup(made.store.schema())
    for name in ("ratings", "interactions", "items", "users", "user_id", "mean_rating", "1 row<"):
        assert name in shown
    assert shown.count("<details open") == 1


def test_an_answer_has_a_file_that_the_next_one_replaces(made):
    first = made.answer("SELECT 1 AS a", None)
    path = Path(first[made.file])
    assert path.read_text() == "a\n1\n" and "1 row" in first[made.result]
    second = made.answer("SELECT 2 AS a", str(path))
    assert not path.exists() and Path(second[made.file]).exists()
    wrong = made.answer("SELECT a FROM", second[made.file])
    assert wrong[made.file] is None and not Path(second[made.file]).exists()
    assert "ckf-problem" in wrong[made.result] and made.sql not in wrong


def test_a_chosen_analysis_shows_its_sql_and_drops_the_result_before(made):
    before = made.answer("SELECT 1", None)
    shown = made.choose(all_analyses()[2].title, all_analyses()[0].sql, (), before[made.file])
    assert shown[made.sql] == all_analyses()[2].sql and shown[made.about].startswith("<p")
    assert not Path(before[made.file]).exists() and "Nothing was asked" in shown[made.result]
    assert shown[made.typed] == ()


def test_a_typed_query_joins_the_list_when_an_analysis_is_chosen(made):
    title = all_analyses()[2].title
    first = made.choose(title, "SELECT 1", (), None)
    assert first[made.sql] == all_analyses()[2].sql and first[made.typed] == ("SELECT 1",)
    second = made.choose(title, "SELECT 2", first[made.typed], None)
    third = made.choose("Own query 1", "SELECT 2", second[made.typed], None)
    assert third[made.sql] == "SELECT 1" and third[made.typed] == ("SELECT 1", "SELECT 2")
    assert third[made.analysis]["choices"][-2:] == ["Own query 1", "Own query 2"]


def test_the_endpoint_answers_with_json_or_says_what_is_wrong(client):
    sql = "SELECT id, genres, 'nan'::DOUBLE AS x FROM items ORDER BY position LIMIT 2"
    assert client.predict(sql, api_name="/query") == {
        "columns": ["id", "genres", "x"],
        "rows": [["1", ["Action", "Comedy"], None], ["2", ["Comedy"], None]],
        "truncated": False,
    }
    found = client.predict("FROM range(2000)", api_name="/query")
    assert len(found["rows"]) == 1000 and found["truncated"] is True
    for sql, said in (
        ("DROP TABLE items", "write one SELECT statement"),
        ("SELECT * FROM read_text('/etc/passwd')", "Cannot access file"),
        ("", "no query was given"),
    ):
        with pytest.raises(AppError, match=said):
            client.predict(sql, api_name="/query")
