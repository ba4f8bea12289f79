"""The recommender over a tiny language model and a small store: every question, every person."""

import cProfile
import pstats
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import numpy as np
import pytest
import torch

from ckf_demo.collaborative.base import Description
from ckf_demo.inference import causes, explaining
from ckf_demo.inference.predictor import Predictor
from ckf_demo.lab.bench import ranking
from ckf_demo.lab.bench.profile import Questions, counted_passes, shares
from ckf_demo.model.system import Ablation
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.facts import Facts, Tie, polarity_for
from ckf_demo.tasks.explanations.reasons import Cause, signed_number
from ckf_demo.tasks.explanations.wording import word
from support.tiny import (
    TASKS,
    described,
    tiny_data,
    tiny_recommender,
    user_with_a_past_and_a_future,
)

DATA = tiny_data()
LENGTHS = DATA.history.lengths
AT = DATA.split_time
USER = user_with_a_past_and_a_future(DATA)
LATER = [r for r in DATA.history.rows_of(DATA.user_index[USER]) if DATA.timestamp[r] >= AT]
ITEM = DATA.item_ids[DATA.item[LATER[0]]]
TASTE = "something with a heart"
PEOPLE = {
    "known": {"user": USER},
    "known by a number": {"user": int(USER)},
    "history": {"history": [{"item": "3", "rating": 5}, {"item": 7, "rating": 1.5}]},
    "taste": {"taste": TASTE},
    "profile": {"profile": {"age": 31, "occupation": "writer"}},
    "known with more": {"user": USER, "history": [{"item": "5", "rating": 2}]},
    "all of a description": {
        "history": [{"item": "3", "rating": 5}],
        "taste": TASTE,
        "profile": {"gender": "F"},
    },
}
everybody = pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE.keys())


@pytest.fixture(scope="module")
def recommender(tmp_path_factory) -> Iterator[Recommender]:
    with tiny_recommender(tmp_path_factory.mktemp("store")) as made:
        yield made


def answer(result: dict) -> dict:
    """Without what differs between two calls."""
    return {k: v for k, v in result.items() if "seconds" not in k}


# Rating and CTR


@everybody
def test_stars_and_a_probability_for_everybody(recommender, person):
    result = recommender.rate(**person, item=ITEM)
    assert result.keys() == {"rating", "distribution", "at", "seconds"}
    assert list(result["distribution"]) == ["1", "2", "3", "4", "5"]
    assert sum(result["distribution"].values()) == pytest.approx(1, abs=1e-5)
    expected = sum(int(k) * p for k, p in result["distribution"].items())
    assert result["rating"] == pytest.approx(expected, abs=1e-4)
    assert result["at"] == (recommender.default_at(USER) if "user" in person else None)
    assert result["seconds"] > 0
    assert answer(recommender.rate(**person, item=int(ITEM))) == answer(result)
    result = recommender.click(**person, item=ITEM)
    assert result.keys() == {"probability", "at", "seconds"}
    assert 0 < result["probability"] < 1


def test_people_and_films_make_a_difference(recommender):
    ratings = {recommender.rate(**p, item=ITEM)["rating"] for p in PEOPLE.values()}
    assert len(ratings) == len(PEOPLE) - 1  # known by a number is known
    assert recommender.rate(user=USER, item="1") != recommender.rate(user=USER, item="2")


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_known_user_is_what_they_did_before_the_moment(recommender, place):
    row = DATA.history.rows_of(DATA.user_index[USER])[place]
    at, item = int(DATA.timestamp[row]), DATA.item_ids[DATA.item[row]]
    person = described(recommender, USER, at)
    assert len(person["history"]) == LENGTHS[row]
    assert item not in {entry["item"] for entry in person["history"]}
    known = recommender.rate(user=USER, item=item, at=at)
    assert known["at"] == at
    told = recommender.rate(**person, item=item)
    assert told["rating"] == pytest.approx(known["rating"], abs=1e-4)


def test_a_new_opinion_replaces_the_old_one(recommender):
    person = described(recommender, USER)
    first = person["history"][0]
    changed = {"item": first["item"], "rating": 6 - first["rating"] or 1}
    person["history"] = [*person["history"][1:], changed]
    one = recommender.rate(user=USER, history=[changed], item=ITEM)
    assert one["rating"] == pytest.approx(recommender.rate(**person, item=ITEM)["rating"], abs=1e-4)


