"""Reviews: Amazon's forms of 2014 and 2018, and anybody's table; broken lines do not stop them."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_demo.data.prepare import prepare
from ckf_demo.data.sources import amazon, reviews, source, source_of
from ckf_demo.data.sources.names import names_from_reviews
from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import store_path

OLD = {
    "reviewerID": "A1",
    "asin": "B1",
    "helpful": [0, 0],
    "reviewText": "Stops  the pops.\nGood",
    "overall": 5.0,
    "summary": "a fine pop filter",
    "unixReviewTime": 1393545600,
    "reviewTime": "02 28, 2014",
}
NEW = {
    "overall": 4.0,
    "verified": True,
    "reviewTime": "09 1, 2016",
    "reviewerID": "A2",
    "asin": "B2",
    "style": {"Size:": " 7.0 oz"},
    "unixReviewTime": 1472688000,
}


def lines(*records: object) -> str:
    return "".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in records)


def write(folder: Path, *records: object, name: str = "Musical_Instruments_5.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = lines(*records).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


@pytest.mark.parametrize("name", ["Beauty_5.json", "Beauty_5.json.gz"])
def test_both_years_are_read_plain_and_gzipped(tmp_path, name):
    raw = amazon.read(write(tmp_path, OLD, NEW, name=name))
    rows = raw.interactions
    columns = ["user", "item", "rating", "timestamp", "text"]
    assert rows[columns].to_numpy(object).tolist() == [
        ["A1", "B1", 5, 1393545600, "a fine pop filter. Stops the pops. Good"],
        ["A2", "B2", 4, 1472688000, ""],
    ]
    assert raw.notes == ("2 of 2 items have no title and were named.",)
    assert source_of(tmp_path) is amazon.SOURCE


def test_titles_come_from_metadata_of_both_years(tmp_path):
    write(tmp_path, OLD, NEW)
    python = "{'asin': 'B1', 'title': \"Nady's Pop Filter\", 'price': 14.99}"
    write(tmp_path, python, {"asin": "B2", "title": "Shave Gel"}, "no", name="meta_x.json.gz")
    raw = amazon.read(tmp_path)
    assert raw.items["title"].tolist() == ["Nady's Pop Filter", "Shave Gel"]
    assert raw.notes == (
        "1 of 3 lines of meta_x.json.gz cannot be used: 1 with no object with an asin (first: "
        "line 3). They were left out.",
    )
    assert source_of(tmp_path) is amazon.MUSICAL_INSTRUMENTS


def test_of_several_reviews_of_one_item_the_first_in_time_stays(tmp_path):
    later = OLD | {"unixReviewTime": OLD["unixReviewTime"] + 1, "overall": 1.0}
    raw = amazon.read(write(tmp_path, later, OLD, NEW))
    assert raw.interactions["rating"].tolist() == [5, 4]
    assert any("1 of 3 reviews are by the same person" in note for note in raw.notes)


BROKEN = {
    "no JSON": "{",
    "no JSON object": "[1]",
    "no reviewerID or no asin": OLD | {"asin": None},
    "no overall from 1 to 5": OLD | {"overall": 7},
    "no unixReviewTime in seconds": OLD | {"unixReviewTime": "2014"},
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_line_is_counted_reported_and_left_out(tmp_path, reason):
    raw = amazon.read(write(tmp_path, OLD, BROKEN[reason], NEW))
    assert len(raw.interactions) == 2
    assert raw.notes[0] == (
        "1 of 3 lines of Musical_Instruments_5.json cannot be used: "
        f"1 with {reason} (first: line 2). They were left out."
    )


def test_a_file_of_another_kind_says_what_was_expected(tmp_path):
    expected = "must hold a JSON object with reviewerID, asin, overall"
    for content in ([BROKEN["no JSON"], OLD], ["user,item", "1,2"]):
        with pytest.raises(UserError, match=f"{expected}.*check that it is the right file"):
            amazon.read(write(tmp_path, *content))
    with pytest.raises(UserError, match=f"is empty; each line {expected}"):
        amazon.read(write(tmp_path))
    (tmp_path / "Musical_Instruments_5.json").rename(tmp_path / "cut.json.gz")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(lines(OLD, NEW).encode())[:-20])
    with pytest.raises(UserError, match="cut.json.gz cannot be read"):
        amazon.read(tmp_path)
    write(tmp_path, OLD, name="second.json")
    with pytest.raises(UserError, match="holds 2 files of reviews; it must hold one"):
        amazon.read(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(OLD)), inner)
        ),
        max_leaves=8,
    )
    | st.fixed_dictionaries(
        {key: st.just(value) | st.none() | st.text() for key, value in OLD.items()}
    )
)
def test_any_json_is_a_review_or_left_out(drawn):
    found = amazon._review(json.dumps(drawn))
    if isinstance(found, str):
        assert found.startswith("no ")
    else:
        assert 1 <= found.rating <= 5 and found.user and found.item


def table(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / reviews.CSV).write_text(text, encoding="utf-8")
    return folder


def test_anybodys_table_is_read_with_what_it_has(tmp_path):
    text = (
        "user,item,rating,text,time,title\n"
        'u1,i1,4.5,"so, so ""good""",2020-01-02,Lamp\n'
        "u2,i1,9,,2020-01-03,Lamp\n"
        ",i2,3,,2020-01-03,\n"
        "u2,i2,2,,never,\n"
        "u1,i2,1,bad,2020-01-01T00:00:01Z,\n"
        "u3,i2,1,bad lamp,2020-01-05,\n"
        "u4,i2,2,,2020-01-06,\n"
    )
    raw = reviews.read(table(tmp_path, text))
    rows = raw.interactions
    assert rows["user"].tolist() == ["u1", "u1", "u3", "u4"]  # in time
    assert rows["rating"].tolist() == [1, 4.5, 1, 2]
    assert rows["timestamp"].tolist()[:2] == [1577836801, 1577923200]
    assert rows["text"].tolist() == ["bad", 'so, so "good"', "bad lamp", ""]
    assert raw.items.set_index("item")["title"]["i1"] == "Lamp"
    note = raw.notes[0]
    assert note.startswith("3 of 7 lines of reviews.csv cannot be used: ")
    assert "1 with no rating from 1 to 5 (first: line 3)" in note
    assert "1 with no time in seconds or as a date (first: line 5)" in note


