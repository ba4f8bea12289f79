"""Facts about items: from a table beside the data, through the store, to search."""

import pandas as pd
import pytest

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources.item_facts import with_item_facts
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.runtime.assets import ASSETS, asset
from ckf_demo.runtime.errors import UserError
from support.films import films
from support.small_data import raw_data

RAW = raw_data([("a", "x", 3, 1), ("b", "y", 4, 2)])
TABLE = "item,directors,tags,description\ny,Ann Lee | Bo Ray,sharks,A  sentence.\n"


def test_a_table_beside_the_data_is_read(tmp_path):
    path = tmp_path / "item_facts.csv"
    assert with_item_facts(RAW, path) is RAW
    path.write_text(TABLE + "z,Nobody,,\n")
    raw = with_item_facts(RAW, path)
    nothing = [(), ()]
    assert raw.facts == ItemFacts(
        [(), ("Ann Lee", "Bo Ray")],
        nothing,
        [(), ("sharks",)],
        nothing,
        nothing,
        ["", "A sentence."],
    )
    assert "1 items that the data do not have" in raw.notes[-1]


def test_rows_of_another_title_are_left_out(tmp_path):
    path = tmp_path / "item_facts.csv"
    path.write_text("item,title,tags\nx,Another Film (1990),sharks\n")
    facts = with_item_facts(RAW, path).facts
    assert facts is not None and not any(facts.tags)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title\nx\n", "has no column item"),
        ("item\nx\nx\n", "item 'x' is there twice"),
        ('item,tags\nx,"unended\n', "cannot be read"),
    ],
)
def test_a_broken_table_is_a_message(tmp_path, text, said):
    path = tmp_path / "item_facts.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        with_item_facts(RAW, path)


def test_facts_are_saved_and_covered_by_no_hash(tmp_path):
    data = films()
    path = tmp_path / "films.npz"
    data.save(path)
    loaded = Prepared.load(path)
    assert (loaded.facts, loaded.hash) == (data.facts, data.hash)
    raw = raw_data([("a", "x", 3, 1)])
    assert Prepared.from_raw(raw, "one").facts is None


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("hitchcock", "Rear Window"),
        ("grace kelly heist", "To Catch a Thief"),
        ("sharks", "Jaws"),
        ("jurasic park", "Jurassic Park"),
        ("Hichcock", "Rear Window"),
        ("speilberg", "Jaws"),
    ],
)
def test_items_are_found_by_people_and_tags_and_misspelt(tmp_path, query, first):
    write_store(films(), tmp_path / "films.duckdb")
    with InteractionStore(tmp_path / "films.duckdb") as store:
        assert store.search_items(query)["title"].iloc[0] == first
        assert store.search_items("xyzzy").empty


def test_the_film_table_keeps_its_own_rules():
    table = pd.read_csv(ASSETS / "film_facts.csv", dtype=str, keep_default_na=False)
    themes = asset("film_themes.toml")
    terms = {term for kind in ("subject", "setting", "tone") for term in themes[kind]}
    assert len(table) == table["item"].nunique() == 1682
    assert set(table["tags"].str.split("|").explode()) <= terms | {""}
    words = table["description"].str.split().str.len()
    assert words.max() <= 25 and (words > 0).sum() >= 1665
    tags = table["tags"].str.split("|").str.len()
    assert tags[words > 0].between(4, 8).all()
    assert table["actors"].str.split("|").str.len().max() <= 4
    assert terms >= {term for pair in themes["opposite"].items() for term in (pair[0], *pair[1])}
