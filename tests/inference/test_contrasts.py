"""Two explanations side by side: which, in what order, what only one of them names."""

from threading import Event
from types import SimpleNamespace

import gradio as gr
import pytest

from ckf_demo.inference.contrasts import Contrasts
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.side_by_side import Side, paragraph, through_bridges
from ckf_demo.ui.contrast import ContrastPanel, sides_markup
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.stops import Stops
from support.fakes import FakeRecommender

REQUEST = SimpleNamespace(session_hash="somebody")
PAIR = Pair(item="3", history=(("1", 5.0),))
HISTORY = [{"item": "1", "rating": 5}, {"item": "2", "rating": 1}]


@pytest.fixture
def recommender():
    return FakeRecommender(word_seconds=0)


@pytest.fixture
def panel(recommender):
    with gr.Blocks():
        return ContrastPanel(recommender, Stops())


def ask(panel, *asked, pair=PAIR):
    """The steps of an answer, and what is shown in the end."""
    *steps, last = panel.answer(pair, *asked, REQUEST)
    return steps, last[panel.told]


def test_both_are_explained_one_after_the_other(recommender):
    steps = list(Contrasts(recommender).sides(history=HISTORY, item="3", other="4"))
    first, *_, last = steps
    this, that = first["sides"]
    assert (this["side"], this["item"]) == ("this", "3") and that["explanation"] is None
    assert this["title"] == recommender.store.item("3")["title"]
    assert this["rating"] is not None and 0 <= that["probability"] <= 1
    assert last["finished"] and all("polarity" in s["explanation"] for s in last["sides"])
    assert last["only"].keys() == {"this", "that"}
    assert not any(step["finished"] for step in steps[:-1])


def test_the_same_through_other_bridges_has_no_figures_of_its_own(recommender):
    user = recommender.store.users()["user"].iloc[0]
    *_, last = Contrasts(recommender).sides(history=HISTORY, item="3", bridges_of=user)
    this, bridged = last["sides"]
    assert bridged["side"] == "bridges" and bridged["item"] == this["item"]
    assert bridged["rating"] is None and this["rating"] is not None


def test_two_items_are_told_apart_by_effects(recommender):
    films = recommender.film(2), recommender.film(3)
    given = {"Heat": 5.0}
    this, that = (
        Side(films[0], 4.1, {"Heat": 0.28}, given),
        Side(films[1], 3.2, {"Heat": -0.1}, given),
    )
    told = paragraph(this, that, lambda a, b: False)
    titles = [film.title for film in films]
    assert told.startswith(f"{titles[0]} is predicted at 4.10, {titles[1]} at 3.20.")
    assert (
        f"the 5 that you gave Heat counts most (+0.28 stars); it moves {titles[1]} by −0.10" in told
    )
    assert f"No single rating of yours speaks for {titles[1]}." in told
    said = through_bridges(films[0], "5", 4.1, 3.9)
    assert "user 5" in said and "at 3.90 instead of 4.10 (−0.20)" in said


def test_the_last_step_says_what_speaks_for_each(recommender):
    user = recommender.store.users()["user"].iloc[0]
    asked = {"history": HISTORY, "item": "3", "other": "4", "bridges_of": user}
    *_, last = Contrasts(recommender).sides(**asked)
    this, that, _ = last["sides"]
    assert f"is predicted at {this['rating']:.2f}" in last["paragraph"]
    assert f"at {that['rating']:.2f}." in last["paragraph"]
    assert f"bridges of user {user}" in last["paragraph"]
    assert "ckf-contrast" in sides_markup(recommender, last)


def test_what_only_one_names_is_said(recommender, monkeypatch):
    def explain(item, **_):
        named = {"3": "Heat", "4": "Fargo"}[item]
        yield {"text": f"{named} and Alien.", "evidence": [{"title": named}, {"title": "Alien"}]}

    monkeypatch.setattr(recommender, "explain", explain)
    *_, last = Contrasts(recommender).sides(history=HISTORY, item="3", other="4")
    assert last["only"] == {"this": ["Heat"], "that": ["Fargo"]}
    shown = sides_markup(recommender, last)
    assert "not for the other: Heat" in shown and "not for the first: Fargo" in shown