def test_methods_answer_differently(recommender):
    assert recommender.methods == ("ckf", "no-tokens", "collaborative")
    default = recommender.rate(user=USER, item=ITEM)
    by_method = {m: recommender.rate(user=USER, item=ITEM, method=m) for m in recommender.methods}
    assert answer(by_method["ckf"]) == answer(default)
    assert len({r["rating"] for r in by_method.values()}) == 3
    orders = (recommender.rank(user=USER, k=10, candidates=30, method=m) for m in by_method)
    assert len({tuple(row["item"] for row in rows) for rows in orders}) == 3


def test_the_collaborative_method_is_the_prior(recommender):
    person = described(recommender, USER)["history"]
    items = np.array([DATA.item_index[e["item"]] for e in person])
    stars = np.array([e["rating"] for e in person], np.float32)
    target = DATA.item_index[ITEM]
    system = recommender.system
    said = Description(DATA.profile(DATA.user_index[USER]))
    pairs = system.pairs(items, stars, np.array([len(items)]), [target], description=said)
    with torch.no_grad():
        fused = system.fuse(pairs)
    expected = fused.prior["rating"].softmax(-1)[0].tolist()
    result = recommender.rate(user=USER, item=ITEM, method="collaborative")
    assert list(result["distribution"].values()) == pytest.approx(expected, abs=1e-5)


def test_comparing_asks_every_method_once(recommender):
    rows = recommender.compare(user=USER, item=ITEM)
    keys = {"method", "label", "rating", "distribution", "probability"}
    assert [row["method"] for row in rows] == [*recommender.methods, "average"]
    assert all(row.keys() == keys for row in rows)
    for row in rows[:3]:
        alone = recommender.rate(user=USER, item=ITEM, method=row["method"])
        assert row["rating"] == pytest.approx(alone["rating"], abs=1e-4)
        alone = recommender.click(user=USER, item=ITEM, method=row["method"])
        assert row["probability"] == pytest.approx(alone["probability"], abs=1e-4)
    own = DATA.rating[(DATA.split == 0) & (DATA.item == DATA.item_index[ITEM])]
    assert rows[3]["rating"] == pytest.approx(own.mean())
    assert rows[3]["probability"] == pytest.approx((own >= 4).mean())
    assert rows[3]["distribution"] is None


@pytest.mark.parametrize("method", ["ckf", "no-tokens", "collaborative"])
def test_many_rows_at_once_equal_single_questions(recommender, method):
    rows = np.flatnonzero(DATA.user == DATA.user_index[USER])[::4]
    rows = np.concatenate([rows, LATER[:1], DATA.rows(split=2)[:4]])
    done: list[int] = []
    scored = recommender.score_rows(rows, progress=done.append, method=method)
    # the collaborative method needs no pass to report
    assert method == "collaborative" or sum(done) == len(rows)
    for place, row in enumerate(rows):
        user, item = DATA.user_ids[DATA.user[row]], DATA.item_ids[DATA.item[row]]
        question = {"user": user, "item": item, "at": int(DATA.timestamp[row]), "method": method}
        stars = list(recommender.rate(**question)["distribution"].values())
        assert stars == pytest.approx(scored["rating"][place].tolist(), abs=1e-4)
        probability = recommender.click(**question)["probability"]
        assert probability == pytest.approx(scored["ctr"][place], abs=1e-4)


def test_the_language_model_alone_comes_from_the_same_pass(recommender):
    rows = np.array(LATER[:3])
    scored = recommender.score_rows(rows)
    alone = recommender.score_rows(rows, ablation=Ablation(prior=False))
    for task in ("rating", "ctr"):
        np.testing.assert_allclose(scored[f"{task} alone"], alone[task], atol=1e-5)
        assert np.abs(scored[f"{task} alone"] - scored[task]).max() > 1e-3


@pytest.mark.parametrize("k", [0, 1, 3])
def test_rows_with_cut_histories_equal_people_with_few_films(recommender, k):
    row = LATER[0]
    scored = recommender.score_rows(np.array([row]), k=k, tasks=("ctr",))
    assert scored.keys() == {"ctr", "ctr alone"}
    person = described(recommender, USER, int(DATA.timestamp[row]))
    person["history"] = person["history"][-k:] if k else None
    told = recommender.click(**person, item=ITEM)
    assert told["probability"] == pytest.approx(scored["ctr"][0], abs=1e-4)


