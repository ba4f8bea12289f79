"""Anybody's own table: what is understood of it, what is reported, and what is refused."""

import gzip
import json
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.cli import main
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import Choices, movielens, source_of, table
from ckf_demo.data.sources.base import BOOKS, FILMS, ITEMS, PRODUCTS
from ckf_demo.data.sources.columns import meaning_of, read_choices
from ckf_demo.data.sources.moments import read_moments
from ckf_demo.data.sources.scales import read_ratings
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path

PEOPLE = ("ann", "bob", "cid", "dee", "eve")
THINGS = ("a1", "a2", "a3", "a4")


def made(n: int = 20, **columns: object) -> pd.DataFrame:
    """Twenty ratings of four things by five people, with a time each; other columns on demand."""
    rows = [(person, thing) for person in PEOPLE for thing in THINGS][:n]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    frame["rating"] = [1 + (place * 7) % 5 for place in range(n)]
    frame["time"] = [1_500_000_000 + 60 * place for place in range(n)]
    return frame.assign(**columns)


def put(folder: Path, text: str | bytes, name: str = "own.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def triples(raw) -> list[tuple]:
    rows = raw.interactions
    return list(zip(rows["user"], rows["item"], rows["rating"].tolist(), strict=True))


WRITERS = {
    "own.csv": lambda frame: frame.to_csv(index=False).encode(),
    "own.tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    "semicolons.csv": lambda frame: frame.to_csv(index=False, sep=";", decimal=",").encode(),
    "bars.txt": lambda frame: frame.to_csv(index=False, sep="|").encode(),
    "own.jsonl": lambda frame: frame.to_json(orient="records", lines=True).encode(),
    "own.json": lambda frame: frame.to_json(orient="records").encode(),
    "own.csv.gz": lambda frame: gzip.compress(frame.to_csv(index=False).encode()),
    "own.parquet": lambda frame: frame.to_parquet(),
    "utf16.csv": lambda frame: frame.to_csv(index=False).encode("utf-16"),
    "windows.csv": lambda frame: b"\xef\xbb\xbf" + frame.to_csv(index=False).encode(),
    "wrongly-named.csv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_of_a_table_gives_the_same_data(tmp_path, name):
    frame = made().assign(rating=lambda f: f["rating"] - 0.5 * (f["rating"] > 2))
    raw = table.read(put(tmp_path, WRITERS[name](frame), name))
    expected = list(zip(frame["user"], frame["item"], frame["rating"], strict=True))
    assert triples(raw) == expected
    assert raw.interactions["timestamp"].tolist() == frame["time"].tolist()
    assert source_of(tmp_path) is table.SOURCE


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("userId", "user"), ("user_id:token", "user"), ("Customer ID", "user"), ("User", "user"),
        ("reviewerID", "user"), ("user_name", "user"), ("movieId", "item"), ("ISBN", "item"),
        ("parent_asin", "item"), ("business_id", "item"), ("item_id:token", "item"),
        ("Your Rating", "rating"), ("overall", "rating"), ("stars", "rating"), ("Score", "rating"),
        ("unixReviewTime", "time"), ("Date Rated", "time"), ("created_at", "time"),
        ("timestamp:float", "time"), ("movie_title", "title"), ("Book-Title", "title"),
        ("Year-Of-Publication", "year"), ("reviewText", "text"), ("release_year", "year"),
        ("price", ""), ("user_age", "age"), ("helpful_votes", ""),
    ],
)  # fmt: skip
def test_columns_are_known_by_their_names(name, meaning):
    assert meaning_of(name) == meaning