@pytest.mark.parametrize(
    "against",
    [{}, {"other": "3"}, {"other": "no such film"}, {"other": "4", "bridges_of": "nobody"}],
)
def test_what_cannot_be_held_against_it_is_said_before_anything_is_written(recommender, against):
    with pytest.raises(UserError):
        next(Contrasts(recommender).sides(history=HISTORY, item="3", **against))


def test_it_is_stopped_between_two_words_and_begins_no_other_side(recommender):
    stop = Event()
    steps = Contrasts(recommender).sides(history=HISTORY, item="3", other="4", stop=stop)
    next(steps)
    stop.set()
    *_, last = steps
    this, that = last["sides"]
    assert "polarity" in this["explanation"] and that["explanation"] is None
    assert not last["finished"]
    assert "Stopped before its turn" in sides_markup(recommender, last)
    assert "Waiting for its turn" in sides_markup(recommender, last, writing=True)


def test_two_of_one_title_are_told_apart_by_number(recommender):
    side = {"side": "this", "item": "1", "title": "Heat", "rating": None, "probability": 0.5}
    side |= {"whose": None, "explanation": None}
    shown = sides_markup(recommender, {"sides": [side, side | {"side": "that", "item": "2"}]})
    assert "Heat, No. 1" in shown and "Heat, No. 2" in shown
    told_apart = [side | {"title": f"Heat ({item})", "item": item} for item in "12"]
    assert "No." not in sides_markup(recommender, {"sides": told_apart})
    bridged = sides_markup(recommender, {"sides": [side, side | {"side": "bridges", "whose": "5"}]})
    assert "No. 1" not in bridged and "Heat, through the bridges of user 5" in bridged


def test_the_page_says_what_is_wrong_and_escapes_what_it_shows(panel, recommender, monkeypatch):
    steps, told = ask(panel, "", "")
    assert not steps and "choose another film" in panel.settle(PAIR, told)[panel.shown]

    def explain(item, **_):
        yield {"text": "<script>", "evidence": []}

    monkeypatch.setattr(recommender, "explain", explain)
    steps, told = ask(panel, "4", " ")
    for shown in (steps[-1][panel.shown], panel.settle(PAIR, told)[panel.shown]):
        assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_what_is_shown_belongs_to_its_pair(panel):
    steps, told = ask(panel, "4", "")
    assert all(step[panel.halt]["interactive"] for step in steps)
    settled = panel.settle(PAIR, told)
    assert settled[panel.shown].count("<section") == 2
    assert not settled[panel.halt]["interactive"]
    assert panel.settle(PAIR.with_item("9"), told)[panel.shown] == ""
    assert panel.settle(PAIR, None)[panel.shown] == ""
    # another pair ends what is written
    written = panel.answer(PAIR, "4", "", REQUEST)
    next(written)
    panel.stops.stop(REQUEST.session_hash, unless=PAIR.with_item("9"))
    *_, last = written
    assert not last[panel.told].sides["finished"]


def test_an_emptied_field_takes_the_other_film_back(panel, monkeypatch):
    said = []
    monkeypatch.setattr("ckf_demo.ui.markup.gr.Warning", said.append)
    other, chosen = panel.choose(SimpleNamespace(pick="4"))
    assert other == "4" and "Beside" in chosen and "<b>" not in chosen
    assert "Winter" in panel.look("win")[panel.found]
    emptied = panel.look(" ")
    assert emptied[panel.other] == "" and "No other film" in emptied[panel.chosen]
    _, wrong = panel.choose(SimpleNamespace(pick="none such"))
    assert "none such" in wrong and said