def test_a_parquet_of_numbers_and_the_same_csv_are_the_same(tmp_path):
    frame = pd.DataFrame(
        {"user": [1, 2, 3], "item": [7, 7, 8], "rating": [5, 4, 1], "time": [10, 20, 30]}
    )
    frame.to_csv(table(tmp_path / "csv", "") / reviews.CSV, index=False)
    (tmp_path / "parquet").mkdir()
    frame.to_parquet(tmp_path / "parquet" / reviews.PARQUET)
    csv, parquet = (reviews.read(tmp_path / name) for name in ("csv", "parquet"))
    pd.testing.assert_frame_equal(csv.interactions, parquet.interactions)
    assert csv.interactions["item"].tolist() == ["7", "7", "8"]
    frame["time"] = pd.to_datetime(frame["time"], unit="s")
    frame.to_parquet(tmp_path / "parquet" / reviews.PARQUET)
    again = reviews.read(tmp_path / "parquet")
    assert again.interactions["timestamp"].tolist() == [10, 20, 30]


def test_a_table_of_something_else_says_what_it_lacks(tmp_path):
    for text, said in (
        ("user,item,stars\n1,2,3\n", "has no column 'rating'; it has user, item, stars"),
        ('user,item,rating\n"1,2,3\n', "reviews.csv cannot be read as CSV"),
        ("user,item,rating\n", "is empty; each line must hold a user, an item"),
        ("user,item,rating\n1,2,30\n1,3,x\n", "cannot be used: 2 with no rating .*right file"),
    ):
        with pytest.raises(UserError, match=said):
            reviews.read(table(tmp_path, text))


def test_names_are_what_reviews_share_and_other_items_lack():
    said = [
        ("a", "this pop filter is great"),
        ("a", "a great pop filter, really"),
        ("b", "great guitar strings"),
        ("b", "these guitar strings are great"),
        ("c", "great guitar strings"),
        ("c", "guitar strings, great"),
        ("d", "great"),
        ("e", "the of and"),
    ]
    assert names_from_reviews(["a", "b", "c", "d", "e", "f"], said) == {
        "a": "Pop filter",
        "b": "Guitar strings (b)",
        "c": "Guitar strings (c)",
        "d": "Item d",
        "e": "Item e",
        "f": "Item f",
    }
    assert names_from_reviews(["x"], [("x", "the of and")]) == {"x": "Item x"}


def test_no_name_is_made_of_reviews_that_are_to_be_predicted(tmp_path):
    early = [OLD | {"reviewerID": f"A{n}", "unixReviewTime": n} for n in range(6)]
    late = [
        OLD | {"reviewerID": f"L{n}", "unixReviewTime": 100 + n, "summary": "zither zither"}
        for n in range(4)
    ]
    raw = amazon.read(write(tmp_path, *early, *late))
    (title,) = raw.items["title"]
    assert "ilter" in title and "zither" not in title.lower()


def test_they_are_prepared_with_their_texts_and_notes(empty_cache, tmp_path, capsys):
    folder = write(tmp_path / "raw", OLD, "{", NEW)
    prepared = source("amazon-musical-instruments")
    prepare(prepared.name, folder)
    assert "1 of 3 lines of Musical_Instruments_5.json" in capsys.readouterr().err
    with InteractionStore(store_path(prepared.name)) as store:
        found = store.query("SELECT item_id, text FROM ratings ORDER BY item_id").rows
        assert found == [["B1", "a fine pop filter. Stops the pops. Good"], ["B2", None]]
        first = store.texts
    write(folder, OLD | {"reviewText": "Else"}, NEW)
    prepare(prepared.name, folder)
    with InteractionStore(store_path(prepared.name)) as store:
        assert store.texts != first
