"""Counterfactuals equal asking about the changed history, person or system from the beginning."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ckf_demo.backbone.engine import Branch, Suffix, portions
from ckf_demo.backbone.multilora import Route
from ckf_demo.collaborative.base import Labelled
from ckf_demo.collaborative.likes import LikesKnowledge
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.fusion.registry import METHODS
from ckf_demo.inference import changed_histories, components, standing
from ckf_demo.inference.components import Components
from ckf_demo.inference.predictor import Predictor
from ckf_demo.inference.standing import OUTCOMES
from ckf_demo.model.system import Ablation
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.prompts import window_start
from support.synthetic import made_up_likes
from support.tiny import FROZEN, TASKS, described, tiny_config, tiny_data, tiny_engine, tiny_system

DATA, LIKES = tiny_data(), made_up_likes()
PROMPT = tiny_config().prompt
AT = DATA.split_time
KINDS = ("rating", "probability", "score")


def before(user: str) -> int:
    """How many ratings a user has before the split."""
    return int((DATA.timestamp[DATA.history.rows_of(DATA.user_index[user])] < AT).sum())


def after(user: str) -> int:
    return len(DATA.history.rows_of(DATA.user_index[user])) - before(user)


def with_history(condition) -> str:
    """The first user of whose number of ratings something holds."""
    return next(u for u in DATA.user_ids if condition(before(u)))


def moves(n: int) -> bool:
    return n > 0 and window_start(n - 1, PROMPT) < window_start(n, PROMPT)


SHORT = with_history(lambda n: 3 <= n <= PROMPT.window)
LONG = with_history(lambda n: n > PROMPT.window + 4 and not moves(n))
MOVING = with_history(moves)
# somebody who is in the middle of their ratings at the split
KEEN = max(DATA.user_ids, key=lambda u: min(before(u), after(u)))
ITEM = "7"


def store_at(folder, data) -> InteractionStore:
    path = folder / f"{data.dataset}-{data.feedback}.duckdb"
    write_store(data, path)
    return InteractionStore(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[InteractionStore]:
    with store_at(tmp_path_factory.mktemp("store"), DATA) as opened:
        yield opened


@pytest.fixture(scope="module")
def recommender(store, tmp_path_factory) -> Recommender:
    system = tiny_system()
    system.calibration = {"ctr": (0.9, -0.1)}
    # random bridges that differ between people
    with torch.no_grad():
        for meta in (system.fusion.meta_user, system.fusion.meta_item):
            meta.head.weight.mul_(5)
    return Recommender(
        Predictor(system, store, {"name": "tiny", "tasks": list(TASKS)}), tmp_path_factory
    )


def of_method(name: str, store, tasks=("rating", "ctr")) -> Recommender:
    """A recommender with a method's random weights, whose updates are not zero."""
    config = tiny_config(
        fusion={"method": name, "hidden": 8, "update_every": 1},
        lora={"rank": 4, "alpha": 8} if name == "ckf" else FROZEN,
        train={"tasks": list(tasks)},
    )
    system = tiny_system(config)
    if name == "cora":
        for out_of in system.fusion.project:
            torch.nn.init.normal_(out_of, std=0.5)
    return Recommender(Predictor(system, store, {"name": name, "tasks": list(tasks)}), None)


def asked(recommender: Recommender, person: dict, item: str = ITEM) -> dict:
    """The same figures by asking, with nothing remembered."""
    recommender.forget()
    tasks = recommender.tasks
    return {
        "rating": recommender.rate(**person, item=item)["rating"] if "rating" in tasks else None,
        "probability": (
            recommender.click(**person, item=item)["probability"] if "ctr" in tasks else None
        ),
    }


def figures(row: dict) -> dict:
    return {name: row[name] for name in ("rating", "probability")}


def without(person: dict, item: str) -> dict:
    return person | {"history": [row for row in person["history"] if row["item"] != item]}


def assert_removed(recommender: Recommender, person: dict, rows: list[dict]) -> None:
    """Each row's figures are those of asking without its film."""
    for row in rows:
        expected = asked(recommender, without(person, row["item"]))
        assert figures(row) == pytest.approx(expected, abs=1e-4)


