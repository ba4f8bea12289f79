"""Positive-only data: what is known, what is asked against sampled items, what is explained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ckf_demo.collaborative.co_liked_items import CoLikedItems
from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.collaborative.positive_only import FEATURE_NAMES, PositiveOnlyKnowledge
from ckf_demo.collaborative.registry import knowledge_of
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID, last_of_each
from ckf_demo.evaluation import report
from ckf_demo.evaluation import sampled_negatives as choices
from ckf_demo.evaluation.base import Settings
from ckf_demo.evaluation.run import evaluate
from ckf_demo.lab import groundedness, overlap, reasons
from ckf_demo.lab import reference_explanations as given
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.negatives import not_chosen, with_negatives
from ckf_demo.training.explanation_stage import draw_explanations
from ckf_demo.training.loop import train
from ckf_demo.training.sequences import Packer, segments_of
from support.commands import rows_by
from support.positive_only import load_positive_only
from support.synthetic import made_up_choices
from support.tiny import tiny_config

DATA = made_up_choices()
KNOWLEDGE = PositiveOnlyKnowledge.fit(DATA)
LEARNT = DATA.learning_rows()
WRITINGS = TextEvidence(DATA)


def pair_of(row: int) -> tuple[str, str]:
    """The user and the item of a row."""
    return DATA.user_ids[int(DATA.user[row])], DATA.item_ids[int(DATA.item[row])]


def test_factors_never_see_what_the_language_model_learns_from():
    assert DATA.positive_only and knowledge_of(DATA) is PositiveOnlyKnowledge
    assert len(LEARNT) and not DATA.fit[LEARNT].any()
    assert (DATA.split[LEARNT] == TRAIN).all() and (DATA.split[DATA.fit] == TRAIN).all()
    train_texts = [row for row in DATA.texts if DATA.split[row] == TRAIN]
    assert set(DATA.user[LEARNT]) == set(DATA.user[train_texts])


@drawn(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60))
def test_the_last_fifth_of_each_is_theirs_alone(rows):
    user, among = (np.array(column) for column in zip(*rows, strict=True))
    last = last_of_each(user, among, np.array([], int))
    assert not last[~among].any()
    for one in np.unique(user[among]):
        own = np.flatnonzero(among & (user == one))
        kept = max(1, int(0.2 * len(own)))
        np.testing.assert_array_equal(np.flatnonzero(last[own]), np.arange(len(own))[-kept:])


def test_texts_travel_with_the_data(tmp_path):
    DATA.save(tmp_path / "data.npz")
    loaded = Prepared.load(tmp_path / "data.npz")
    assert loaded.texts == DATA.texts and loaded.about_items == DATA.about_items
    assert loaded.hash == DATA.hash and loaded.domain == "places"
    row = min(DATA.texts)
    assert replace(DATA, texts=DATA.texts | {row: "Else."}).hash != DATA.hash


def test_the_test_part_changes_nothing_that_is_trained_on():
    kept = DATA.without_test()
    rows = [row for row in DATA.texts if DATA.split[row] != TEST]
    assert list(kept.texts.values()) == [DATA.texts[row] for row in rows]
    changed = replace(DATA, texts={r: t for r, t in DATA.texts.items() if DATA.split[r] != TEST})
    assert changed.training_hash == DATA.training_hash != DATA.hash


def test_features_follow_the_history_up_to_each_length():
    own = DATA.history.rows_of(int(DATA.user[LEARNT[0]]))
    items = DATA.item[own].astype(np.int64)
    asked = np.ones(len(items), np.float32), np.array([0, 2, len(own)]), np.array([4, 4, 4])
    users, residuals, features = KNOWLEDGE.pair_inputs(items, *asked)
    assert users.shape == (3, KNOWLEDGE.size) and residuals.shape == (len(items),)
    assert features.shape == (3, len(FEATURE_NAMES))
    assert features[0, FEATURE_NAMES.index("nearest in history")] == 0


def test_a_row_says_nothing_of_itself():
    row = LEARNT[-1:]
    other = replace(DATA, item=np.where(np.arange(len(DATA.item)) == row, 0, DATA.item))
    known = PositiveOnlyKnowledge.fit(other)
    np.testing.assert_array_equal(known.model.items, KNOWLEDGE.model.items)
    features = row_features(DATA, KNOWLEDGE, row, DATA.item[row])
    np.testing.assert_array_equal(features, row_features(other, known, row, DATA.item[row]))


@settings(max_examples=30)
@drawn(st.integers(0, 2**31), st.sampled_from((TRAIN, VALID)))
def test_what_was_not_chosen_was_not_chosen(seed, part):
    rng = np.random.default_rng(seed)
    row = int(rng.choice(DATA.rows(split=part)))
    others = not_chosen(DATA, KNOWLEDGE, row, 5, rng)
    own = DATA.item[(DATA.user == DATA.user[row]) & (DATA.split <= part)]
    assert len(set(others.tolist())) == 5 and not np.isin(others, own).any()


def test_each_row_is_asked_a_second_time_with_something_else():
    rows, items, liked = with_negatives(DATA, KNOWLEDGE, LEARNT, np.random.default_rng(0))
    n = len(LEARNT)
    assert rows.tolist() == [*LEARNT, *LEARNT] and items[:n].tolist() == DATA.item[LEARNT].tolist()
    assert liked[:n].all() and not liked[n:].any()


@settings(max_examples=60)
@drawn(st.sampled_from(sorted(DATA.texts)))
def test_evidence_is_of_others_or_of_other_things_and_earlier(row):
    user, item = int(DATA.user[row]), int(DATA.item[row])
    history = DATA.item[DATA.history.before(row)]
    found = WRITINGS.gather(history, item, user=user, before=int(DATA.timestamp[row]))
    for said in (*found.of_item, *found.of_person):
        assert DATA.timestamp[said.row] < DATA.timestamp[row]
        assert (DATA.item[said.row] == item) == (said in found.of_item)
        assert (DATA.user[said.row] == user) == (said in found.of_person)
    assert all(DATA.split[said.row] == TRAIN for said in found.of_item)
    fans = [set(DATA.user[DATA.fit & (DATA.item == i)].tolist()) for i in range(DATA.n_items)]
    for own in found.together:
        assert own.item in history and own.item != item and DATA.titles[own.item] == own.title
        assert own.people == len(fans[own.item] & fans[item]) >= 3
    assert not found.summaries


def test_the_words_most_like_the_persons_own_come_first():
    train = [row for row in sorted(DATA.texts) if DATA.split[row] == TRAIN]
    item = max(set(DATA.item[train].tolist()), key=DATA.item[train].tolist().count)
    about = [row for row in train if DATA.item[row] == item]
    user = next(u for u in DATA.user[train] if u not in DATA.user[about])
    texts = dict.fromkeys(train, "Cheap burgers and fries.")
    texts[about[0]] = "Fresh oysters by the harbour."
    texts |= {row: "Loved the oysters, the harbour." for row in train if DATA.user[row] == user}
    writings = TextEvidence(replace(DATA, texts=texts))

    def first(**who) -> int:
        return writings.gather(np.array([], np.int64), item, **who).of_item[0].row

    assert len(about) > 2
    assert first(user=int(user)) == about[0]
    # of somebody who wrote nothing nothing is like, and the latest comes first
    assert first() == about[-1]


def test_summaries_are_named_when_they_are_asked_for_alone():
    asked = WRITINGS.gather(np.array([1]), 0, summaries=True)
    assert asked.summaries[0].text == "People come for the oysters."
    assert "Others: People come for the oysters." in asked.line
    assert "come for" not in WRITINGS.gather(np.array([1]), 0).line


def packer() -> Packer:
    config = tiny_config(
        train={"tasks": ["ctr", "ranking", "explanation"]},
        prompt={"window": 12, "block": 4, "question_first": ["ctr", "ranking"]},
    )
    fans = CoLikedItems.fit(DATA.user, DATA.item, DATA.rating, DATA.n_items)
    together = lambda a, b: fans(DATA.item_index[a], DATA.item_index[b])  # noqa: E731
    return Packer(DATA, config.train, config.prompt, KNOWLEDGE, together, WRITINGS)


def test_a_sequence_asks_for_each_choice_something_that_was_not_chosen():
    own = packer()
    for seed, segment in enumerate(segments_of(DATA, LEARNT, own.prompt)):
        drawn = own.draw(segment, np.random.default_rng(seed), text_only=False, augment=False)
        asked = [q for q in drawn.questions if q.task == "ctr"]
        assert [q.target for q in asked] == [True, False] * (len(asked) // 2)
        texts = [q.text for q in drawn.questions if q.task == "explanation"]
        assert len(texts) == DATA.written[segment.rows].any()
        assert set(texts) <= set(DATA.texts.values())


def test_texts_are_learnt_each_at_its_own_moment():
    own = packer()
    segments = [s for s in segments_of(DATA, LEARNT, own.prompt) if DATA.written[s.rows].any()]
    drawn = draw_explanations(own, segments[0], np.random.default_rng(0), 9)
    rows = [row for row in segments[0].rows if row in DATA.texts]
    assert [q.item for q in drawn.questions] == DATA.item[rows].tolist()
    assert [q.length for q in drawn.questions] == DATA.history.lengths[rows].tolist()


@pytest.fixture
def workplace(positive_only_workplace) -> Path:
    """Where the tests run, with ``checkpoints/tiny``."""
    return positive_only_workplace


@pytest.fixture
def recommender(workplace) -> Recommender:
    return load_positive_only(workplace)


def cells_of(found: dict) -> dict[tuple[str, str], float]:
    """The values over all rows, by method and metric."""
    rows = rows_by(found, "group", "method", "metric").items()
    return {tuple(key): row["value"] for (group, *key), row in rows if group == "all"}


def test_it_is_trained_calibrated_and_asked(workplace, recommender):
    manifest = read_manifest(workplace / "checkpoints" / "tiny")
    assert manifest["tasks"] == ["ctr", "ranking", "explanation"]
    assert {"wording", "calibration"} <= manifest["stages"].keys()
    user, _ = pair_of(DATA.rows(split=VALID)[-1])
    assert 0 < recommender.click(user=user, item=DATA.item_ids[0])["probability"] < 1
    assert len({own["item"] for own in recommender.rank(user=user, k=5)}) == 5
    assert len(recommender.rank(history=[{"item": DATA.item_ids[0], "rating": 5}], k=3)) == 3


def test_prompts_speak_of_places_and_pass_over_what_has_no_title(workplace):
    system = System.load(workplace / "checkpoints" / "tiny", DATA, quantization="bf16")
    text = system.writer.prefix([0, 2, 1], [1.0, 1.0, 1.0])
    assert system.writer.decode(text.ids) == (
        "Places one visitor liked, oldest first.\nCafe 0\nCafe 1\n"
    )
    assert text.ends[1] == text.ends[2] < text.ends[3]
    asked = system.writer.branch("ranking", 2, 0, with_tokens=False)
    assert system.writer.decode(asked.ids) == "Visitor visits next: a place?"


def test_an_explanation_holds_and_is_never_empty(recommender):
    for row in sorted(DATA.texts)[-5:]:
        user, item = pair_of(row)
        *_, last = recommender.explain(user=user, item=item, at=int(DATA.timestamp[row]))
        assert last["rating"] is None and last["polarity"] == "positive"
        kept = " ".join(own["text"] for own in last["sentences"])
        assert last["text"] == kept and kept
        evidence = [each for own in last["sentences"] for each in own["evidence"]]
        assert all({"item", "title"} <= each.keys() for each in evidence)


def test_it_is_measured_against_what_was_not_chosen(workplace):
    found = evaluate(
        "checkpoints/tiny",
        Settings(split="valid", limit=40, resamples=50),
        json_path="results.json",
        predictions_path="rows.parquet",
    )
    assert json.loads(Path("results.json").read_text()) == found
    frame = pd.read_parquet("rows.parquet")
    cells = cells_of(found)
    for name in (choices.CKF, choices.POPULARITY, choices.BOOSTING):
        own = frame[frame["method"] == name]
        assert len(own) == 80 and own["label"].sum() == 40
        assert cells[name, "auc"] == pytest.approx(roc_auc_score(own["label"], own["score"]))
    # every user asked about has a text in that part
    written = DATA.user[(DATA.split == VALID) & DATA.written]
    assert set(frame["user"]) <= {DATA.user_ids[u] for u in written}
    assert rows_by(found, "method", "metric", "group")[choices.CKF, "ndcg@10", "all"]["n"] == 4
    same = (choices.CKF, choices.PRIOR, choices.FACTORS)
    assert len({cells[name, "candidate_loss"] for name in same}) == 1


def test_joint_training_is_held_against_clicks_alone(workplace):
    train(workplace / "config.toml", only="ctr")
    settings = Settings(split="valid", limit=16, resamples=20)
    alone = cells_of(evaluate("checkpoints/tiny-ctr", settings))
    beside = replace(settings, single_task=["checkpoints/tiny-ctr"])
    cells = cells_of(evaluate("checkpoints/tiny", beside))
    single = cells["CKF-S ctr", "auc"]
    assert single == alone[choices.CKF, "auc"]
    assert cells["CKF-S ctr's language model alone", "auc"] == alone[choices.ALONE, "auc"]
    # each figure is rounded on its own
    difference = pytest.approx(cells[choices.CKF, "auc"] - single, abs=2e-6)
    assert cells[f"{choices.CKF} - CKF-S ctr", "auc"] == difference
    assert (f"{choices.ALONE} - CKF-S ctr's language model alone", "auc") in cells

    train(workplace / "config.toml", only="explanation")
    beside = replace(settings, single_task=["checkpoints/tiny-explanation"])
    with pytest.raises(UserError, match="answers no clicks of made-up"):
        evaluate("checkpoints/tiny", beside)


def test_texts_are_measured_with_what_they_hold(workplace, monkeypatch):
    for module in (given, groundedness, overlap):
        monkeypatch.setattr(module, "embedded", lambda texts: np.ones((len(texts), 1)))
    tiny = Path("checkpoints/tiny")
    asked = {"checkpoint": tiny, "single": [tiny], "size": 6, "removals": 4}
    found = given.measure("made-up", "valid", [], resamples=50, **asked)
    names = {row["method"] for row in found["rows"]}
    assert {groundedness.FIRST, groundedness.GIVEN, groundedness.SUMMED, *given.RIVALS} <= names
    cells = {(r["method"], r["metric"]): r["value"] for r in found["held"]}
    # the same checkpoint under another name writes the same
    again = "CKF-S ctr+ranking+explanation, as first written"
    level = {r["method"]: r for r in found["rows"] if r["metric"] == "rouge_l"}
    assert level[again]["value"] == level[groundedness.FIRST]["value"]
    assert level[f"{again} - {groundedness.FIRST}"]["high"] == 0.0
    moved = [r for r in found["held"] if r["metric"] == "moves the probability by"]
    assert [r["method"] for r in moved[:2]] == [reasons.CITED, reasons.OTHERS]
    assert 0 < moved[0]["n"] <= 4
    for metric in ("supported statements", "texts without an unsupported statement"):
        assert cells[groundedness.GIVEN, metric] == 1.0
    good, n = found["reader"]["true texts passed"]
    assert good == n > 20
    caught, planted = found["reader"]["planted falsehoods caught"]
    assert caught / planted > 0.95
    for kind in ("name", "word", "denial", "number", "company", "invented"):
        good, n = found["reader"][f"planted {kind} caught"]
        assert n and good / n > 0.9, kind
    assert len(found["texts"]) == 6
    report.show(found)


def test_a_checkpoint_of_other_data_is_refused(workplace):
    with pytest.raises(UserError, match="explains nothing of xrec-yelp"):
        groundedness.CheckpointTexts.ask(Path("checkpoints/tiny"), "xrec-yelp", np.array([0]))


def test_a_pair_is_explained_through_another_persons_bridges(recommender, monkeypatch):
    user, item = pair_of(max(DATA.texts))
    other = next(u for u in DATA.user_ids if u != user)
    given_slots = []
    generate = type(recommender.system.engine).generate

    def watched(engine, prefix, branch, slots, **options):
        given_slots.append(slots)
        return generate(engine, prefix, branch, slots, **options)

    monkeypatch.setattr(type(recommender.system.engine), "generate", watched)
    first = []
    for whose in (None, user, other):
        given_slots.clear()
        list(recommender.explain(user=user, item=item, bridges_of=whose))
        first.append(given_slots[0])
    own, same, others = first
    torch.testing.assert_close(own, same)
    assert (own - others).abs().max() > 1e-6
    with pytest.raises(UserError, match="nobody"):
        list(recommender.explain(user=user, item=item, bridges_of="nobody"))
