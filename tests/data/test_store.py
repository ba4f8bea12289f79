"""The interaction store: time, search, statistics, threads and broken files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data import store_tables
from ckf_demo.data.item_facts import COLUMNS
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData
from ckf_demo.data.sources.movielens100k import read
from ckf_demo.data.store import InteractionStore, fold, write_store
from ckf_demo.runtime.errors import UserError
from support.small_data import raw_data, write_original

TITLES = {
    "1": "The Matrix",
    "2": "The Matrix Reloaded",
    "3": "La Cité des enfants perdus",
    "4": "Les Misérables",
    "5": "Schindler's List",
    "6": "Seven (Se7en)",
    "7": "The Seventh Seal (Det Sjunde inseglet)",
    "8": "Seven Years in Tibet",
    "9": "Enter the Matrix",
    "10": "Life Less Ordinary",
    "11": "Wild Life",
    "12": "L'Enfer",
}


def stored(raw: RawData, path: Path) -> InteractionStore:
    write_store(Prepared.from_raw(raw, "tiny"), path)
    return InteractionStore(path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[InteractionStore]:
    """The small data set: two people with ratings, eight of ten rows before moment 150."""
    with stored(read(write_original(tmp_path / "raw")), tmp_path / "tiny.duckdb") as opened:
        yield opened


@pytest.fixture
def titles(tmp_path: Path) -> Iterator[InteractionStore]:
    """Twelve titles; in the training part, three people rated item 8, two rated item 11."""
    rated = [("a", "8"), ("b", "8"), ("c", "8"), ("a", "11"), ("b", "11"), ("a", "1"), ("a", "2")]
    raw = raw_data([(*pair, 4.0, moment) for moment, pair in enumerate(rated)], TITLES)
    with stored(raw, tmp_path / "titles.duckdb") as opened:
        yield opened


def found(store: InteractionStore, query: str, **limit: int | None) -> list[str]:
    return store.search_items(query, **limit).title.tolist()


def test_history_ends_strictly_before_the_moment(store):
    assert store.history("1", 110).item.tolist() == ["10"]
    assert store.history("1", 111).item.tolist() == ["10", "50", "30"]
    assert store.history("1", 111, limit=2).item.tolist() == ["50", "30"]
    assert store.history("1", 111, limit=0).empty
    assert store.history("1", 0).empty
    assert store.history("3", 10**12).empty


def test_columns_have_their_types_even_when_empty(store):
    for frame in (store.history("1", 120), store.history("3", 0), store.later("1", 0)):
        assert " ".join(frame) == "item title year genres rating timestamp"
        assert " ".join(map(str, frame.dtypes)) == "object object Int64 object float32 int64"
    row = store.history("1", 120).iloc[1]
    assert row.tolist() == ["50", "Toy Story", 1995, ["Animation", "Children's", "Comedy"], 3, 110]
    items = store.search_items("toy story")
    assert items.dtypes.equals(store.items().dtypes)
    assert store.search_items("nothing like it").dtypes.equals(items.dtypes)


def test_item_statistics_count_the_training_part_only(store):
    items = store.items()
    # Rows 9 and 10 (items 40 and 50) are validation and test.
    assert items[["item", "n_ratings", "mean_rating"]].to_numpy(object).tolist() == [
        ["10", 2, 3.5], ["20", 2, 1.5], ["30", 2, 3.5], ["40", 1, 4.0], ["50", 1, 3.0]
    ]  # fmt: skip
    untitled = {"item": "40", "title": "unknown", "year": None, "genres": []}
    unknown = {name: [] for name in COLUMNS} | {"description": ""}
    assert store.item("40") == untitled | {"n_ratings": 1, "mean_rating": 4.0} | unknown


def test_users_have_their_default_moment(store):
    assert store.split_time == 150
    users = store.users()
    columns = ["user", "at", "n_before", "n_total", "age", "gender", "occupation"]
    assert users[columns].to_numpy(object).tolist() == [
        ["1", 150, 4, 5, 24, "M", "technician"],
        ["2", 150, 4, 5, 53, "F", "other"],
        ["3", 150, 0, 0, pd.NA, None, None],
    ]
    unknown = {"user": "3", "age": None, "gender": None, "occupation": None}
    assert store.user("3") == unknown | {"n_before": 0, "n_total": 0, "at": 150}


@pytest.mark.parametrize(
    ("moments", "at", "before"),
    [
        (range(1000, 1012), 1009, 9),
        (range(1000, 1010), 1009, 9),
        (range(1000, 1004), 1003, 3),
        (range(1000, 1001), 1000, 0),
        # rows of the tenth moment are not history
        ([*range(1000, 1007), 1007, 1007, 1007, 1007, 1008], 1007, 7),
    ],
)
def test_someone_new_is_met_at_their_tenth_interaction(tmp_path, moments, at, before):
    early = [("early", str(i), 4.0, i) for i in range(60)]
    late = [("late", str(i), 4.0, moment) for i, moment in enumerate(moments)]
    with stored(raw_data(early + late), tmp_path / "s.duckdb") as store:
        assert store.default_at("late") == at
        assert store.user("late")["n_before"] == before
        assert len(store.history("late", at)) == before
        assert store.default_at("early") == store.split_time


@settings(max_examples=8)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 3)),
        min_size=1,
        max_size=25,
        unique_by=lambda row: row[:2],
    )
)
def test_history_and_later_part_a_users_rows_at_every_moment(tmp_path_factory, rows):
    raw = raw_data([(user, item, 3.0, moment) for user, item, moment in rows])
    with stored(raw, tmp_path_factory.mktemp("store") / "s.duckdb") as store:
        for user in {row[0] for row in rows}:
            # Python's sort is stable: rows of one moment stay in source order.
            own = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
            for at in range(5):
                before, after = store.history(user, at), store.later(user, at)
                assert before.item.tolist() == [item for _, item, moment in own if moment < at]
                assert after.item.tolist() == [item for _, item, moment in own if moment >= at]
                assert at not in before.timestamp.tolist()
                last = store.history(user, at, limit=2)
                assert last.item.tolist() == before.item.tolist()[-2:]


@pytest.mark.parametrize(
    ("queries", "titles_found"),
    [
        # case, accents, punctuation and order do not matter
        (["MISERABLES les"], ["Les Misérables"]),
        (["perdus cite", "ENFANTS, perdus!"], ["La Cité des enfants perdus"]),
        (["schindlers", "Schindler’s list"], ["Schindler's List"]),
        (["l'enfer", "enfer"], ["L'Enfer"]),
        # the best match comes first
        (["matrix", "the matrix"], ["The Matrix", "The Matrix Reloaded", "Enter the Matrix"]),
        (["se7en"], ["Seven (Se7en)"]),
    ],
)
def test_search_finds_titles_however_they_are_spelt(titles, queries, titles_found):
    assert [found(titles, query) for query in queries] == [titles_found] * len(queries)


def test_the_best_match_comes_first(titles):
    assert found(titles, "seven")[:3] == [
        "Seven (Se7en)",
        "Seven Years in Tibet",
        "The Seventh Seal (Det Sjunde inseglet)",
    ]
    # among equals the popular come first
    assert titles.items().set_index("item").n_ratings[["8", "11"]].tolist() == [3, 2]
    assert found(titles, "")[:2] == ["Seven Years in Tibet", "Wild Life"]


def test_search_is_limited(titles, store):
    assert len(found(titles, "", limit=None)) == len(TITLES)
    assert len(found(titles, "", limit=3)) == 3
    assert found(titles, "", limit=0) == []
    assert found(store, "toy story 1995") == ["Toy Story"]
    with pytest.raises(UserError, match="limit -1 is negative"):
        store.search_items("", limit=-1)


@pytest.mark.parametrize(
    "query", ["%", "_", "'", "'; DROP TABLE items; --", "\\", "$genre", "\x00", "\ud800"]
)
def test_no_query_is_taken_for_more_than_words(titles, query):
    assert found(titles, query) == []
    assert len(titles.items()) == len(TITLES)


@given(st.text())
def test_folding_twice_changes_nothing(text):
    folded = fold(text)
    assert fold(folded) == folded
    assert folded == folded.strip()


def test_filters_and_statistics(store):
    genres = "Action Adventure Animation Children's Comedy Drama Sci-Fi"
    assert store.genres() == genres.split()
    assert store.occupations() == ["other", "technician"]
    statistics = store.statistics()
    assert statistics["ratings"] == {"1": 2, "2": 2, "3": 2, "4": 2, "5": 2}
    counts = {"n_train": 8, "n_valid": 1, "n_test": 1, "n_users": 3, "n_items": 5}
    means = {"density": 10 / 15, "mean_rating": 3, "share_liked": 0.4}
    times = {"first_time": 90, "last_time": 160, "split_time": 150}
    expected = counts | means | times
    assert {name: statistics[name] for name in expected} == pytest.approx(expected)


def test_numbers_are_ids_too_and_unknown_ids_are_named(store):
    assert store.user(1) == store.user("1")
    assert store.item(10)["title"] == "The Matrix"
    assert len(store.history(1, 150)) == 4
    for call, *arguments in (
        *((store.user, "99"), (store.default_at, 99)),
        *((store.history, "99", 1), (store.later, "99", 1)),
    ):
        with pytest.raises(UserError, match="unknown user '99'; give an id of tiny"):
            call(*arguments)
    for strange in ("", "\ud800", "1' OR '1' = '1", None):
        with pytest.raises(UserError, match="unknown user"):
            store.user(strange)
    with pytest.raises(UserError, match="unknown item '99'"):
        store.item("99")
    with pytest.raises(UserError, match="limit -2 is negative"):
        store.history("1", 1, limit=-2)


@pytest.mark.parametrize("at", ["soon", None, float("nan"), float("inf"), 10**30])
def test_an_invalid_moment_is_named(store, at):
    for call in (store.history, store.later):
        with pytest.raises(UserError, match="moment .* is not valid; give whole seconds"):
            call("1", at)


def test_what_was_returned_may_be_changed(store):
    items = store.items()
    items.loc[0, "title"] = "changed"
    store.items().genres.iloc[0].append("changed")
    assert store.item("10")["title"] == "The Matrix"
    assert store.items().genres.iloc[0] == ["Action", "Sci-Fi"]


def test_the_connection_cannot_write_or_reach_files(store):
    for sql in (
        "DELETE FROM items",
        "CREATE TABLE other (a INTEGER)",
        f"SELECT * FROM read_text('{__file__}')",
        f"COPY items TO '{store.path}.csv'",
    ):
        with pytest.raises(duckdb.Error):
            store._query(sql)


def test_many_threads_get_their_own_answers(store):
    expected = {user: store.history(user, 10**9) for user in ("1", "2")}

    def ask(number: int) -> bool:
        user = "12"[number % 2]
        return store.history(user, 10**9).equals(expected[user]) and len(store.items()) == 5

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_missing_or_broken_file_says_how_to_mend_it(empty_cache, tmp_path):
    with pytest.raises(UserError, match="no data store at .*; run: ckf prepare"):
        InteractionStore.open("ml-100k")
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match="not a data store .* remove it and run: ckf prepare"):
        InteractionStore(broken)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE something (a INTEGER)")
    with pytest.raises(UserError, match="not a data store"):
        InteractionStore(other)


def test_a_cut_off_file_is_refused(tmp_path):
    stored(read(write_original(tmp_path)), tmp_path / "whole.duckdb").close()
    for cut in (10, 4096, 8192, 20_000, 300_000):
        path = tmp_path / f"cut-{cut}.duckdb"
        path.write_bytes((tmp_path / "whole.duckdb").read_bytes()[:cut])
        with pytest.raises(UserError, match="run: ckf prepare"):
            InteractionStore(path)


@pytest.mark.parametrize(("change", "said"), [(1, "a newer"), (-1, "an older")])
def test_another_schema_version_is_refused(tmp_path, monkeypatch, change, said):
    path = tmp_path / "s.duckdb"
    version = store_tables.SCHEMA_VERSION
    monkeypatch.setattr(store_tables, "SCHEMA_VERSION", version + change)
    write_store(Prepared.from_raw(raw_data([("a", "x", 3, 1)]), "tiny"), path)
    monkeypatch.undo()
    with pytest.raises(UserError, match=f"{said} version .*schema {version + change}.*ckf prepare"):
        InteractionStore(path)


def test_sql_stays_in_the_data_package():
    package = Path(store_tables.__file__).parents[1]
    users = {path.parent for path in package.rglob("*.py") if "import duckdb" in path.read_text()}
    assert users == {package / "data"}