# Ranking


@everybody
def test_a_ranking_for_everybody(recommender, person):
    rows = recommender.rank(**person, k=5, candidates=20)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    seen = {str(entry["item"]) for entry in person.get("history", ())}
    if "user" in person:
        seen |= {row["item"] for row in recommender.history(USER)}
    assert not seen & {row["item"] for row in rows}
    for row in rows:
        index = DATA.item_index[row["item"]]
        assert row["title"] == DATA.titles[index]
        assert row["year"] == DATA.years[index]
        assert row["genres"] == list(DATA.genres[index])
        assert row["directors"] == row["tags"] == []
        assert 1 <= row["collaborative_rank"] <= 20


def test_a_whole_ranking_is_the_catalogue_without_the_history(recommender):
    rows = recommender.rank(user=USER, k=100)
    before = recommender.history(USER)
    assert len(rows) == DATA.n_items - len(before)
    assert len({row["item"] for row in rows}) == len(rows)
    assert sorted(row["collaborative_rank"] for row in rows) == list(range(1, len(rows) + 1))
    later = {DATA.item_ids[DATA.item[r]]: DATA.rating[r] for r in LATER}
    assert {r["item"]: r["later_rating"] for r in rows if r["later_rating"] is not None} == later


def test_filters(recommender):
    rows = recommender.rank(user=USER, k=100, genre="Drama")
    assert rows
    assert all("Drama" in row["genres"] for row in rows)
    everything = recommender.rank(user=USER, k=100)
    assert recommender.rank(user=USER, k=100, year_from=1990, year_to=1990) == everything


def test_a_taste_moves_the_candidates(recommender):
    nearest = int(np.argmax(recommender.predictor.text_vectors[:, 0]))
    without = recommender.rank(profile={"age": 31}, k=60)
    having = recommender.rank(profile={"age": 31}, taste=TASTE, k=60)
    before, after = (
        next(row["collaborative_rank"] for row in rows if row["item"] == DATA.item_ids[nearest])
        for rows in (without, having)
    )
    assert after < before or after == 1


def test_many_users_are_ranked_as_one_by_one(recommender):
    ranked = recommender.rank_users([DATA.user_index[USER], 3], [AT, AT], k_candidates=15)
    single = recommender.rank(user=USER, at=AT, k=15, candidates=15)
    assert [DATA.item_ids[i] for i in ranked[0]] == [row["item"] for row in single]
    assert len(ranked) == 2


# Explanations


def says(recommender: Recommender, monkeypatch, text: str) -> None:
    """Let the language model say a given text."""
    tokens = recommender.system.writer.tokenizer(text).input_ids
    monkeypatch.setattr(recommender.system.engine, "generate", lambda *a, **k: iter(tokens))


@everybody
def test_an_explanation_is_streamed_for_everybody(recommender, person):
    *parts, last = recommender.explain(**person, item=ITEM)
    assert parts
    assert all(part.keys() == {"text"} for part in parts)
    assert last.keys() == {
        *("text", "evidence", "causes", "polarity", "rating", "at", "seconds"),
        *("first_words_seconds", "draft", "sentences", "regenerated", "dropped"),
    }
    assert last["text"] == " ".join(own["text"] for own in last["sentences"])
    assert last["text"] and not last["dropped"]
    rated = recommender.rate(**person, item=ITEM)["rating"]
    assert last["rating"] == pytest.approx(rated, abs=1e-4)
    assert last["polarity"] == polarity_for(last["rating"])
    assert 0 < last["first_words_seconds"] <= last["seconds"]
    assert answer(list(recommender.explain(**person, item=ITEM))[-1]) == answer(last)


def test_again_gives_other_words_for_the_same_causes(recommender):
    first, second = (
        list(recommender.explain(user=USER, item=ITEM, again=again))[-1] for again in (0, 1)
    )
    assert first["text"] != second["text"] and first["causes"] == second["causes"]
    with pytest.raises(UserError, match="again"):
        list(recommender.explain(user=USER, item=ITEM, again=-1))


