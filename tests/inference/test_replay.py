"""Replays: what is asked of whom, nothing that came later is known, and what a bridge's distance
is."""

from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.inference.replay import errors, plan, run
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from support.synthetic import made_up_likes
from support.tiny import (
    described,
    tiny_config,
    tiny_data,
    tiny_recommender,
    tiny_system,
    user_with_a_past_and_a_future,
)

DATA = tiny_data()
AT = DATA.split_time
USER = user_with_a_past_and_a_future(DATA)
FILM = DATA.item_ids[0]
PICKS = [{"item": "3", "rating": 5}, {"item": "7", "rating": 1}, {"item": "9", "rating": 4}]


@pytest.fixture(scope="module")
def recommender(tmp_path_factory) -> Iterator[Recommender]:
    with tiny_recommender(tmp_path_factory.mktemp("store")) as made:
        yield made


@settings(max_examples=60)
@given(user=st.sampled_from(DATA.user_ids), first=st.integers(1, 40), targets=st.integers(1, 30))
def test_targets_come_strictly_after_all_that_is_learnt(recommender, user, first, targets):
    asked = plan(recommender, item=FILM, user=user, first=first, targets=targets)
    assert len(asked.added) <= first and 1 <= len(asked.targets) <= targets
    moments = [film.timestamp for film in asked.added]
    assert all(moment < asked.targets[0].timestamp for moment in moments)
    assert asked.person["at"] == asked.targets[0].timestamp
    # what the recommender itself gives as history begins with what is learnt
    history = recommender.history(user, asked.person["at"])
    assert [row["item"] for row in history][: len(moments)] == [f.item for f in asked.added]
    if asked.truth is not None:
        assert all(moment < asked.truth.timestamp for moment in moments[: asked.until])


def test_as_many_later_films_as_asked_for_if_possible(recommender):
    n = int((DATA.user == DATA.user_index[USER]).sum())
    asked = plan(recommender, item=FILM, user=USER, first=100, targets=10)
    assert len(asked.targets) == 10 and len(asked.added) + 10 <= n


def test_a_step_is_the_same_as_describing_that_beginning(recommender):
    asked = plan(recommender, item=FILM, user=USER, first=5, targets=3)
    *_, steps = run(recommender, asked)
    profile = described(recommender, USER)["profile"]
    for step in steps:
        told = [{"item": f.item, "rating": f.rating} for f in asked.added[: step.k]]
        if step.film:
            rated = recommender.rate(history=told, profile=profile, item=FILM)
            assert step.film[0]["rating"] == pytest.approx(rated["rating"], abs=1e-4)
        liked = recommender.click(history=told, profile=profile, item=asked.targets[0].item)
        assert step.targets[0]["probability"] == pytest.approx(liked["probability"], abs=1e-4)
    assert {row["method"] for row in steps[0].targets} == set(recommender.methods)


def test_a_film_is_not_predicted_once_it_is_known(recommender):
    whole = plan(recommender, item=FILM, user=USER, first=8, targets=3)
    asked = plan(recommender, item=whole.added[3].item, user=USER, first=8, targets=3)
    assert asked.truth == whole.added[3] and asked.until <= 3
    *_, steps = run(recommender, asked)
    assert [bool(step.film) for step in steps] == [k <= asked.until for k in range(9)]


def test_picks_are_replayed_in_their_order(recommender):
    asked = plan(recommender, item=FILM, history=PICKS, taste="with a heart")
    assert [film.item for film in asked.added] == ["3", "7", "9"] and not asked.targets
    *_, steps = run(recommender, asked)
    whole = recommender.rate(history=PICKS, taste="with a heart", item=FILM)
    assert steps[-1].film[0]["rating"] == pytest.approx(whole["rating"], abs=1e-4)
    assert errors(asked, steps) == []
    # a stranger of whom nothing at all is known can be asked about too
    (only,) = list(run(recommender, plan(recommender, item=FILM)))[-1]
    assert only.k == 0 and only.film and only.distance == 0
    # a pick that is the film itself ends the line
    asked = plan(recommender, item="7", history=PICKS)
    assert asked.until == 1 and asked.truth.rating == 1


def test_stop_ends_it(recommender):
    stop = Event()
    asked = plan(recommender, item=FILM, user=USER, first=5, targets=3)
    found = []
    for steps in run(recommender, asked, stop):
        found.append(steps)
        stop.set()
    assert [len(steps) for steps in found] == [1]


def test_errors_are_means_over_the_targets(recommender):
    asked = plan(recommender, item=FILM, user=USER, first=2, targets=5)
    *_, steps = run(recommender, asked)
    found = errors(asked, steps)
    row = next(r for r in found if (r["k"], r["method"], r["metric"]) == (2, "ckf", "mae"))
    own = [r["rating"] for r in steps[2].targets if r["method"] == "ckf"]
    truth = [film.rating for film in asked.targets]
    assert row["value"] == pytest.approx(np.abs(np.subtract(own, truth)).mean())
    assert row["low"] <= row["value"] <= row["high"] and row["n"] == len(truth)


def test_where_data_hold_likes_histories_hold_likes_alone():
    data = made_up_likes()
    store = SimpleNamespace(user=lambda user: {}, item=lambda item: {"item": item})
    for user in data.user_ids[:20]:
        asked = plan(SimpleNamespace(prepared=data, store=store), item=FILM, user=user, first=5)
        assert all(film.liked and film.rating is None for film in asked.added)
        assert {film.liked for film in asked.targets} <= {True, False} and asked.targets
        assert all(film.timestamp < asked.person["at"] for film in asked.added)


def test_unknown_people_and_films_are_said(recommender):
    for person in ({"user": "nobody", "item": FILM}, {"user": USER, "item": "nothing"}):
        with pytest.raises(UserError):
            plan(recommender, **person)


def test_a_bridge_is_as_far_as_its_matrices_say(recommender):
    system = recommender.system
    history = recommender.history(USER, AT)
    items = np.array([DATA.item_index[row["item"]] for row in history])
    stars = np.array([row["rating"] for row in history], np.float32)
    with torch.inference_mode():
        pairs = system.pairs(items, stars, np.array([len(items), 0]), np.array([0, 0]))
        own, newcomer = (torch.stack([w[i] for w in system.fusion.bridges(pairs)]) for i in (0, 1))
        expected = float((own - newcomer).norm() / newcomer.norm())
    assert recommender.bridge_distance(user=USER, at=AT) == pytest.approx(expected, rel=1e-4)
    assert recommender.bridge_distance(user=USER, at=AT, first=0) == 0
    assert expected > 0


@pytest.mark.parametrize("bridges", ["static", "none"])
def test_bridges_that_are_not_personal_have_no_distance(bridges):
    system = tiny_system(tiny_config(fusion={"hidden": 8, "bridges": bridges}))
    pairs = system.pairs(np.array([1]), np.array([4.0], np.float32), np.array([1]), np.array([0]))
    assert system.fusion.bridge_distance(pairs) is None
