"""Files that the page hands out: harmless in spreadsheets, and the same when read again."""

import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.data.exports import exported, plain, read_table, safe

ROWS = [
    {"item": "007", "title": "=HYPERLINK(1)", "genres": ["Drama", "War"], "score": -1.25, "n": 3},
    {"item": "-5", "title": "'Round Midnight", "genres": [], "score": None, "n": None},
    {"item": "NA", "title": '\'@home, "again"', "genres": ["@x"], "score": 2.0, "n": 1},
]


@given(st.text(max_size=8) | st.from_regex(r"'{0,3}[=+\-@\t\r]?.{0,3}", fullmatch=True))
def test_no_cell_is_computed_and_every_text_comes_back(text):
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain(safe(text)) == text


def test_csv_is_harmless_and_numbers_stay_numbers():
    rows = list(csv.DictReader(io.StringIO(exported(ROWS, "csv").decode("utf-8-sig"))))
    titles = ["'=HYPERLINK(1)", "'Round Midnight", "''@home, \"again\""]
    assert [row["title"] for row in rows] == titles
    assert [row["score"] for row in rows] == ["-1.25", "", "2.0"]
    assert [row["genres"] for row in rows] == ["Drama|War", "", "'@x"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_ids_and_titles_come_back_as_they_were(kind, tmp_path):
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(exported(ROWS, kind))
    table = read_table(path)
    assert table["item"].tolist() == ["007", "-5", "NA"]
    assert table["title"].tolist() == [row["title"] for row in ROWS]
    assert table["n"].tolist() == ["3", "", "1"]


def test_json_and_parquet_keep_types():
    assert json.loads(exported(ROWS, "json")) == ROWS
    frame = pd.read_parquet(io.BytesIO(exported(ROWS, "parquet")))
    assert frame["genres"].map(list).tolist() == [row["genres"] for row in ROWS]
    assert frame["score"].isna().tolist() == [False, True, False]