def test_causes_are_effects_on_the_answer_that_is_served(recommender):
    *_, last = recommender.counterfactuals.leave_one_out(user=USER, item=ITEM)
    exact = {row["item"]: row["effect"] for row in last["without"]}
    *_, told = recommender.explain(user=USER, item=ITEM)
    effects = {cause["item"]: cause["effect"] for cause in told["causes"] if cause["item"]}
    assert effects.keys() == exact.keys()
    order = sorted(exact, key=exact.__getitem__)
    for item in (order[0], order[-1]):
        assert effects[item] == pytest.approx(exact[item], abs=1e-4)
    kinds = {cause["kind"]: cause["effect"] for cause in told["causes"]}
    assert {"history", "level", "profile"} <= kinds.keys()
    whole = recommender.rate(user=USER, item=ITEM)["rating"]
    person = recommender.person(user=USER)
    alone = recommender.predictor.predictions(person.first(0), [(recommender.place(ITEM), "ckf")])
    assert kinds["history"] == pytest.approx(whole - alone[0]["rating"], abs=1e-3)


def test_what_was_rated_before_is_said_first_and_does_not_count(recommender):
    history = [{"item": ITEM, "rating": 5}, {"item": "3", "rating": 4}]
    others = history[1:]
    told = list(recommender.explain(history=history, item=ITEM))[-1]
    assert told["text"].split(".")[0].endswith("leaves that rating out")
    assert told["rating"] == pytest.approx(recommender.rate(history=others, item=ITEM)["rating"])
    assert recommender.rate(history=history, item=ITEM)["rating"] == told["rating"]
    assert ITEM not in {cause["item"] for cause in told["causes"]}


@pytest.fixture
def led(recommender, monkeypatch) -> Facts:
    """The film of the history that is made the cause, as the facts of a lead."""
    target = recommender.place(ITEM)
    film = next(
        recommender.film(i)
        for i in map(recommender.place, (row["item"] for row in recommender.history(USER)))
        if recommender.film(i).title != recommender.film(target).title
    )
    rated = next(row["rating"] for row in recommender.history(USER) if row["item"] == film.item)
    cause = Cause("rating", 0.5, film, rated)
    monkeypatch.setattr(causes, "causes_of", lambda *asked: [cause])
    monkeypatch.setattr(explaining, "predicted_stars", lambda *asked: 4.4)
    facts = Facts(recommender.film(target), "positive", (Tie(film, rated),))
    monkeypatch.setattr(explaining, "lead_facts", lambda situation: facts)
    return facts


def test_the_models_words_stand_where_they_hold_and_are_fluent(recommender, monkeypatch, led):
    true = word(led, Random(0)).text
    says(recommender, monkeypatch, f" {true}")
    last = list(recommender.explain(user=USER, item=ITEM))[-1]
    assert last["text"].startswith(true) and not last["regenerated"]
    assert signed_number(0.5) in last["text"] or "0.50" in last["text"]
    (film,) = led.evidence
    assert last["evidence"] == [{"item": film.item, "title": film.title}]
    assert [film.title] == [e["title"] for e in last["sentences"][0]["evidence"]]


@pytest.mark.parametrize("draft", ["You loved Silver Harbor.", "It is what it is.", "It is a"])
def test_a_composed_text_takes_the_place_of_what_does_not_hold(
    recommender, monkeypatch, led, draft
):
    says(recommender, monkeypatch, f" {draft}")
    last = list(recommender.explain(user=USER, item=ITEM))[-1]
    (film,) = led.evidence
    assert last["draft"] == draft and draft not in last["text"]
    assert film.title in last["text"] and signed_number(0.5) in last["text"]
    assert not last["dropped"] and bool(last["regenerated"]) == (draft != "It is what it is.")


def test_a_stopped_explanation_ends_with_what_there_is(recommender):
    stop = Event()
    stream = recommender.explain(user=USER, item=ITEM, stop=stop)
    first = next(stream)
    stop.set()
    *parts, last = stream
    assert parts == []
    assert last["text"].startswith(first["text"]) or not last["text"]
    stop.set()
    (only,) = recommender.explain(user=USER, item=ITEM, stop=stop)
    assert only["text"] == ""
    assert only["evidence"] == []


# What was asked, and where things lie


