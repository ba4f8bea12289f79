"""The Map tab without a browser: what is drawn, the tables beside it, and what is said while it is
computed."""

import base64
import json
import re
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from ckf_demo.inference.projections import Projection, Spaces
from ckf_demo.ui.map import SHAPES, MapTab
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.topk import Ranking
from support.fakes import NASTY_ITEM, NASTY_TITLE, SPLIT_TIME, FakeRecommender, FakeTextRecommender

PAIR = Pair(item="7", user="3", at=SPLIT_TIME)
NEW = Pair(item="7", history=(("4", 5.0), ("9", 1.0)), taste="westerns")
FILMS = ("films", "pca", 2, "spaces")


def tab_of(recommender, folder) -> MapTab:
    with gr.Blocks():
        return MapTab(recommender, Spaces(recommender, folder))


@pytest.fixture
def tab(tmp_path) -> MapTab:
    return tab_of(FakeRecommender(), tmp_path)


def drawn(tab: MapTab, pair: Pair, *controls, ranking=None) -> tuple[dict, dict]:
    """What the script gets, and everything else by component."""
    last = list(tab.draw(pair, ranking, *controls))[-1]
    return json.loads(last[tab.maps]), last


def points(space: dict, dimensions: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(space["points"]), "<f4").reshape(-1, dimensions)


@pytest.mark.parametrize("pair", [PAIR, NEW], ids=["known", "new"])
@pytest.mark.parametrize("method", ["pca", "umap"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_three_spaces_hold_every_film_where_the_view_has_it(tab, pair, method, dimensions):
    data, _ = drawn(tab, pair, "films", method, dimensions, "spaces")
    assert list(data["spaces"]) == ["collaborative", "llm", "text"]
    for name, space in data["spaces"].items():
        view = tab.spaces.view(name, pair.person, projection=Projection(method, dimensions))
        assert np.array_equal(points(space, dimensions), view.points)
        assert (space["person"] is None) == (name == "text")
        assert f"trustworthiness {view.trust.value:.2f} (n = 40)" in space["facts"]
    assert data["selected"] == 6
    assert len(tab.catalogue("films")["items"]) == 40


def test_history_and_recommendations_are_marked_where_they_are_the_persons(tab):
    rows = tuple(tab.recommender.rank(**PAIR.person, k=5))
    data, last = drawn(tab, PAIR, *FILMS, ranking=Ranking(PAIR.who, {}, rows))
    items = tab.recommender.item_order
    history = {row["item"] for row in tab.recommender.history("3")}
    assert {items[place] for place in data["history"]} == history
    assert [items[place] for place in data["recommended"]] == [row["item"] for row in rows]
    assert last[tab.highlights].count("<tr") == 1 + 5 + len(history)
    other, _ = drawn(tab, NEW, *FILMS, ranking=Ranking(PAIR.who, {}, rows))
    assert other["recommended"] == []


def test_people_are_drawn_where_a_space_holds_them(tab):
    data, last = drawn(tab, PAIR, "people", "pca", 2, "spaces")
    assert list(data["spaces"]) == ["collaborative", "llm"]
    assert all(points(space, 2).shape == (16, 2) for space in data["spaces"].values())
    assert data["selected"] is None and data["history"] == data["recommended"] == []
    assert last[tab.neighbours] == "" and last[tab.highlights] == ""
    assert last[tab.people].count("<table") == 2
    assert 'data-pick="3"' not in last[tab.people]
    catalogue = tab.catalogue("people")
    assert [len(catalogue[column]) for column in ("items", "hover", "group")] == [16] * 3
    assert catalogue["groups"][0]["name"] == "0 ratings before"


def test_before_and_after_training_stand_side_by_side(tab):
    data, last = drawn(tab, PAIR, "films", "pca", 2, "training")
    assert list(data["spaces"]) == ["untrained", "llm"]
    before, after = (points(space, 2) for space in data["spaces"].values())
    assert not np.allclose(before, after)
    # with each other, and each with the two spaces that training does not touch
    assert last[tab.trust].count("<tr") == (1 + 2) + (1 + 5)
    assert "before training and collaborative" in last[tab.trust]


def test_trust_and_agreement_say_their_n(tab):
    _, last = drawn(tab, PAIR, *FILMS)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", last[tab.trust])
    assert cells.count("40") == 3
    assert "trustworthiness with n = 40" in last[tab.trust]
    agreement = tab.spaces.agreement("collaborative", "text", PAIR.person)
    assert f"{100 * agreement.value:.0f} % (" in last[tab.trust]
    assert "26 % of their 10 nearest by chance" in last[tab.trust]


def test_the_nearest_are_those_of_the_whole_space_in_each_space(tab):
    _, last = drawn(tab, PAIR, "films", "umap", 2, "spaces")
    tables = last[tab.neighbours].split("<table")[1:]
    assert len(tables) == 3
    for space, shown in zip(("collaborative", "llm", "text"), tables, strict=True):
        nearest = [item for item, _ in tab.spaces.neighbours(space, "7", PAIR.person)]
        assert re.findall(r'data-pick="(\d+)"', shown) == nearest


def test_what_must_be_computed_is_said_space_by_space_and_can_be_stopped(tab):
    steps = list(tab.draw(PAIR, None, "films", "umap", 2, "spaces"))
    assert len(steps) == 4
    for number, step in enumerate(steps[:3], start=1):
        assert f"Space {number} of 3" in step[tab.message]
        assert step[tab.stop]["interactive"]
    assert not steps[-1][tab.stop]["interactive"]
    assert len(list(tab.draw(PAIR, None, "films", "umap", 2, "spaces"))) == 1
    assert "Stopped" in tab.stopped()[tab.message]
    # an early end keeps what was finished
    begun = tab.draw(PAIR, None, "films", "umap", 3, "spaces")
    next(begun), next(begun)
    begun.close()
    assert tab.spaces.at_hand("collaborative", "films", Projection("umap", 3))
    assert not tab.spaces.at_hand("text", "films", Projection("umap", 3))


def test_a_checkpoint_without_tokens_shows_the_two_other_spaces(tmp_path):
    tab = tab_of(FakeTextRecommender(), tmp_path)
    assert not tab.comparison.visible
    data, last = drawn(tab, PAIR, *FILMS)
    assert list(data["spaces"]) == ["collaborative", "text"]
    assert "bridge" not in last[tab.message]


def test_a_person_that_is_not_known_is_said(tab):
    (step,) = tab.draw(Pair(item="7", user="999", at=SPLIT_TIME), None, *FILMS)
    assert "999" in step[tab.message] and tab.maps not in step


def test_points_choose_films_or_people(tab):
    film = tab.choose(PAIR, SimpleNamespace(pick="9", kind="films"))
    assert film == PAIR.with_item("9")
    person = tab.choose(NEW, SimpleNamespace(pick="5", kind="people"))
    assert (person.user, person.item, person.history) == ("5", "7", ())
    assert tab.choose_person(NEW, SimpleNamespace(pick="5")) == person


def test_names_of_points_are_escaped(tab):
    hover = tab.catalogue("films")["hover"]
    nasty = hover[tab.recommender.item_order.index(NASTY_ITEM)]
    assert tab.recommender.store.item(NASTY_ITEM)["title"] == NASTY_TITLE
    assert "&lt;b&gt;Bold" in nasty and "<b>Bold" not in nasty


def test_no_two_genres_look_alike(tab):
    groups = tab.catalogue("films")["groups"]
    looks = {(group["colour"], group["shape"]) for group in groups}
    assert len(looks) == len(groups)
    assert "circle-open" not in SHAPES