def finished(recommender: Recommender, **person) -> dict:
    *_, last = recommender.counterfactuals.leave_one_out(**person, item=ITEM)
    return last


# Endings of a prefix

ENGINE = tiny_engine()
VOCABULARY, HIDDEN = ENGINE.model.config.vocab_size, ENGINE.model.config.hidden_size
tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12)
slots = st.sampled_from([[], [0]])


@st.composite
def endings_of(draw: st.DrawFn, length: int) -> list[Suffix]:
    out = []
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(1, length))
        ids = draw(st.lists(st.integers(0, VOCABULARY - 1), max_size=20))
        branches = [
            Branch(
                own, at + len(ids), draw(st.sampled_from(TASKS)), [0] if draw(st.booleans()) else []
            )
            for own in draw(st.lists(tokens, min_size=1, max_size=3))
        ]
        out.append(Suffix(ids, at, branches))
    return out


@settings(max_examples=15)
@given(st.data(), st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=30))
def test_branches_of_another_ending_answer_as_behind_a_prefix_of_their_own(data, ids):
    endings = data.draw(endings_of(len(ids)))
    generator = torch.Generator().manual_seed(len(ids))
    vectors = [
        [torch.randn(1, HIDDEN, generator=generator) if b.slots else None for b in e.branches]
        for e in endings
    ]
    most = data.draw(st.sampled_from([1, 40, 1024]))
    prefix = ENGINE.prefill(ids)
    parts = ENGINE.score_suffixes(prefix, endings, vectors, chunk_tokens=most)
    found = [answers for part in parts for answers in part]
    assert len(found) == len(endings)
    for ending, own, answers in zip(endings, vectors, found, strict=True):
        whole = ENGINE.prefill([*ids[: ending.at], *ending.ids])
        expected = [h for part in ENGINE.score(whole, ending.branches, own) for h in part]
        assert_close(answers, expected, rtol=1e-3, atol=1e-4)


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 80))
def test_portions_cover_everything_in_order_and_keep_to_their_size(sizes, most):
    parts = list(portions(sizes, most))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in parts:
        assert part.stop - part.start == 1 or sum(sizes[part]) <= most


def test_a_prefix_without_the_shared_adapter_is_the_backbones_own():
    ids = list(range(20))
    off = ENGINE.prefill(ids, shared=False)
    with ENGINE.lora.routing(Route(shared=False)):
        cache = ENGINE.model.model(torch.tensor([ids]), use_cache=True).past_key_values
    for (keys, _), layer in zip(off.layers, cache.layers, strict=True):
        assert_close(keys, layer.keys, rtol=1e-4, atol=1e-5)
    on = ENGINE.prefill(ids)
    assert (on.layers[-1][0] - off.layers[-1][0]).abs().max() > 1e-3


# One film removed


@pytest.mark.parametrize("user", [SHORT, LONG])
def test_each_film_removed_equals_asking_about_the_changed_history(recommender, user):
    person = described(recommender, user)
    result = finished(recommender, user=user)
    n, shown = before(user), before(user) - window_start(before(user), PROMPT)
    assert (result["known"], result["shown"]) == (n, shown)
    assert not result["window_moves"]
    assert len(result["without"]) == shown
    assert figures(result) == pytest.approx(asked(recommender, person), abs=1e-4)
    assert_removed(recommender, person, result["without"][::2])
    for row in result["without"]:
        assert row["effect"] == pytest.approx(result["rating"] - row["rating"])
        assert row["score"] is None
    assert max(abs(row["effect"]) for row in result["without"]) > 1e-3


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ckf"])
def test_every_method_removes_films_as_if_asked_anew(store, name):
    recommender = of_method(name, store)
    person = described(recommender, SHORT)
    result = finished(recommender, **person)
    assert len(result["without"]) == len(person["history"])
    assert_removed(recommender, person, result["without"][::2])
    assert len({round(row["rating"], 6) for row in result["without"]}) > 1