@everybody
@pytest.mark.parametrize("task", TASKS)
def test_the_prompt_as_the_model_gets_it(recommender, person, task):
    pieces = recommender.prompt(**person, item=ITEM, task=task)
    kinds = [piece["kind"] for piece in pieces]
    assert kinds == ["text", "user_token", "text", "item_token", "text", "answer"]
    whole = "".join(piece["text"] for piece in pieces if piece["kind"] == "text")
    assert whole.startswith("Films one viewer rated")
    assert ("\nTaste: " in whole) == ("taste" in person)
    title = DATA.titles[DATA.item_index[ITEM]]
    assert (f" watches next: {title}?" if task == "ranking" else f" and {title}, 1990") in whole
    assert "\nTies: " not in whole or task == "explanation"


def test_spaces(recommender):
    n, size = DATA.n_items, recommender.system.knowledge.size
    assert recommender.item_order == DATA.item_ids
    assert recommender.item_vectors("collaborative").shape == (n, size)
    assert recommender.item_vectors("text").shape == (n, 4)
    anyone = recommender.item_vectors("llm")
    theirs = recommender.item_vectors("llm", user=USER)
    assert anyone.shape == theirs.shape == (n, 32)
    assert anyone.dtype == theirs.dtype == np.float32
    assert not np.allclose(anyone, theirs)
    assert recommender.person_vector("collaborative", user=USER).shape == (size,)
    assert recommender.person_vector("llm", user=USER).shape == (32,)
    assert recommender.person_vector("text", user=USER) is None
    assert recommender.user_vectors("text") is None


def test_all_users_lie_where_each_of_them_does(recommender):
    steps = []
    for space in ("collaborative", "llm", "untrained"):
        everyone = recommender.user_vectors(space, steps.append)
        assert everyone.shape[0] == DATA.n_users
        own = recommender.person_vector(space, user=USER)
        assert np.allclose(everyone[DATA.user_index[USER]], own, atol=1e-6)
    assert steps[: DATA.n_users] == list(range(1, DATA.n_users + 1))


def test_untrained_tokens_are_those_that_training_began_with(recommender):
    system = recommender.system
    learnt = {id(p) for p in system.fusion.learnt()}
    names = [n for n, p in system.fusion.named_parameters() if id(p) in learnt]
    assert names
    first, again = (dict(system.untrained_fusion().named_parameters()) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in names)
    before = {n: p.detach().clone() for n, p in system.fusion.named_parameters()}
    tokens = recommender.item_vectors("untrained", user=USER)
    assert np.array_equal(tokens, recommender.item_vectors("untrained", user=USER))
    with torch.no_grad():
        for parameter in system.fusion.learnt():
            parameter.add_(0.5)
    try:
        assert np.array_equal(tokens, recommender.item_vectors("untrained", user=USER))
        assert not np.allclose(tokens, recommender.item_vectors("llm", user=USER))
        fresh = dict(system.untrained_fusion().named_parameters())
        assert all(torch.equal(fresh[name], first[name]) for name in names)
        kept = fresh.keys() - set(names)
        assert kept and all(torch.equal(fresh[name], before[name]) for name in kept)
    finally:
        with torch.no_grad():
            for name, parameter in system.fusion.named_parameters():
                parameter.copy_(before[name])


def test_search_and_history_are_plain_records(recommender):
    found = recommender.search_items("film 7", limit=3)
    assert len(found) == 3 or found[0]["item"] == "7"
    about = {"genres": list(DATA.genres[6]), "directors": [], "tags": []}
    assert found[0] == {"item": "7", "title": "Film 7", "year": 1990, **about}
    history = recommender.history(USER)
    assert history[0].keys() == {"item", "title", "rating", "timestamp"}
    assert {type(v) for row in history for v in row.values()} == {str, float, int}
    moments = [row["timestamp"] for row in history]
    assert moments == sorted(moments)
    assert moments[-1] < recommender.default_at(USER)


# Sharing and threads


def test_a_prefix_is_computed_once_and_extended(recommender, monkeypatch):
    calls, prefill = [], recommender.system.engine.prefill

    def record(ids, known=None, common=None):
        calls.append(common if known else 0)
        return prefill(ids, known, common)

    monkeypatch.setattr(recommender.system.engine, "prefill", record)
    films = [{"item": str(i), "rating": 4} for i in range(20, 26)]
    recommender.rate(history=films[:4], item=ITEM)
    recommender.click(history=films[:4], item="2")
    recommender.rank(history=films[:4], k=3, candidates=5)
    assert len(calls) == 1
    recommender.rate(history=films[:5], item=ITEM)
    assert len(calls) == 2
    assert calls[1] > 0


