"""The dialog of own ratings and the buttons that save rows, without a browser."""

import io
import json
from base64 import b64decode

import gradio as gr
import httpx
import pandas as pd
import pytest

from ckf_demo.data.rating_rows import read_ratings
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.downloads import saved
from ckf_demo.ui.own_ratings import OwnRatingsDialog
from ckf_demo.ui.pair import Pair, from_query
from ckf_demo.ui.reading import LARGEST_ANSWER, accepted, as_sent
from ckf_demo.ui.saved_rows import history_rows, item_rows, people_rows, ranked_rows
from support.fakes import SPLIT_TIME, FakeRecommender

TABLE = "title,year,rating\nQuiet Harbour,1930,9\nQuiet Machin,1934,1\n<b>None</b>,2001,7\n"


@pytest.fixture(scope="module")
def recommender() -> FakeRecommender:
    return FakeRecommender()


def test_a_file_is_read_by_the_server_and_nothing_is_kept(client, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    address = client.src.rstrip("/")
    answer = httpx.post(f"{address}/ratings", content=TABLE.encode()).json()
    assert [row["rating"] for row in answer["ratings"]] == [4.5, 0.5, 3.5]
    again = httpx.post(f"{address}/ratings?scale=100", content=TABLE.encode()).json()
    assert [row["rating"] for row in again["ratings"]] == [0.5, 0.5, 0.5]
    wrong = httpx.post(f"{address}/ratings?scale=7", content=TABLE.encode())
    assert wrong.status_code == 400 and "give one of 5, 10, 100" in wrong.json()["detail"]
    assert httpx.get(f"{address}/ratings").status_code == 405
    assert not list(tmp_path.iterdir())


def test_what_was_read_comes_back_the_same():
    table = "const,your rating,title,original title,year\ntt1,9,Hate,La Haine,1995\ntt2,1,Alien,,\n"
    read = read_ratings(table)
    back = accepted(json.loads(json.dumps(as_sent(read))))
    assert back.ratings == read.ratings and back.source == read.source and back.scale == 10


def test_long_lists_are_cut_to_the_newest():
    lines = "".join(f"{'x' * 250} {n} (1990), 4\n" for n in range(2000))
    sent = as_sent(read_ratings(lines))
    assert len(json.dumps(sent["ratings"])) <= LARGEST_ANSWER
    assert sent["ratings"][-1]["title"].endswith(" 1999")
    assert f"newest {len(sent['ratings']):,} of 2,000" in sent["notes"][0]


@pytest.mark.parametrize(
    "sent",
    [None, 3, {}, {"ratings": "x"}, {"ratings": [], "source": 1, "scale": 5}, {"ratings": [{}]}],
)
def test_what_no_page_sends_is_refused(sent):
    with pytest.raises(UserError, match="did not arrive whole"):
        accepted(sent)


def test_notes_from_outside_are_bounded():
    row = {"title": "Alien", "rating": 4}
    sent = {"ratings": [row], "source": "x" * 999, "scale": 5, "notes": ["n" * 999] * 99}
    read = accepted(sent | {"left_out": {"r" * 999: 1, "bad": "x"}})
    assert len(read.source) == len(read.notes[0]) == 200 and len(read.notes) == 10
    assert list(read.left_out) == ["r" * 200]


@pytest.fixture
def dialog(recommender) -> OwnRatingsDialog:
    with gr.Blocks():
        return OwnRatingsDialog(recommender)


def test_the_list_is_escaped_and_questions_offer_films(recommender, dialog):
    matches = recommender.predictor.people.match_ratings(TABLE)
    markup = dialog.markup(matches)
    assert "&lt;b&gt;None&lt;/b&gt;" in markup and "<b>None" not in markup
    assert "1 of 3 ratings matched" in markup and "1 to be asked" in markup
    assert 'data-act="choose" data-row="1" data-item="3"' in markup
    assert "the catalogue has no such title" in markup


def test_ratings_join_the_picks_of_the_form(recommender, dialog):
    matches = recommender.predictor.people.match_ratings(TABLE)
    merged = dialog._merged(matches, [("1", 2.0), ("9", 3.0)])
    assert merged == (("9", 3.0), ("1", 4.5))
    with pytest.raises(UserError, match="None of these ratings"):
        dialog._merged(matches.changed(0, None), [])


def test_half_stars_are_in_the_address(recommender):
    pair = from_query(recommender.store, {"rated": "4:0.5,9:4.5"}, Pair(item="1"))
    assert pair.history == (("4", 0.5), ("9", 4.5))
    assert pair.person["history"][0] == {"item": "4", "rating": 0.5, "imported": True}
    assert 1 <= recommender.rate(item="1", **pair.person)["rating"] <= 5
    for wrong in ("4:0", "4:0.4", "4:5.5", "4:nan"):
        with pytest.raises(UserError, match="half stars from 0.5"):
            from_query(recommender.store, {"rated": wrong}, pair)


def test_rows_that_are_saved(recommender):
    pair = Pair(item="1", user="3", at=SPLIT_TIME)
    name, history = history_rows(recommender, pair)
    assert name == "made-up-history-user-3" and len(history) == 3
    assert history[0]["time"] < history[-1]["time"] < "1998-03-16"
    ranked = tuple(recommender.rank(user="3", k=4))
    name, rows = ranked_rows(recommender, pair, ranked)
    assert name == "made-up-top-4-user-3" and [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert [row["item"] for row in rows] == [row["item"] for row in ranked]
    (unknown,) = item_rows(recommender, ["6"])
    assert unknown["year"] is None and unknown["item"] == "6"
    people = people_rows(recommender, ["5", "1"])
    assert [row["user"] for row in people] == ["5", "1"] and people[0]["age"] is None


@pytest.mark.parametrize(
    ("kind", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet), ("json", pd.read_json)]
)
def test_a_saved_file_travels_as_text(kind, read):
    made = [{"item": "7", "year": 1999}, {"item": "8", "year": None}]
    file = json.loads(saved(lambda: ("films", made), kind, ()))
    assert file["name"] == f"films.{kind}"
    frame = read(io.BytesIO(b64decode(file["content"])))
    assert frame["item"].astype(str).tolist() == ["7", "8"]
    assert frame["year"].isna().tolist() == [False, True]