def test_other_names_are_said(tmp_path):
    frame = made().rename(columns={"user": "wer", "item": "was", "rating": "note"})
    folder = put(tmp_path, frame.to_csv(index=False))
    with pytest.raises(UserError, match="own.csv has wer, was, note, time.*--columns user=NAME"):
        source_of(folder)
    choices = Choices(read_choices(["user=wer item=was", "rating=note"]))
    assert triples(table.read(folder, choices)) == triples(
        table.read(put(tmp_path / "named", made().to_csv(index=False)))
    )
    with pytest.raises(UserError, match="has a column 'wo'; own.csv has wer"):
        table.read(folder, Choices({"user": "wer", "item": "wo"}))
    with pytest.raises(UserError, match="'who=x' is not understood"):
        read_choices(["who=x"])
    # an empty name leaves a column out
    assert table.read(folder, Choices({"user": "wer", "item": "was"})).feedback == "likes"


@pytest.mark.parametrize(
    ("cells", "first", "said"),
    [
        ([1_588_687_728, 1_588_687_829], 1_588_687_728, "seconds"),
        ([1_588_687_728_923, 1_588_687_829_923], 1_588_687_728, "milliseconds"),
        (["1588687728923000", "1588687829923000"], 1_588_687_728, "microseconds"),
        ([-86_400, 10], -86_400, "seconds"),
        (["1969-07-20T20:17:40Z", "2020-01-01"], -14_182_940, "dates"),
        (["25.12.2019", "01.02.2020"], 1_577_232_000, "dates, day first"),
        (["12/25/2019", "01/02/2020"], 1_577_232_000, "dates, month first"),
        (["01/02/2020", "03/04/2020"], 1_577_923_200, "month first (either would fit)"),
        ([20_200_131, 20_200_201], 1_580_428_800, "days such as 20200131"),
        ([1999, 2001], 915_148_800, "years"),
        (["Mar 5, 2020", "April 6, 2021"], 1_583_366_400, "dates"),
    ],
)
def test_times_are_understood_as_a_column(cells, first, said):
    seconds, understood = read_moments(pd.Series(cells))
    assert seconds.iloc[0] == first and said in understood


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ([1, 3, 5], "ratings", [1, 3, 5]),
        ([0.5, 3.5, 5], "ratings", [0.5, 3.5, 5]),
        ([1, 7, 10], "ratings", [0.5, 3.5, 5]),
        ([0, 50, 100], "ratings", [0.5, 2.5, 5]),
        ([-10, 0, 10], "ratings", [1, 3, 5]),
        ([1, 4, 7], "ratings", [1, 3, 5]),
        ([0, 1, 0], "ratings", [1, 5, 1]),
        ([-1, 1, 1], "ratings", [1, 5, 5]),
        ([1, 1, 1], "likes", [1, 1, 1]),
        ([4, 4, 4], "likes", [1, 1, 1]),
        ([1, 12, 4711], "likes", [1, 1, 1]),
        (["4,5", "3", "1,5"], "ratings", [4.5, 3, 1.5]),
        (["4/5", "3/5", "1/5"], "ratings", [4, 3, 1]),
        (["★★★½", "★", "★★★★★"], "ratings", [3.5, 1, 5]),
        (["yes", "no", "yes"], "ratings", [5, 1, 5]),
    ],
)
def test_ratings_on_any_scale_become_stars_or_likes(cells, kind, values):
    understood = read_ratings(pd.Series(cells, name="rating"))
    assert understood.kind == kind
    assert understood.values.tolist() == pytest.approx(values)


def test_single_values_off_the_scale_are_errors_and_do_not_change_it(tmp_path):
    frame = pd.concat([made()] * 10, ignore_index=True)
    frame["item"] = [f"i{place}" for place in range(len(frame))]
    frame["rating"] = frame["rating"].astype(object)
    frame.loc[3, "rating"], frame.loc[9, "rating"] = 99, "good"
    raw = table.read(put(tmp_path, frame.to_csv(index=False)))
    assert len(raw.interactions) == len(frame) - 2
    assert any("2 with no rating from 1 to 5 (first: line 5)" in note for note in raw.notes)