def test_the_window_is_held_where_the_rule_would_move_it(recommender, monkeypatch):
    result = finished(recommender, user=MOVING)
    assert result["window_moves"]
    person = described(recommender, MOVING)
    start = window_start(before(MOVING), PROMPT)
    # the same question with a rule that lets the window begin where it did
    monkeypatch.setattr("ckf_demo.model.predict.window_start", lambda n, config: start)
    assert_removed(recommender, person, result["without"][:3])


def test_effects_are_ranked_and_come_pass_by_pass(recommender, monkeypatch):
    monkeypatch.setattr(changed_histories, "PASS", 200)
    pieces = list(recommender.counterfactuals.leave_one_out(user=LONG, item=ITEM))
    counts = [len(piece["without"]) for piece in pieces]
    assert counts[0] == 0 and counts == sorted(set(counts)) and len(counts) > 3
    assert counts[-1] == pieces[-1]["shown"]
    for piece in pieces:
        sizes = [abs(row["effect"]) for row in piece["without"]]
        assert sizes == sorted(sizes, reverse=True)
    latest = recommender.history(LONG)[-1]
    assert pieces[1]["without"] and latest["item"] in {r["item"] for r in pieces[1]["without"]}
    monkeypatch.setattr(changed_histories, "PASS", 1024)
    whole = finished(recommender, user=LONG)
    for one, other in zip(pieces[-1]["without"], whole["without"], strict=True):
        assert one["effect"] == pytest.approx(other["effect"], abs=1e-4)


def test_a_stop_ends_it_after_the_pass_at_hand(recommender, monkeypatch):
    monkeypatch.setattr(changed_histories, "PASS", 200)
    stop = Event()
    pieces = recommender.counterfactuals.leave_one_out(user=LONG, item=ITEM, stop=stop)
    next(pieces)
    last = next(pieces)
    assert 0 < len(last["without"]) < last["shown"]
    stop.set()
    assert list(pieces) == []


def test_nobody_has_to_have_a_history(recommender):
    (only,) = recommender.counterfactuals.leave_one_out(profile={"age": 30}, item=ITEM)
    assert only["without"] == [] and only["known"] == only["shown"] == 0
    assert 1 <= only["rating"] <= 5
    with pytest.raises(UserError, match="Nobody is described"):
        next(recommender.counterfactuals.leave_one_out(item=ITEM))


def test_a_checkpoint_that_only_ranks_has_effects_on_its_score(store):
    recommender = of_method("collm", store, tasks=("ranking",))
    assert recommender.counterfactuals.quantities == ("score",)
    result = finished(recommender, user=SHORT)
    assert result["rating"] is None and result["probability"] is None
    person = described(recommender, SHORT)
    row = result["without"][0]
    recommender.forget()
    (score,) = recommender.score_candidates([ITEM], **without(person, row["item"]))
    assert row["score"] == pytest.approx(score, abs=1e-4)
    assert row["effect"] == pytest.approx(result["score"] - score, abs=1e-4)
    # one that only explains says so
    recommender = of_method("collm", store, tasks=("explanation",))
    with pytest.raises(UserError, match="nothing can be compared"):
        next(recommender.counterfactuals.leave_one_out(user=SHORT, item=ITEM))


# Likes, whose collaborative side knows labels beside the history


@pytest.fixture(scope="module")
def liking(tmp_path_factory) -> Iterator[Recommender]:
    system = tiny_system(tiny_config(train={"tasks": ["ctr"]}), LIKES, LikesKnowledge.fit(LIKES))
    with store_at(tmp_path_factory.mktemp("likes"), LIKES) as opened:
        yield Recommender(Predictor(system, opened, {"name": "likes", "tasks": ["ctr"]}), None)