def test_threads_get_the_answers_of_one(recommender):
    people = list(PEOPLE.values()) * 3
    alone = [answer(recommender.rate(**p, item=ITEM)) for p in people]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: recommender.rate(**p, item=ITEM), people))
    for one, other in zip(alone, together, strict=True):
        assert one["rating"] == pytest.approx(other["rating"], abs=1e-4)


def test_questions_get_answers_while_an_explanation_is_being_read(recommender):
    expected = list(recommender.explain(user=USER, item=ITEM))[-1]["text"]
    stream = recommender.explain(user=USER, item=ITEM)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        # each part is taken in another thread, with questions in between
        read, part = [], {}
        while part is not None:
            part = (one if len(read) % 2 else other).submit(next, stream, None).result(60)
            read.append(part)
            if len(read) < 4:
                one.submit(recommender.rate, user=USER, item="2").result(60)
        abandoned = recommender.explain(user=USER, item=ITEM)
        one.submit(next, abandoned).result(60)
        assert other.submit(recommender.click, user=USER, item=ITEM).result(60)
    assert read[-2]["text"] == expected


# What can go wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "Nobody is described: give a user id"),
        ({"user": "", "history": [], "taste": " ", "profile": {"age": ""}}, "Nobody is described"),
        ({"user": "99999"}, "unknown user '99999'"),
        ({"user": USER, "item": "99999"}, "Unknown film '99999'; search"),
        ({"user": USER, "item": None}, "No film was given"),
        ({"user": USER, "item": ""}, "No film was given"),
        ({"history": [{"item": "1", "rating": 9}]}, "rating of 9 is outside 1 to 5"),
        ({"history": [{"item": "1", "rating": 0}]}, "rating of 0 is outside 1 to 5"),
        ({"history": [{"item": "1", "rating": "good"}]}, "rating of 'good' is outside"),
        ({"history": [{"item": "1", "rating": None}]}, "rating of None is outside"),
        ({"history": [{"item": "1", "rating": float("nan")}]}, "rating of nan is outside"),
        ({"history": [{"item": "nothing", "rating": 3}]}, "Unknown film 'nothing'"),
        ({"history": [{"item": "1"}]}, "give item and rating"),
        ({"history": ["1"]}, "give item and rating"),
        ({"profile": {"age": 300}}, "outside 1 to 120"),
        ({"profile": {"age": "old"}}, "not a whole number of years"),
        ({"profile": {"shoes": 43}}, "Unknown profile field 'shoes'; known are age"),
        ({"user": USER, "at": "1998-04-01T00:00:00"}, "whole seconds since 1970"),
        ({"taste": "drama", "at": "yesterday"}, "whole seconds since 1970"),
        ({"user": USER, "method": "magic"}, "Unknown method 'magic'; this checkpoint has ckf"),
    ],
)
def test_wrong_questions_get_one_clear_message(recommender, arguments, words):
    arguments = {"item": ITEM, **arguments}
    for question in (recommender.rate, recommender.click, recommender.explain):
        with pytest.raises(UserError) as caught:
            list(question(**arguments))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


PAIR = {"user": USER, "item": ITEM}


@pytest.mark.parametrize(
    ("question", "arguments", "words"),
    [
        (
            "rank",
            {"user": USER, "genre": "Opera"},
            "Unknown genre 'Opera'; choose one of Comedy, Drama",
        ),
        ("rank", {"user": USER, "year_from": 2050}, "No film is left by these filters"),
        ("rank", {"user": USER, "year_to": 1900}, "No film is left by these filters"),
        ("rank", {"user": USER, "k": 0}, "not a whole number from 1 to 100"),
        ("rank", {"user": USER, "k": 2.5}, "not a whole number from 1 to 100"),
        ("rank", {"user": USER, "k": "ten"}, "not a whole number from 1 to 100"),
        ("rank", {"user": USER, "k": float("nan")}, "not a whole number from 1 to 100"),
        ("rank", {}, "Nobody is described"),
        ("explain", PAIR | {"method": "collaborative"}, "writes no explanations"),
        ("item_vectors", {"space": "dreams"}, "Unknown space 'dreams'"),
        ("history", {"user": "99999"}, "unknown user"),
        ("history", {"user": USER, "at": "1998-04-01"}, "whole seconds"),
        ("prompt", PAIR | {"task": "naming"}, "was not trained for naming"),
        ("search_items", {"query": "film 7", "limit": "x"}, "limit = 'x' is not a whole number"),
    ],
)
def test_other_wrong_questions_do_so_too(recommender, question, arguments, words):
    with pytest.raises(UserError, match=words):
        list(getattr(recommender, question)(**arguments))