def test_items_and_users_come_from_their_own_tables(tmp_path):
    put(tmp_path, made().rename(columns={"item": "book_id"}).to_csv(index=False))
    books = pd.DataFrame(
        {"BookID": [*THINGS[:3], "z9"], "Title": ["Red", "Blue &amp; Co", "", "Z"]}
    )
    books["Year"], books["Genres"] = ["1999", "2001 (reprint)", "", "2020"], ["A|B", "B", "", ""]
    put(tmp_path, books.to_csv(index=False, sep=";"), "books.csv")
    people = pd.DataFrame({"User-ID": ["ann", "bob"], "Age": [30, 1000], "Gender": ["F", ""]})
    put(tmp_path, people.to_csv(index=False), "people.csv")
    put(tmp_path, "colour,price\nred,3\n", "other.csv")
    raw = table.read(tmp_path)
    assert raw.domain == BOOKS
    items = raw.items.set_index("item")
    assert items["title"].to_dict() == {
        "a1": "Red", "a2": "Blue & Co", "a3": "a3", "z9": "Z", "a4": "a4"
    }  # fmt: skip
    assert items["year"].tolist()[:2] == [1999, 2001] and items["genres"]["a1"] == ("A", "B")
    users = raw.users.set_index("user")
    assert users["age"].tolist() == [30, *[pd.NA] * 4]
    assert users["gender"].tolist() == ["F", *[None] * 4]
    assert "Not used: other.csv." in raw.notes
    assert any("2 of 5 items have no title, and are called by their ids" in n for n in raw.notes)
    assert any("1 items are not in books.csv" in note for note in raw.notes)


def test_what_was_understood_is_said_and_how_to_say_otherwise(tmp_path):
    raw = table.read(put(tmp_path, made().to_csv(index=False, sep=";")))
    assert raw.notes[:2] == (
        "own.csv (text with semicolons, 20 rows): user = user, item = item, rating = rating, "
        "time = time.",
        "Say otherwise with --columns user=NAME item=NAME rating=NAME time=NAME.",
    )
    assert "Times: seconds (first row: 2017-07-14 02:40:00 UTC)." in raw.notes


@pytest.mark.parametrize(
    ("column", "kind"), [("movie", FILMS), ("asin", PRODUCTS), ("item", ITEMS), ("thing_x", ITEMS)]
)
def test_the_kind_of_items_is_in_the_name_of_their_column(tmp_path, column, kind):
    frame = made().rename(columns={"item": column})
    folder = put(tmp_path, frame.to_csv(index=False))
    assert table.read(folder, Choices({"item": column})).domain == kind
    assert table.read(folder, Choices({"item": column}, kind=BOOKS)).domain == BOOKS


def test_without_times_rows_sorted_by_user_are_shuffled_and_others_keep_their_order(tmp_path):
    frame = made()[["user", "item", "rating"]]
    mixed = frame.iloc[np.argsort([place % 4 for place in range(20)], kind="stable")]
    raw = table.read(put(tmp_path / "mixed", mixed.to_csv(index=False)))
    assert raw.interactions["user"].tolist() == mixed["user"].tolist()
    assert raw.interactions["timestamp"].tolist() == list(range(20))
    raw = table.read(put(tmp_path / "sorted", frame.to_csv(index=False)))
    assert sorted(triples(raw)) == sorted(frame.itertuples(index=False, name=None))
    assert any("they were put in a random order" in note for note in raw.notes)
    prepared = Prepared.from_raw(raw, "own")
    assert not prepared.has_times and len(set(prepared.user[prepared.split > 0])) > 1