def test_a_removed_likes_label_is_forgotten_too(liking):
    system, knowledge = liking.system, liking.system.knowledge
    user = next(
        u
        for u in LIKES.user_ids
        if 3 <= len(liking.person(user=u).items) <= PROMPT.window
        and knowledge.label_counts(LIKES.user_index[u], np.array([liking.default_at(u)]))[0] > 3
    )
    person = liking.person(user=user)
    labelled = knowledge.labelled(LIKES.user_index[user], training=False)
    count = int(knowledge.label_counts(LIKES.user_index[user], np.array([person.at]))[0])
    target = LIKES.item_index[ITEM]
    result = finished(liking, user=user)
    compared = 0
    for row in result["without"]:
        index = LIKES.item_index[row["item"]]
        kept = [i for i in range(count) if labelled.items[i] != index]
        compared += len(kept) < count
        items = person.items[person.items != index]
        pairs = system.pairs(
            items,
            np.ones(len(items), np.float32),
            np.array([len(items)]),
            np.array([target]),
            Labelled(labelled.items[kept], labelled.labels[kept]),
            np.array([len(kept)]),
        )
        with torch.inference_mode():
            fused = system.fuse(pairs)
            text = system.writer.prefix(items, np.ones(len(items)), person.profile)
            branch = system.writer.branch("ctr", target, len(text.ids), with_tokens=True)
            prefix = system.engine.prefill(text.ids)
            ((states,),) = system.engine.score(prefix, [branch], [system.slot(fused, 0)])
            logit = system.read("ctr", states, fused, [0], calibrate=True)
        assert row["probability"] == pytest.approx(float(logit.sigmoid()), abs=1e-4)
        assert row["rating"] is None
    assert compared


def test_labels_tell_a_known_user_from_their_description(liking):
    user = next(u for u in LIKES.user_ids if len(liking.person(user=u).items) > 3)
    known = liking.person(user=user)
    told = replace(known, user=None, at=None)
    question = [("ctr", LIKES.item_index[ITEM], "ckf")]
    liking.forget()
    first, second = (
        liking.predictor.ask(known, question)[0],
        liking.predictor.ask(told, question)[0],
    )
    liking.forget()
    assert_close(liking.predictor.ask(told, question)[0], second)
    assert not torch.allclose(first, second)


def test_likes_have_no_stars_to_change_and_no_candidate_stage(liking):
    user = next(u for u in LIKES.user_ids if len(liking.person(user=u).items) > 3)
    film = liking.prepared.item_ids[liking.person(user=user).items[-1]]
    with pytest.raises(UserError, match="without stars"):
        liking.counterfactuals.with_stars(film, user=user, item=ITEM)
    *_, rows = liking.counterfactuals.percentile(user=user, item=ITEM)
    assert [row["by"] for row in rows] == ["prior", "own"]
    with pytest.raises(UserError, match="not trained for ranking"):
        liking.counterfactuals.trace_later_likes(user)
    with pytest.raises(UserError, match="not trained for ranking"):
        liking.rank_users([0], [10**9])


# Other stars


def test_other_stars_equal_asking_about_the_changed_history(recommender):
    person = described(recommender, LONG)
    changed = person["history"][-3]
    rows = recommender.counterfactuals.with_stars(changed["item"], user=LONG, item=ITEM)
    assert [row["stars"] for row in rows] == [None, 1, 2, 3, 4, 5]
    for row in rows:
        history = [
            entry | {"rating": row["stars"]} if entry["item"] == changed["item"] else entry
            for entry in person["history"]
        ]
        other = person | {"history": history}
        if row["stars"] is None:
            other = without(person, changed["item"])
        assert figures(row) == pytest.approx(asked(recommender, other), abs=1e-4)
    assert len({round(row["rating"], 5) for row in rows}) == 6


def test_only_films_that_are_shown_can_be_given_other_stars(recommender):
    history = [row["item"] for row in recommender.history(LONG)]
    hidden, unrated = history[0], next(i for i in DATA.item_ids if i not in history)
    for film in (hidden, unrated):
        with pytest.raises(UserError, match="not among the films"):
            recommender.counterfactuals.with_stars(film, user=LONG, item=ITEM)
    with pytest.raises(UserError, match="Unknown film"):
        recommender.counterfactuals.with_stars("no such", user=LONG, item=ITEM)


# Parts


