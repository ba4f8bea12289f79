"""CoLLM's split: three tables with their own histories, as Parquet or as pickles."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import source_of
from ckf_demo.data.sources.collm_ml1m import read
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path

TITLES = {1: "Matrix, The (1999)", 2: "Fargo (1996)", 3: "Heat (1995)", 4: "Babe (1995)"}
# user, item, label, time, part: user 7 likes two films of one second
ROWS = [
    (7, 1, 1, 100, "train"),
    (7, 2, 1, 100, "train"),
    (7, 3, 0, 100, "train"),
    (8, 1, 0, 110, "train"),
    (7, 4, 1, 200, "valid"),
    (9, 2, 1, 210, "valid"),
    (9, 4, 0, 300, "test"),
    (10, 3, 1, 310, "test"),
]


def frames(rows=ROWS) -> dict[str, pd.DataFrame]:
    """The three tables, with histories as the authors wrote them."""
    liked: dict[int, list[int]] = {}
    parts: dict[str, list[dict]] = {}
    for user, item, label, time, part in rows:
        before = liked.setdefault(user, [])
        row = {"uid": user, "iid": item, "label": label, "timestamp": time}
        row |= {"his": np.array([0, *before]), "title": TITLES[item]}
        parts.setdefault(part, []).append(row)
        if label:
            before.append(item)
    return {part: pd.DataFrame(table) for part, table in parts.items()}


def write(folder: Path, tables: dict[str, pd.DataFrame], *, pickled: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in tables.items():
        if pickled:
            table.to_pickle(folder / f"{part}_ood2.pkl")
        else:
            table.to_parquet(folder / f"{part}.parquet")
    return folder


@pytest.mark.parametrize("pickled", [False, True])
def test_both_forms_give_the_same(tmp_path, pickled):
    raw = read(write(tmp_path, frames(), pickled=pickled))
    assert raw.feedback == "likes"
    assert raw.users["user"].tolist() == ["7", "8", "9", "10"]
    assert raw.items[["title", "year"]].values.tolist()[0] == ["The Matrix", 1999]
    assert raw.interactions["rating"].tolist() == [row[2] for row in ROWS]
    assert raw.interactions["split"].tolist() == [TRAIN] * 4 + [VALID] * 2 + [TEST] * 2


def test_histories_are_what_was_liked_before_in_row_order(tmp_path):
    data = Prepared.from_raw(read(write(tmp_path, frames())), "collm-ml-1m")
    histories = [
        [data.item_ids[i] for i in data.item[data.history.before(row)]] for row in range(8)
    ]
    assert histories == [[], ["1"], ["1", "2"], [], ["1", "2"], [], ["2"], []]
    assert data.liked.tolist() == [bool(row[2]) for row in ROWS]
    assert data.learning_rows().tolist() == [0, 1, 2, 3]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 1), st.integers(0, 5)),
        min_size=2,
        max_size=30,
        unique_by=lambda row: row[:2],
    )
)
def test_any_rows_give_back_their_own_histories(tmp_path_factory, drawn):
    drawn.sort(key=lambda row: row[3])
    half = len(drawn) // 2
    rows = [(*row, "train" if i < half else "valid") for i, row in enumerate(drawn)]
    tables = frames(rows)
    folder = write(tmp_path_factory.mktemp("split"), tables)
    data = Prepared.from_raw(read(folder), "collm-ml-1m")
    given_ = [[str(i) for i in h[1:]] for h in pd.concat(tables.values())["his"]]
    found = [
        [data.item_ids[i] for i in data.item[data.history.before(r)]] for r in range(len(rows))
    ]
    assert found == given_


def test_training_does_not_depend_on_the_test_part(tmp_path):
    whole = Prepared.from_raw(read(write(tmp_path / "whole", frames())), "collm-ml-1m")
    tables = frames()
    del tables["test"]
    without = Prepared.from_raw(read(write(tmp_path / "without", tables)), "collm-ml-1m")
    assert whole.training_hash == without.training_hash == without.hash != whole.hash
    assert whole.item_ids[: without.n_items] == without.item_ids


def test_preparing_again_takes_a_test_part_that_was_not_there(empty_cache, tmp_path):
    tables = frames()
    test = {"test": tables.pop("test")}
    folder = write(tmp_path / "split", tables)
    prepare("collm-ml-1m", folder, progress=False)
    assert (Prepared.load(prepared_path("collm-ml-1m")).split != TEST).all()
    prepare("collm-ml-1m", write(folder, test), progress=False)
    loaded = Prepared.load(prepared_path("collm-ml-1m"))
    assert loaded.feedback == "likes" and loaded.given_split and (loaded.split == TEST).sum() == 2
    assert store_path("collm-ml-1m").exists()


def test_a_folder_says_which_data_set_it_holds(tmp_path):
    assert source_of(write(tmp_path / "split", frames())).name == "collm-ml-1m"
    with pytest.raises(UserError, match=r"3 tables of interactions, test\.parquet and train"):
        source_of(tmp_path)
    with pytest.raises(UserError, match="is no folder and no file"):
        source_of(tmp_path / "missing")


def test_for_a_page_likes_and_dislikes_become_stars(empty_cache, tmp_path):
    folder = write(tmp_path / "split", frames())
    path = prepare(None, folder, progress=False, as_ratings=True)
    assert path.stem == "collm-ml-1m-stars" and not prepared_path("collm-ml-1m").exists()
    stars = Prepared.load(prepared_path("collm-ml-1m-stars"))
    assert stars.has_ratings and not stars.given_split
    assert set(stars.rating.tolist()) == {1.0, 5.0}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("broken-in",)


PICKLES = [
    *((pickle.dumps(Evil(), protocol=p), "is no plain pandas table.*mkdir") for p in (2, 4, 5)),
    *(
        (f"c{module}\n{name}\n(S'x'\ntR.".encode(), f"it names {module}.{name}")
        for module, name in (("numpy", "load"), ("pandas", "eval"), ("builtins", "eval"))
    ),
    *((content, "") for content in (b"", b"not a pickle", pickle.dumps([1, 2]))),
]


@pytest.mark.parametrize(("content", "said"), PICKLES)
def test_a_pickle_of_anything_but_a_table_is_not_opened(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path, frames(), pickled=True)
    (folder / "valid_ood2.pkl").write_bytes(content)
    with pytest.raises(UserError, match=rf"valid_ood2\.pkl.*{said}"):
        read(folder)
    assert not (tmp_path / "broken-in").exists()


def test_what_does_not_fit_is_named(tmp_path):
    def refused(change, said: str) -> None:
        tables = frames()
        tables["valid"] = change(tables["valid"])
        with pytest.raises(UserError, match=said):
            read(write(tmp_path, tables))

    refused(lambda t: t.drop(columns="his"), "valid.parquet has no column 'his'")
    refused(lambda t: t.assign(label=2), "valid.parquet, row 0: label 2 is not 0 or 1")
    refused(lambda t: t.assign(uid="x"), "column 'uid' does not hold whole numbers")
    longer = [np.array([0, 1]), np.array([0])]
    refused(lambda t: t.assign(his=longer), "history of user 7 at item 4 holds 1 items.*say 2")
    (tmp_path / "train.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="train.parquet cannot be read as Parquet"):
        read(tmp_path)
    with pytest.raises(UserError, match="holds no MovieLens-1M in CoLLM's split"):
        read(tmp_path / "elsewhere")