def test_the_newest_rating_stays_in_every_form(tmp_path):
    frame = pd.concat([made(), made(1).assign(rating=5, time=1_600_000_000)], ignore_index=True)
    own = table.read(put(tmp_path / "own", frame.to_csv(index=False)))
    names = dict(zip(("user", "item", "rating", "time"), movielens.COLUMNS, strict=True))
    put(tmp_path / "ml", frame.rename(columns=names).to_csv(index=False), movielens.RATINGS)
    films = pd.DataFrame({"movieId": THINGS, "title": THINGS, "genres": ""})
    films["title"] = "Film " + films["title"]
    put(tmp_path / "ml", films.to_csv(index=False), movielens.MOVIES)
    assert source_of(tmp_path / "ml") is movielens.SOURCE
    for raw in (own, movielens.read(tmp_path / "ml")):
        assert ("ann", "a1", 5.0) in triples(raw) and len(raw.interactions) == 20
        assert any(note.startswith("1 of 21 interactions are older ones") for note in raw.notes)
        prepared = Prepared.from_raw(raw, "own")
        for row in range(len(prepared.user)):
            assert prepared.item[row] not in prepared.item[prepared.history.before(row)]


def test_movielens_1m_has_its_codes_in_words(tmp_path):
    put(tmp_path, "5::9::4::978300760\n6::9::2::978300761\n5::7::3::978300762\n", "ratings.dat")
    films = 'Café "Noir", Le (1957-8)'.encode("latin-1")
    put(tmp_path, b"9::" + films + b"::Drama|War\n7::Heat (1995)::Crime\n", "movies.dat")
    put(tmp_path, "5::M::1::20::48067\n6::F::35::0::1\n", "users.dat")
    assert source_of(tmp_path) is movielens.DAT_SOURCE
    raw = movielens.read_dat(tmp_path)
    assert raw.items.iloc[0].tolist() == ["9", 'Le Café "Noir"', 1957, ("Drama", "War")]
    assert raw.users.to_numpy(object).tolist() == [
        ["5", 17, "M", "writer"],
        ["6", 35, "F", "other"],
    ]
    (tmp_path / "users.dat").unlink()
    assert movielens.read_dat(tmp_path).users["age"].isna().all()


