"""Two explanations side by side: which, in what order, what only one of them names."""

import pytest
from fakes import FakeRecommender

from ckf_demo.contrasts import Contrasts
from ckf_demo.errors import UserError
from ckf_demo.ui.contrast import ContrastPanel, sides_markup
from ckf_demo.ui.pair import Pair

HISTORY = [{"item": "1", "rating": 5}, {"item": "2", "rating": 1}]


@pytest.fixture
def recommender():
    return FakeRecommender(word_seconds=0)


def test_both_are_explained_one_after_the_other(recommender):
    steps = list(Contrasts(recommender).sides(history=HISTORY, item="3", other="4"))
    first, *_, last = steps
    this, that = first["sides"]
    assert (this["side"], this["item"]) == ("this", "3") and that["explanation"] is None
    assert this["title"] == recommender.store.item("3")["title"]
    assert this["rating"] is not None and 0 <= that["probability"] <= 1
    assert last["finished"] and all("polarity" in s["explanation"] for s in last["sides"])
    # both rest on the same film of the history
    assert last["only"] == {"this": [], "that": []}
    assert not any(step["finished"] for step in steps[:-1])


def test_the_same_through_other_bridges_has_no_figures_of_its_own(recommender):
    user = recommender.store.users()["user"].iloc[0]
    *_, last = Contrasts(recommender).sides(history=HISTORY, item="3", bridges_of=user)
    this, bridged = last["sides"]
    assert bridged["side"] == "bridges" and bridged["item"] == this["item"]
    assert bridged["rating"] is None and this["rating"] is not None


def test_what_only_one_names_is_said(recommender, monkeypatch):
    def explain(item, **_):
        named = {"3": "Heat", "4": "Fargo"}[item]
        yield {"text": f"{named} and Alien.", "evidence": [{"title": named}, {"title": "Alien"}]}

    monkeypatch.setattr(recommender, "explain", explain)
    *_, last = Contrasts(recommender).sides(history=HISTORY, item="3", other="4")
    assert last["only"] == {"this": ["Heat"], "that": ["Fargo"]}
    shown = sides_markup(recommender, last)
    assert "not for the other: Heat" in shown and "not for the first: Fargo" in shown


@pytest.mark.parametrize("against", [{}, {"other": "3"}, {"bridges_of": "nobody"}])
def test_what_cannot_be_held_against_it_is_said(recommender, against):
    with pytest.raises(UserError):
        list(Contrasts(recommender).sides(history=HISTORY, item="3", **against))


def test_the_page_says_what_is_wrong_and_escapes_what_it_shows(recommender, monkeypatch):
    import gradio as gr

    with gr.Blocks():
        panel = ContrastPanel(recommender)
    pair = Pair(item="3", history=(("1", 5.0),))
    (message,) = panel.answer(pair, "", "")
    assert "choose another film" in message

    def explain(item, **_):
        yield {"text": "<script>", "evidence": []}

    monkeypatch.setattr(recommender, "explain", explain)
    *_, shown = panel.answer(pair, "4", " ")
    assert "<script>" not in shown and "&lt;script&gt;" in shown
