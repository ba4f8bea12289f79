"""XRec's form, in both of its forms: three tables of interactions, three of explained pairs."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import source_of
from ckf_demo.data.sources.plain_text import plain
from ckf_demo.data.sources.xrec import AUTHORS, PLAIN, read
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path
from support.small_data import XREC_EXPLAINED, XREC_INTERACTIONS, write_xrec, xrec_line, xrec_record


def test_explained_pairs_are_the_last_of_their_part_and_bring_titles_and_texts(tmp_path):
    raw = read(write_xrec(tmp_path))
    assert raw.feedback == "likes"
    rows = raw.interactions
    pairs = [(int(u), int(i)) for u, i in zip(rows["user"], rows["item"], strict=True)]
    expected, splits = [], []
    for part, split in zip(PLAIN, (TRAIN, VALID, TEST), strict=True):
        own = XREC_INTERACTIONS[part] + [pair[:2] for pair in XREC_EXPLAINED[part]]
        expected, splits = expected + own, splits + [split] * len(own)
    assert pairs == expected
    assert rows["split"].tolist() == splits
    assert rows["timestamp"].tolist() == list(range(len(pairs)))
    assert (rows["rating"] == 1).all()
    # items have the titles of explanations, or none
    items = raw.items.set_index("item")
    titles = {i: t for i, t in items["title"].items() if t}
    assert titles == {"6": "Taco Riendo", "1": "Café Noir", "7": "The Logan, Curio"}
    assert items["year"].isna().all() and set(items["genres"]) == {()}
    # explanations are the texts of their pairs, and summaries go nowhere
    for table in (raw.users, raw.items, raw.interactions):
        assert not table.astype(str).isin(["SUMMARY"]).any(axis=None)
    explained = {(str(u), str(i)) for own in XREC_EXPLAINED.values() for u, i, _ in own}
    for row in raw.interactions.itertuples():
        pair = row.user, row.item
        assert row.text == (f"Why {row.item}." if pair in explained else "")


def test_the_authors_own_files_are_read_as_the_plain_ones(tmp_path):
    plain, authors = write_xrec(tmp_path / "plain"), tmp_path / "authors"
    authors.mkdir()
    for ours, theirs in zip(PLAIN, AUTHORS, strict=True):
        # their tables hold explained pairs as well
        pairs = XREC_INTERACTIONS[ours] + [pair[:2] for pair in XREC_EXPLAINED[ours]]
        pd.DataFrame(pairs, columns=["user", "item"]).to_csv(
            authors / f"total_{theirs}.csv", index=False
        )
        pd.DataFrame([xrec_record(*pair) for pair in XREC_EXPLAINED[ours]]).to_pickle(
            authors / f"{theirs}.pkl"
        )
    expected, found = read(plain), read(authors)
    pd.testing.assert_frame_equal(found.interactions, expected.interactions)
    pd.testing.assert_frame_equal(found.items, expected.items)
    assert found.notes == ("4 explained pairs were taken out of the interactions.",)


def test_broken_lines_are_counted_reported_and_left_out(tmp_path):
    path = write_xrec(tmp_path) / "explanations-valid.jsonl"
    path.write_text(f"{{\n{path.read_text()}{xrec_line(8, 2.5, 'Heat')}\n", encoding="utf-8")
    more = "".join(f"{xrec_line(8, 20 + n, f'Place {n}')}\n" for n in range(3))
    path.write_text(path.read_text() + more, encoding="utf-8")
    (note,) = read(tmp_path).notes
    assert note.startswith("2 of 7 lines of explanations-valid.jsonl cannot be used: ")
    assert "1 with no JSON object (first: line 1)" in note
    assert "1 with no uid or no iid as a whole number (first: line 4)" in note


def test_users_and_items_stand_by_first_appearance_so_that_a_test_part_moves_none(tmp_path):
    whole = Prepared.from_raw(read(write_xrec(tmp_path)), "xrec-yelp")
    before = whole.without_test()
    assert before.item_ids == whole.item_ids[: before.n_items]
    assert before.user_ids == whole.user_ids[: before.n_users]
    assert "7" in whole.item_ids and "7" not in before.item_ids


pairs_and_parts = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from(list(PLAIN)), st.booleans()),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=30)
@given(pairs_and_parts)
def test_no_target_is_in_its_history_and_no_history_holds_a_later_part(tmp_path_factory, drawn):
    interactions = {p: [r[:2] for r in drawn if r[2] == p and not r[3]] for p in PLAIN}
    explained = {
        p: [(u, i, f"Place {i}") for u, i, part, own in drawn if part == p and own] for p in PLAIN
    }
    folder = write_xrec(tmp_path_factory.mktemp("yelp"), interactions, explained)
    data = Prepared.from_raw(read(folder), "xrec-yelp")
    assert len(data.user) == len(drawn)
    for row in range(len(data.user)):
        before = data.history.before(row)
        assert (before < row).all()
        assert data.item[row] not in data.item[before]
        assert (data.split[before] <= data.split[row]).all()
    named = {str(i) for own in explained.values() for _, i, _ in own}
    assert {i for i, t in zip(data.item_ids, data.titles, strict=True) if t} == named


@settings(max_examples=30)
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_any_text_in_the_place_of_a_line_is_read_or_one_clear_message(tmp_path_factory, text):
    folder = write_xrec(tmp_path_factory.mktemp("yelp"))
    path = folder / "explanations-valid.jsonl"
    path.write_text(text + "\n", encoding="utf-8", errors="replace")
    try:
        read(folder)
    except UserError as error:
        assert "explanations-valid.jsonl" in str(error)


@settings(max_examples=30)
@given(st.text(min_size=1).filter(plain))
def test_any_title_is_one_line_of_composed_characters(tmp_path_factory, title):
    title = title.encode("utf-8", "replace").decode()
    folder = write_xrec(
        tmp_path_factory.mktemp("yelp"), explained=XREC_EXPLAINED | {"train": [(7, 9, title)]}
    )
    items = read(folder).items.set_index("item")["title"]
    assert items["9"] == " ".join(items["9"].split()) != ""


def test_what_does_not_fit_is_named(tmp_path):
    def refused(said: str, part: str = "valid", **changes) -> None:
        changed = {
            "interactions": XREC_INTERACTIONS
            | {part: changes.get("interactions", XREC_INTERACTIONS[part])},
            "explained": XREC_EXPLAINED | {part: changes.get("explained", XREC_EXPLAINED[part])},
        }
        with pytest.raises(UserError, match=said):
            read(write_xrec(tmp_path, **changed))

    refused("valid.jsonl, line 1: item 6 is called 'Other', and 'Taco", explained=[(8, 6, "Other")])
    for bad in ("8", -1, 1.5, True, None, 2**63):
        said = "valid.jsonl cannot be used: 1 with no uid or no iid as a whole number"
        refused(said, explained=[(bad, 1, "Heat")])
        refused(said, explained=[(8, bad, "Heat")])
    for bad in ("", " \n", None, 3, ["Heat"]):
        refused("valid.jsonl cannot be used: 1 with no title", explained=[(8, 1, bad)])
    table = pd.DataFrame(XREC_INTERACTIONS["train"], columns=["user", "item"])
    for changed, said in (
        (table.rename(columns={"item": "iid"}), "no column 'item'; it has user, iid"),
        (table.astype({"user": str}), "column 'user' does not hold whole numbers"),
        (table.astype({"item": "Int64"}).assign(item=pd.NA), "column 'item' does not hold whole"),
    ):
        changed.to_parquet(write_xrec(tmp_path) / "interactions-train.parquet")
        with pytest.raises(UserError, match=said):
            read(tmp_path)


def test_of_a_pair_that_is_there_twice_the_last_stays(tmp_path):
    interactions = {**XREC_INTERACTIONS, "test": [*XREC_INTERACTIONS["test"], (7, 1)]}
    raw = read(write_xrec(tmp_path, interactions=interactions))
    rows = raw.interactions
    pair = rows[(rows["user"] == "7") & (rows["item"] == "1")]
    assert pair["split"].tolist() == [TEST]
    assert any("older ones of a user with the same item" in note for note in raw.notes)


def test_damaged_and_missing_files_are_named(tmp_path):
    path = write_xrec(tmp_path) / "explanations-train.jsonl"
    for content in (b"{", b"[1]\n"):
        path.write_bytes(content)
        said = "explanations-train.jsonl cannot be used: 1 with no JSON object .*check that it is"
        with pytest.raises(UserError, match=said):
            read(tmp_path)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="explanations-train.jsonl cannot be read"):
        read(tmp_path)
    (write_xrec(tmp_path) / "interactions-valid.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="interactions-valid.parquet cannot be read as Parquet"):
        read(tmp_path)
    (tmp_path / "interactions-valid.parquet").unlink()
    with pytest.raises(UserError, match="lacks interactions-valid.parquet"):
        read(tmp_path)
    with pytest.raises(UserError, match="tables of interactions"):
        source_of(tmp_path)


def test_it_is_prepared_as_any_other(empty_cache, tmp_path):
    folder = write_xrec(tmp_path / "yelp")
    assert source_of(folder).name == "xrec-yelp"
    prepare("xrec-yelp", folder, progress=False)
    data = Prepared.load(prepared_path("xrec-yelp"))
    assert (data.feedback, data.given_split) == ("likes", True)
    with InteractionStore(store_path("xrec-yelp")) as store:
        assert store.hash == data.hash
        assert store.search_items("taco", 5)["item"].tolist() == ["6"]