def parts(recommender: Recommender, **options) -> dict[str, dict]:
    rows = recommender.counterfactuals.swap_components(user=SHORT, item=ITEM, **options)
    return {row["part"]: row for row in rows}


def test_every_part_makes_a_difference_and_is_named(recommender):
    rows = parts(recommender, other=LONG)
    bridges = ["other bridges", "average bridges", "no bridges"]
    assert list(rows) == ["own", *bridges, "no tokens", "no shared", "no task", "no prior"]
    own = asked(recommender, {"user": SHORT})
    assert figures(rows["own"]) == pytest.approx(own, abs=1e-4)
    assert len({round(row["probability"], 6) for row in rows.values()}) == len(rows)
    assert f"user {LONG}" in rows["other bridges"]["label"]
    assert recommender.counterfactuals.missing == []
    # one's own bridges in the place of one's own change nothing
    rows = parts(recommender, other=SHORT)
    assert figures(rows["other bridges"]) == pytest.approx(figures(rows["own"]), abs=1e-5)
    with pytest.raises(UserError, match="99999"):
        parts(recommender, other="99999")


def test_the_average_bridge_is_the_mean_of_peoples(recommender, monkeypatch):
    parts = Components(recommender.predictor)
    (users, items), n = parts.average_bridges
    people = [u for u in DATA.user_ids if before(u)]
    assert n == len(people)
    own = [parts.bridges_of(u, at=AT) for u in people]
    assert_close(users, torch.cat([u for u, _ in own]).mean(0, keepdim=True))
    assert_close(items, torch.cat([i for _, i in own]).mean(0, keepdim=True))
    monkeypatch.setattr(components, "AVERAGE_OF", 3)
    assert Components(recommender.predictor).average_bridges[1] == 3


@pytest.mark.parametrize(
    ("part", "switch"),
    [
        ("no bridges", {"user_bridge": False, "item_bridge": False}),
        ("no tokens", {"tokens": False}),
        ("no shared", {"shared_adapter": False}),
        ("no task", {"task_adapter": False}),
        ("no prior", {"prior": False}),
    ],
)
def test_a_part_that_is_off_is_off_as_in_an_evaluation(recommender, monkeypatch, part, switch):
    # evaluations leave the calibration out where something is off
    monkeypatch.setattr(recommender.system, "calibration", {})
    row = next(r for r in DATA.rows(split=2) if DATA.history.length(r) > 2)
    user, item = DATA.user_ids[DATA.user[row]], DATA.item_ids[DATA.item[row]]
    scored = recommender.score_rows(np.array([row]), ablation=Ablation(**switch))
    rows = recommender.counterfactuals.swap_components(
        user=user, item=item, at=int(DATA.timestamp[row])
    )
    found = next(r for r in rows if r["part"] == part)
    assert found["probability"] == pytest.approx(scored["ctr"][0], abs=1e-4)
    expected = float(scored["rating"][0] @ np.arange(1, 6))
    assert found["rating"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "expected", "missing"),
    [
        ("text", [], "collaborative tokens"),
        ("collm", ["no tokens"], "personal bridges"),
        ("allmrec", ["no tokens"], "shared adapter"),
        ("cora", ["no tokens"], "task adapters"),
    ],
)
def test_methods_without_a_part_say_so(store, name, expected, missing):
    recommender = of_method(name, store)
    rows = parts(recommender)
    assert list(rows) == ["own", *expected]
    assert missing in recommender.counterfactuals.missing
    if expected:
        bare = asked(recommender, {"user": SHORT, "method": "no-tokens"})
        assert figures(rows["no tokens"]) == pytest.approx(bare, abs=1e-4)
        assert abs(rows["no tokens"]["rating"] - rows["own"]["rating"]) > 1e-5
    with pytest.raises(UserError, match="no personal bridges"):
        parts(recommender, other=LONG)


# Percentiles


