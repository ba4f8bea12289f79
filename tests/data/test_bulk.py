"""The bulk path makes the store that the ordinary one makes, and says what it cannot read."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data import prepare as preparing
from ckf_demo.data.bulk import bulk_hash, write_bulk_store
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import movielens, source_of
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.lab.bench.made_ratings import write_ratings
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path

FILMS = {1: "Toy Story (1995)", 2: "Matrix, The (1999)", 3: "Café, Le", 40: "So what?"}
TABLES = ("users", "items", "interactions")


def write(folder: Path, rows, films=FILMS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=movielens.COLUMNS)
    table.to_csv(folder / movielens.RATINGS, index=False)
    genres = ["Comedy|Animation", "(no genres listed)"] * 2
    titles = pd.DataFrame({"movieId": films.keys(), "title": films.values()})
    titles.assign(genres=genres[: len(films)]).to_csv(folder / movielens.MOVIES, index=False)
    return folder


def contents(path: Path) -> dict[str, list]:
    """All rows of all tables, in the order of the file; a mean to ten digits."""
    with duckdb.connect(path, read_only=True) as connection:
        found = {name: connection.execute(f"FROM {name}").fetchall() for name in TABLES}
        found["split_time"] = connection.execute("SELECT split_time FROM meta").fetchall()
    found["items"] = [
        tuple(round(value, 10) if isinstance(value, float) else value for value in row)
        for row in found["items"]
    ]
    return found


ratings = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 30, 4_000_000_000]),
        st.sampled_from(list(FILMS)),
        st.integers(1, 10).map(lambda halves: halves / 2),
        st.integers(0, 6),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=15)
@given(ratings)
def test_it_is_the_store_that_the_ordinary_import_makes(tmp_path_factory, rows):
    folder = write(tmp_path_factory.mktemp("ml"), rows)
    write_store(Prepared.from_raw(movielens.read(folder), "ml"), folder / "ordinary.duckdb")
    made = write_bulk_store(movielens.bulk(folder), "ml", folder / "bulk.duckdb")
    assert made[0] == len({row[:2] for row in rows})
    assert contents(folder / "bulk.duckdb") == contents(folder / "ordinary.duckdb")


def test_larger_data_is_the_same_too_and_a_little_memory_is_enough(tmp_path):
    n = write_ratings(tmp_path, 60_000)
    write_store(Prepared.from_raw(movielens.read(tmp_path), "ml"), tmp_path / "ordinary.duckdb")
    write_bulk_store(movielens.bulk(tmp_path), "ml", tmp_path / "bulk.duckdb", memory="100MB")
    found = contents(tmp_path / "bulk.duckdb")
    assert len(found["interactions"]) == n > 50_000
    assert found == contents(tmp_path / "ordinary.duckdb")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".csv", ".duckdb", ".duckdb"]


def test_columns_go_by_name_times_in_milliseconds_and_the_newest_stays(tmp_path):
    rows = [(1, 2, 3.5, 1_588_687_728_923), (1, 2, 5, 1_588_687_829_923), (7, 1, 1, 0)]
    rows[2] = (7, 1, 1, 1_588_687_700_000)
    folder = write(tmp_path, rows)
    table = pd.read_csv(folder / movielens.RATINGS)
    table[["movieId", "timestamp", "userId", "rating"]].to_csv(
        folder / movielens.RATINGS, index=False
    )
    _, notes = write_bulk_store(movielens.bulk(folder), "ml", folder / "bulk.duckdb")
    assert any("in milliseconds" in note for note in notes)
    assert any(note.startswith("1 interactions are older ones") for note in notes)
    with InteractionStore(folder / "bulk.duckdb") as store:
        found = store.query("SELECT user_id, item_id, rating FROM ratings ORDER BY 1")
    assert found.rows == [["1", "2", 5.0], ["7", "1", 1.0]]
    write_store(Prepared.from_raw(movielens.read(folder), "ml"), folder / "ordinary.duckdb")
    assert contents(folder / "bulk.duckdb") == contents(folder / "ordinary.duckdb")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,1,3,5", "line 4: "),
        ("1,1,3", "line 4: "),
        ("1,1,3,5,9", "line 4: "),
        ("1,1,9,5", "line 4: 1, 1, 9, 5 must be a user, an item, a rating from 0.5 to 5"),
        ("1,,3,5", "line 4: 1, nothing, 3, 5 must be a user"),
        ("1,7,3,5", "line 4: item 7 is not among those described"),
        ("1,1,nan,5", "line 4: 1, 1, nan, 5 must be a user"),
    ],
)
def test_a_line_that_is_no_rating_is_named_and_nothing_is_written(
    empty_cache, tmp_path, monkeypatch, line, said
):
    monkeypatch.setattr(preparing, "BULK_BYTES", 0)
    folder = write(tmp_path / "ml", [(1, 1, 3.0, 5), (2, 1, 3.0, 6)])
    with (folder / movielens.RATINGS).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=f"ratings.csv, {said}"):
        preparing.prepare("ml-latest", folder, progress=False)
    assert [p.name for p in store_path("ml-latest").parent.iterdir()] == [".ml-latest.lock"]


def test_a_file_of_something_else_is_refused(tmp_path):
    folder = write(tmp_path, [(1, 1, 3.0, 5)])
    (folder / movielens.RATINGS).write_text("user,film\n1,2\n")
    with pytest.raises(UserError, match="ratings.csv"):
        write_bulk_store(movielens.bulk(folder), "ml", folder / "s.duckdb")
    (folder / movielens.RATINGS).write_text("userId,movieId,rating,timestamp\n")
    with pytest.raises(UserError, match="has no interactions"):
        write_bulk_store(movielens.bulk(folder), "ml", folder / "t.duckdb")
    (folder / movielens.RATINGS).unlink()
    with pytest.raises(UserError, match="lacks ratings.csv; it must hold ratings.csv and movies"):
        movielens.bulk(folder)


def test_large_data_is_prepared_as_a_store_alone_and_small_data_as_any_other(
    empty_cache, tmp_path, monkeypatch, capsys
):
    folder = write(tmp_path / "ml", [(1, 1, 3.5, 5), (2, 1, 0.5, 6), (2, 40, 5, 7)])
    assert source_of(folder) is movielens.SOURCE
    preparing.prepare("ml-latest", folder)
    assert Prepared.load(prepared_path("ml-latest")).rating.tolist() == [3.5, 0.5, 5]
    monkeypatch.setattr(preparing, "BULK_BYTES", 0)
    preparing.prepare("ml-latest", folder)
    assert "too many for one training file" in capsys.readouterr().err
    with InteractionStore(store_path("ml-latest")) as store:
        assert store.hash == bulk_hash(movielens.bulk(folder), "ml-latest")
        assert store.search_items("the matrix")["item"].tolist() == ["2"]
    with pytest.raises(UserError, match="though its store is there"):
        Prepared.load(prepared_path("ml-latest"))
    preparing.prepare("ml-latest", folder)
    assert "is already in" in capsys.readouterr().err


def test_candidates_are_what_is_liked_with_the_last_likes_and_never_known_already(tmp_path):
    # Users like 1 and 2 together, or 3 and 40; user 99 has liked 1 alone.
    rows = [(user, film, 5.0, user) for user in range(1, 9) for film in ((1, 2), (3, 40))[user % 2]]
    rows += [(99, 1, 5.0, 50), (98, 3, 1.0, 51), (98, 3, 1.0, 52)]
    rows += [(user, 1, 1.0, 100 + user) for user in range(200, 210)]
    folder = write(tmp_path, rows)
    write_bulk_store(movielens.bulk(folder), "ml", folder / "s.duckdb")
    with InteractionStore(folder / "s.duckdb") as store:
        found = store.candidates("99", 60)
        assert found["item"].tolist()[0] == "2" and "1" not in found["item"].tolist()
        assert found["score"].tolist()[0] > 0 == found["score"].tolist()[1]
        assert found["n_ratings"].tolist()[1:] == sorted(found["n_ratings"][1:], reverse=True)
        # what was not liked brings no candidates
        assert (store.candidates("98", 60)["score"] == 0).all()
        assert len(store.candidates("99", 60, limit=1)) == 1
        with pytest.raises(UserError, match="unknown user 'nobody'"):
            store.candidates("nobody", 60)
    write_store(Prepared.from_raw(movielens.read(folder), "ml"), folder / "ordinary.duckdb")
    with (
        InteractionStore(folder / "ordinary.duckdb") as store,
        pytest.raises(UserError, match="it was not written in bulk"),
    ):
        store.candidates("99", 60)
