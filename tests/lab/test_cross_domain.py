"""Checkpoints for films on items of another domain, as they are."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.splits import VALID
from ckf_demo.fusion import allmrec
from ckf_demo.lab import commands, cross_domain, report
from ckf_demo.lab import sampled_ranking as sampled
from ckf_demo.lab.cross_domain import measure, similarity, titled
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from support.commands import expect_refused, rows_by, run_command, written
from support.synthetic import made_up, made_up_likes, unit_vectors
from support.tiny import TASKS, save_checkpoints, tiny_data

DATA = tiny_data()
LIKES = made_up_likes(seed=3)
PLACES = replace(
    LIKES,
    dataset="places",
    titles=["" if i % 3 == 0 else f"Place {i}" for i in range(LIKES.n_items)],
    years=np.zeros(LIKES.n_items, np.int32),
    genres=[()] * LIKES.n_items,
    ages=np.zeros(LIKES.n_users, np.int32),
    genders=[""] * LIKES.n_users,
    occupations=[""] * LIKES.n_users,
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Saved tiny checkpoints of four methods, and data in a cache of their own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for module in (allmrec, cross_domain):
            patch.setattr(module, "item_text_vectors", unit_vectors)
        patch.setattr(allmrec, "EPOCHS", 1)
        patch.setattr(allmrec, "JOINT_STEPS", 10)
        for data in (DATA, PLACES):
            data.save(prepared_path(data.dataset))
        methods = {"ckf": TASKS, "allmrec": ("ranking",)}
        methods |= dict.fromkeys(("collm", "text"), ("rating", "ctr"))
        yield save_checkpoints(folder, methods, fit=True)


# The data


def test_what_is_left_are_choices_of_titled_items_as_ratings():
    data = titled(PLACES)
    assert data.feedback == "ratings" and all(data.titles)
    kept = PLACES.liked & np.array([bool(t) for t in PLACES.titles])[PLACES.item]
    names = [PLACES.titles[i] for i in PLACES.item[kept]]
    assert [data.titles[i] for i in data.item] == names
    assert [data.user_ids[u] for u in data.user] == [PLACES.user_ids[u] for u in PLACES.user[kept]]
    assert np.array_equal(data.split, PLACES.split[kept])
    assert data.liked.all() and set(data.rating.tolist()) == {4.0}


def test_ratings_stay_as_they_are():
    data = titled(DATA)
    assert np.array_equal(data.rating, DATA.rating) and data.titles == DATA.titles


def test_without_titles_nothing_can_be_measured():
    with pytest.raises(UserError, match="no training interactions with titled items"):
        titled(replace(PLACES, titles=[""] * PLACES.n_items))


def test_a_target_and_its_rivals_are_in_no_history():
    data = titled(PLACES)
    for case in sampled.choices(data, VALID, 0)["all"]:
        assert not set(case.candidates) & set(case.query.items)
        earlier = data.timestamp < case.query.at
        mine = data.item[earlier & (data.user == case.query.user)]
        assert np.array_equal(case.query.items, mine)


def test_tables_are_of_the_shape_that_weights_were_trained_for():
    here, there = (CollaborativeKnowledge.fit(data) for data in (DATA, titled(PLACES)))
    assert here.size == there.size
    assert np.isfinite(there.item_table).all()
    # where nothing is rated, only what was chosen says anything
    assert not there.item_bias.any() and np.abs(there.rating_model.items).max() < 1e-6


# Scores


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=20),
    st.integers(1, 7),
)
def test_places_that_tie_are_worth_their_mean(scores, k):
    arrays = [np.array(s, float) for s in scores]
    found = zip(sampled.hits(arrays, k), sampled.gains(arrays, k), strict=True)
    for array, (hit, gain) in zip(arrays, found, strict=True):
        above, tied = (array > array[0]).sum(), (array == array[0]).sum()
        places = np.arange(above + 1, above + tied + 1)
        assert hit == pytest.approx((places <= k).mean())
        assert gain == pytest.approx(np.mean((places <= k) / np.log2(1 + places)))


def test_similar_texts_come_first_and_strangers_have_no_order():
    vectors = np.eye(4, dtype=np.float32)
    candidates = np.array([2, 1, 3])
    assert similarity(vectors, np.array([1, 1, 0]), candidates).argmax() == 1
    assert not similarity(vectors, np.array([], dtype=int), candidates).any()


# Checkpoints


def test_weights_are_those_of_the_checkpoint_and_tables_those_of_the_other_data(checkpoints):
    data = titled(PLACES)
    knowledge = CollaborativeKnowledge.fit(data)
    here = System.load(checkpoints / "ckf", DATA, quantization="bf16")
    there = System.load(
        checkpoints / "ckf", data, source=DATA, knowledge=knowledge, quantization="bf16"
    )
    for name, own in here.fusion.state_dict().items():
        assert torch.equal(there.fusion.state_dict()[name], own)
    assert there.fusion.embeddings.table.numpy() == pytest.approx(knowledge.item_table)
    assert there.writer.titles == data.titles
    with pytest.raises(UserError, match="other data"):
        System.load(checkpoints / "ckf", data, source=made_up(), knowledge=knowledge)


def test_checkpoints_stand_beside_chance_popularity_and_texts(checkpoints, tmp_path):
    folders = [checkpoints / name for name in ("ckf", "allmrec", "collm", "text")]
    found = written(measure, tmp_path / "cross.json", folders, "places", users=8, resamples=20)
    assert found["asked"] == {"ckf": "ranking", "allmrec": "ranking", "collm": "ctr", "text": "ctr"}
    assert (found["dataset"], found["trained_on"]) == ("places", DATA.dataset)
    cells = rows_by(found, "method", "metric", "group")
    alone, prior = "ckf's language model alone", "ckf's collaborative prior"
    for name in ("chance", "popularity", "text similarity", *found["asked"], alone, prior):
        for metric in ("hit@1", "hit@5", "ndcg@5"):
            row = cells[name, metric, "all"]
            assert row["n"] <= 8 and 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    sizes = [len(c.candidates) for c in sampled.choices(titled(PLACES), 1, 0, 8)["all"]]
    chance = np.mean([1 / n for n in sizes])
    assert cells["chance", "hit@1", "all"]["value"] == pytest.approx(chance, abs=1e-6)
    for pair in (f"ckf - {prior}", "text - popularity", "collm - ckf", f"text - {alone}"):
        assert (pair, "hit@1", "all") in cells
    text = report.markdown(found)
    assert "by CTR: collm, text" in text and "Hit@1 by length of the history" in text
    with patch("ckf_demo.evaluation.cached.score_candidates", None):
        assert measure(folders, "places", users=8, resamples=20) == found


def test_the_command_prints_tables_and_mends_mistakes(checkpoints, tmp_path):
    one = ["--checkpoint", checkpoints / "text"]
    ran = run_command(cross_domain.main, *one, "--data", "places", "--users", "3")
    assert ran.exit_code == 0, ran.output
    assert "text similarity" in ran.output
    for said, arguments in {
        "choose one of valid, test": [*one, "--split", "training"],
        "run `ckf prepare`": [*one, "--data", "nowhere"],
        "No checkpoint at": ["--checkpoint", tmp_path / "none"],
    }.items():
        expect_refused(said, cross_domain.main, *arguments)


def test_checkpoints_that_cannot_be_used_say_so(checkpoints, monkeypatch):
    manifest = cross_domain.read_manifest(checkpoints / "text")
    for said, changes in {
        "neither ranking nor CTR": {"tasks": ["rating"]},
        "hold only likes": {"dataset": "places"},
    }.items():
        for module in (cross_domain, commands):
            monkeypatch.setattr(
                module, "read_manifest", lambda folder, changed=changes: manifest | changed
            )
        with pytest.raises(UserError, match=said):
            measure([checkpoints / "text"], "places")
    monkeypatch.setattr(
        commands, "read_manifest", lambda folder: manifest | {"dataset": folder.name}
    )
    monkeypatch.setattr(cross_domain, "read_manifest", lambda folder: manifest)
    with pytest.raises(UserError, match="ckf and text"):
        measure([checkpoints / "text", checkpoints / "ckf"], "places")