def test_percentiles_are_shares_of_films_not_seen(recommender):
    pieces = list(recommender.counterfactuals.percentile(user=LONG, item=ITEM))
    assert [row["by"] for row in pieces[0]] == ["candidates", "prior"]
    stage, prior, own = pieces[-1]
    seen = {row["item"] for row in recommender.history(LONG)}
    unseen = [i for i in DATA.item_ids if i not in seen | {ITEM}]
    assert stage["n"] == prior["n"] == len(unseen)
    ratings = {
        i: recommender.rate(user=LONG, item=i, method="collaborative")["rating"]
        for i in [*unseen, ITEM]
    }
    lower = sum(ratings[i] < ratings[ITEM] - 1e-6 for i in unseen)
    assert prior["percentile"] == pytest.approx(lower / len(unseen), abs=1.5 / len(unseen))
    assert prior["value"] == pytest.approx(ratings[ITEM], abs=1e-4)
    assert prior["low"] == prior["percentile"] == prior["high"]
    # the catalogue is smaller than the sample, so all that was not seen is asked
    ratings = {i: recommender.rate(user=LONG, item=i)["rating"] for i in [*unseen, ITEM]}
    lower = sum(ratings[i] < ratings[ITEM] for i in unseen)
    assert own["percentile"] == pytest.approx(lower / len(unseen), abs=1.5 / len(unseen))
    assert own["low"] < own["percentile"] < own["high"] and own["sampled"]
    order = recommender.candidates(user=LONG, size=100)
    if ITEM in order:
        assert stage["percentile"] == pytest.approx(
            1 - order.index(ITEM) / (len(order) - 1), abs=0.02
        )


def test_the_sample_is_fixed_grows_and_can_be_stopped(recommender, monkeypatch):
    monkeypatch.setattr(standing, "SAMPLE", 20)
    monkeypatch.setattr(standing, "PORTION", 8)
    pieces = [rows[-1] for rows in recommender.counterfactuals.percentile(user=LONG, item=ITEM)][1:]
    assert [row["n"] for row in pieces] == [8, 16, 20]
    again = [rows[-1] for rows in recommender.counterfactuals.percentile(user=LONG, item=ITEM)][-1]
    assert again == pieces[-1]
    stop = Event()
    stop.set()
    rows = list(recommender.counterfactuals.percentile(user=LONG, item=ITEM, stop=stop))
    assert len(rows) == 1 and [row["by"] for row in rows[0]] == ["candidates", "prior"]


# What was liked later


def test_what_was_liked_later_is_found_or_lost_by_a_stage(recommender, monkeypatch):
    monkeypatch.setattr("ckf_demo.inference.counterfactuals.CANDIDATES", 15)
    result = recommender.counterfactuals.trace_later_likes(KEEN, k=5)
    rows = recommender.rank(user=KEEN, k=15, candidates=15)
    ranks = {row["item"]: (row["collaborative_rank"], row["rank"]) for row in rows}
    liked = recommender.store.later(KEEN, AT)
    liked = set(liked[liked["rating"] >= 4]["item"])
    assert {film["item"] for film in result["films"]} == liked and liked
    assert sum(result["outcomes"].values()) == len(liked)
    assert set(result["outcomes"]) == set(OUTCOMES)
    for film in result["films"]:
        if film["item"] in ranks:
            place, rank = ranks[film["item"]]
            assert (film["collaborative_rank"], film["rank"]) == (place, rank)
            if place <= 5:
                assert film["outcome"] == ("kept" if rank <= 5 else "moved out")
            else:
                assert film["outcome"] == ("moved in" if rank <= 5 else "not moved in")
        else:
            assert film["rank"] is None and film["outcome"] == "no candidate"
            assert 15 < film["collaborative_rank"] <= result["catalogue"]
    assert result["in_top_by_collaborative"] == (
        result["outcomes"]["kept"] + result["outcomes"]["moved out"]
    )


@pytest.mark.parametrize(
    ("given", "said"), [({"user": None}, "only for users"), ({"user": "3", "k": 0}, "k = 0")]
)
def test_later_likes_need_a_known_user_and_a_whole_k(recommender, given, said):
    with pytest.raises(UserError, match=said):
        recommender.counterfactuals.trace_later_likes(**given)