def test_a_checkpoint_says_which_tasks_it_knows(recommender):
    def trained_for(name: str, *tasks: str) -> Recommender:
        parts = recommender.system, recommender.store, {"name": name, "tasks": tasks}
        return Recommender(Predictor(*parts), recommender.checkpoint)

    few = trained_for("few", "ctr", "rating")
    assert few.tasks == ("rating", "ctr")
    with pytest.raises(UserError, match="'few' was not trained for ranking; it knows rating, ctr"):
        few.rank(user=USER)
    with pytest.raises(UserError, match="not trained for explanation"):
        list(few.explain(user=USER, item=ITEM))
    rows = trained_for("one", "ctr").compare(user=USER, item=ITEM)
    assert all(row["distribution"] is None for row in rows)
    assert rows[0]["probability"] is not None


@pytest.mark.real
def test_tastes_are_compared_by_minilm(empty_cache, tmp_path):
    with tiny_recommender(tmp_path) as recommender:
        predictor = recommender.predictor
    # the real ones instead of those made up for the other tests
    del predictor.text_vectors, predictor.tastes
    vectors = predictor.text_vectors
    assert vectors.shape == (DATA.n_items, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
    assert (empty_cache / "text").is_dir()
    similarity = predictor.tastes.index.by_meaning("battles and soldiers")
    assert similarity[1] > similarity[0]


@pytest.mark.parametrize("task", TASKS)
def test_a_profile_splits_a_question_into_its_parts(recommender, task):
    recommender.forget()
    questions = Questions(recommender)
    call, arguments = questions.ask(task)
    assert arguments["user"] != questions.ask(task)[1]["user"]
    with counted_passes(recommender.system) as passes:
        call()
    assert len(passes) >= 2 and min(passes) >= 1
    profiler = cProfile.Profile()
    profiler.runcall(questions.ask(task)[0])
    found = shares(pstats.Stats(profiler))
    assert sum(found.values()) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in found.values()), found
    for part in ("prefill", "branches", "head", "fusion", "prompt", "duckdb"):
        assert found[part] > 0, part
    assert (found["candidates"] > 0) == (task == "ranking")
    # an explanation is sampled only where the language model words a strong cause
    assert not found["sampling"] or task == "explanation"


def test_what_was_asked_about_the_same_person_is_remembered(recommender, monkeypatch):
    person = PEOPLE["history"]
    asked = []
    compute = recommender.predictor._answers_without_cache

    def counted(person, questions):
        asked.append(len(questions))
        return compute(person, questions)

    recommender.forget()
    monkeypatch.setattr(recommender.predictor, "_answers_without_cache", counted)
    first = recommender.rank(**person, candidates=12)
    again = recommender.rank(**person, candidates=12)
    assert asked == [12]
    assert again == first
    recommender.rank(**person, candidates=15)
    assert asked == [12, 3]
    recommender.rank(history=[*person["history"], {"item": "9", "rating": 2}], candidates=12)
    recommender.rank(**person, taste=TASTE, candidates=12)
    assert asked[2:] == [12, 12]
    for method in recommender.methods[1:]:
        recommender.rank(**person, candidates=12, method=method)
    assert asked[4:] == [12, 12]
    recommender.forget()
    one, other = (answer(recommender.rate(**person, item=ITEM)) for _ in range(2))
    assert one == other
    assert asked[6:] == [1]


def test_the_benchmark_asks_the_same_person_again(recommender):
    rows = {row.name: row for row in ranking.asked_again(recommender, 1)}
    compared = {f"rank_20_{again}_vs_first" for again in ("repeat", "grown", "shrunk")}
    assert rows.keys() == {"rank_20_first_seconds"} | compared
    assert rows["rank_20_repeat_vs_first"].value > 0
