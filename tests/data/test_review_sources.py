"""Reviews: Amazon's forms of 2014 and 2018, and anybody's table; broken lines do not stop them."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_demo.data.prepare import prepare
from ckf_demo.data.sources import amazon, source, source_of
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


def test_of_several_reviews_of_one_item_the_newest_stays(tmp_path):
    later = OLD | {"unixReviewTime": OLD["unixReviewTime"] + 1, "overall": 1.0}
    raw = amazon.read(write(tmp_path, later, OLD, NEW))
    assert raw.interactions["rating"].tolist() == [1, 4]
    assert any(note.startswith("1 of 3 interactions are older ones") for note in raw.notes)


def test_the_form_of_2023_is_read(tmp_path):
    review = {
        "rating": 2.0,
        "title": "Not &amp;#34;bright&amp;#34;",
        "text": "Thin.<br />Returned &amp; replaced.",
        "asin": "V1",
        "parent_asin": "P1",
        "user_id": "U1",
        "timestamp": 1600000000123,
    }
    other = review | {"user_id": "U2", "rating": 4.0, "timestamp": 1600000001123}
    write(tmp_path, review, other, name="Strings.jsonl")
    about = {"parent_asin": "P1", "title": "Flat &amp; Round", "description": []}
    write(tmp_path, about, name="meta_Strings.jsonl")
    assert source_of(tmp_path) is amazon.SOURCE
    raw = amazon.read(tmp_path)
    assert raw.interactions["timestamp"].tolist() == [1600000000, 1600000001]
    assert raw.interactions["text"][0] == 'Not "bright" Thin. Returned & replaced.'
    assert raw.items[["item", "title"]].to_numpy().tolist() == [["P1", "Flat & Round"]]
    assert "Times are in milliseconds" in raw.notes[-1] and "2020-09-13" in raw.notes[-1]


BROKEN = {
    "no JSON": "{",
    "no JSON object": "[1]",
    "no reviewerID or no asin": OLD | {"asin": None},
    "no overall from 1 to 5": OLD | {"overall": 7},
    "no unixReviewTime as a whole number": OLD | {"unixReviewTime": "2014"},
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