def text_of(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


WIDE = pd.concat([made(), pd.DataFrame(1, range(20), [f"x{n}" for n in range(1000)])], axis=1)
ODD: dict[str, tuple[str | bytes, str | int]] = {
    # what is in the file, and what is said, or how many rows are read
    "empty": ("", "is empty"),
    "blanks": (" \n\n  \n", "is empty"),
    "header": ("user,item,rating\n", "has no rows"),
    "one user": (text_of(made().assign(user="ann", item=[f"i{n}" for n in range(20)])), 20),
    "one item": (text_of(made().assign(item="a1", user=[f"u{n}" for n in range(20)])), 20),
    "all equal": (text_of(made().assign(rating=4)), 20),
    "spaces": (text_of(made().assign(user=lambda f: "  " + f["user"] + " x ")), 20),
    "commas": (text_of(made().assign(item=lambda f: "a, b" + f["item"])), 20),
    "scripts": (text_of(made().assign(user=lambda f: "Ольга " + f["user"], item="本")), 5),
    "before 1970": (text_of(made().assign(time=lambda f: f["time"] - 2_000_000_000)), 20),
    "year 9999": (text_of(made().assign(time="9999-12-31")), "20 with no time"),
    "thousand columns": (text_of(WIDE), 20),
    "ragged": (text_of(made()) + "ann,a9\nbob,a9,1,2,3,4,5\n", 20),
    "binary": (bytes(range(256)) * 100, "no table|columns for a user and an item"),
    "half broken": (text_of(made().assign(rating=["x", 1] * 10)), "10 of 20 rows.*no number"),
    "unclosed": ('user,item,rating\n"ann,a1,3\n', "cannot be read as CSV"),
    "nothing known": ("a,b,c\n1,2,3\n4,5,6\n", "columns for a user and an item"),
    "json": ('{"user": "ann"', "no JSON objects"),
    "nested": (json.dumps([{"user": {"id": 1}, "item": [1], "rating": 3}] * 3), 1),
    "twice a name": ("user,user,item,rating\n1,x,2,3\n2,y,2,4\n", 2),
    "not packed": (b"\x1f\x8b\x08rest", "cannot be read"),
    "infinite": (text_of(made().assign(rating=[np.inf, 3, 4, 5] * 5)), 15),
    "same row": ("user,item,rating\n" + "ann,a1,3\n" * 30 + "bob,a2,4\n", 2),
    "no separator": ("user\nann\nbob\n", "columns for a user and an item"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_read_or_ends_in_one_message(empty_cache, tmp_path, capsys, name):
    content, expected = ODD[name]
    folder = put(tmp_path / "raw", content)
    if isinstance(expected, int):
        assert len(table.read(folder).interactions) == expected
        return
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "--data", str(folder)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("ckf: ") and said.count("\n") == 1
    with pytest.raises(UserError, match=expected):
        table.read(folder)
    assert not list(empty_cache.glob("data/*.npz"))


def test_a_folder_of_two_tables_asks_which(tmp_path):
    put(tmp_path, text_of(made()))
    put(tmp_path, text_of(made(10)), "second.tsv")
    with pytest.raises(
        UserError, match=r"2 tables of interactions, own.csv and second.tsv.*--data"
    ):
        source_of(tmp_path)
    assert len(table.read(tmp_path / "second.tsv").interactions) == 10
    inner = tmp_path / "outer" / "ml"
    put(inner, text_of(made()))
    assert len(table.read(tmp_path / "outer").interactions) == 20
    with pytest.raises(UserError, match="holds no table"):
        source_of(put(tmp_path / "pictures", b"GIF", "a.gif"))


def test_a_file_that_grows_gives_what_it_held(tmp_path):
    lines = "".join(f"u{n % 50},i{n % 70},{n % 5 + 1},{1_500_000_000 + n}\n" for n in range(20_000))
    path = put(tmp_path, f"user,item,rating,time\n{lines}") / "own.csv"
    stop = threading.Event()

    def grow() -> None:
        with path.open("a") as file:
            while not stop.is_set():
                file.write("u1,i1,3,15")
                file.flush()
                os.fsync(file.fileno())
                file.write("00000001\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        raw = table.read(tmp_path)
    finally:
        stop.set()
        writer.join()
    assert {"u0", "u49"} <= set(raw.interactions["user"]) and len(raw.interactions) >= 300


def test_the_command_takes_columns_as_printed_and_a_name(
    empty_cache, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ckf_demo.backbone.loading.prepare_backbone", lambda name: None)
    frame = made().rename(columns={"user": "wer", "item": "was", "rating": "note"})
    folder = put(tmp_path / "My data!", text_of(frame))
    command = ["prepare", "--data", str(folder), "--scale", "1-5", "--kind", "books"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--name", "mine", "--columns", "user=wer", "item=was", "rating=note"])
    assert ended.value.code == 0
    prepared = Prepared.load(prepared_path("mine"))
    assert (prepared.dataset, prepared.domain, len(prepared.user)) == ("mine", BOOKS, 20)
    assert "mine: 20 ratings of 4 items by 5 users" in capsys.readouterr().err
    named = put(tmp_path / "My data", text_of(made()))
    with pytest.raises(SystemExit):
        main(["prepare", "--data", str(named)])
    assert prepared_path("My-data").exists()
    for options, said in (
        (["--name", "ml-100k"], "is the name of MovieLens-100K"),
        (["--name", "../x"], "cannot name a data set"),
        (["--kind", "boats"], "the kind 'boats' is unknown"),
        (["--scale", "high"], "the scale 'high' is not understood"),
        (["item=was"], "'item=was' is not understood"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["prepare", "--data", str(named), *options])
        assert ended.value.code == 2 and said in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_one_message(tmp_path_factory, content):
    folder = put(tmp_path_factory.mktemp("bytes"), content)
    try:
        assert len(table.read(folder).interactions)
    except UserError as error:
        assert str(error)
