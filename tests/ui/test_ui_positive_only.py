"""The Why, Compare, Cold start, Map and Results tabs on positive-only data: places that people
liked, without stars, genres and years, and some of them without a title."""

import json
import re
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from ckf_demo.inference.projections import Spaces
from ckf_demo.recommender import Recommender
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.cold_start import NO_GROUPS, ColdStartTab
from ckf_demo.ui.compare import FILM, LIST, CompareTab
from ckf_demo.ui.map import MapTab
from ckf_demo.ui.pair import Pair, known_user
from ckf_demo.ui.replay_markup import NO_NEGATIVES
from ckf_demo.ui.results import ResultsTab
from ckf_demo.ui.why import SECTIONS, WhyTab
from support.markup import visible
from support.positive_only import load_positive_only
from support.synthetic import made_up_choices
from support.tiny import give_texts

DATA = made_up_choices()
REQUEST = SimpleNamespace(session_hash="somebody")
UNTITLED = DATA.item_ids[DATA.titles.index("")]
WRONG = re.compile(r"\b(films?|movies?|ratings?|rated|genres?)\b|★", re.IGNORECASE)


@pytest.fixture
def recommender(positive_only_workplace, monkeypatch) -> Recommender:
    rng = np.random.default_rng(0)
    monkeypatch.setattr("ckf_demo.ui.markup.gr.Warning", lambda text: None)
    recommender = load_positive_only(positive_only_workplace)
    give_texts(recommender.predictor, rng.normal(size=(DATA.n_items, 4)).astype(np.float32))
    return recommender


@pytest.fixture
def pair(recommender) -> Pair:
    """The user with the most likes before their moment, and a place without a title."""
    users = recommender.store.users()
    user = users.loc[users["n_before"].idxmax(), "user"]
    return known_user(recommender.store, user, UNTITLED)


def texts_of(made: gr.Blocks) -> str:
    """What visitors read before they choose anything."""
    parts = [part["props"] for part in made.get_config_file()["components"]]
    return visible(" ".join(str(props.get(k, "")) for props in parts for k in ("value", "label")))


def test_why_compares_answers_without_likes_and_offers_no_stars(recommender, pair):
    with gr.Blocks() as made:
        tab = WhyTab(recommender)
    shown, findings = {}, None
    for section in SECTIONS:
        for update in tab.answer(section, pair, findings, None, "", 5, REQUEST):
            shown |= update
            findings = update.get(tab.latest, findings)
    results = findings.results
    assert results["films"]["without"] and results["parts"] and results["standing"]
    assert not tab.stars.visible
    assert f"No. {UNTITLED}" in shown[tab.standing] and "data-pick" not in shown[tab.films]
    assert "contain only likes" in shown[tab.later]
    for text in (texts_of(made), *(visible(shown[panel]) for panel in tab.boxes.values())):
        assert not WRONG.search(text), WRONG.search(text)


def test_methods_are_compared_by_probability_alone(recommender, pair):
    with gr.Blocks():
        tab = CompareTab(recommender, MethodComparison(recommender))
    *_, answered, _ = tab.compare(pair, None, FILM, list(recommender.methods), None)
    shown = visible(answered[tab.shown])
    assert f"No. {UNTITLED}" in shown and "Would they like it?" in shown
    assert not WRONG.search(shown), WRONG.search(shown)
    assert [label for label, _ in tab.mode.choices] == ["This place", "Top list"]
    *_, last = tab.compare(pair, None, LIST, list(recommender.methods), None)
    assert "contain only likes" in last[tab.shown]


def test_a_replay_of_likes_has_no_errors_and_groups_are_explained(recommender, pair):
    with gr.Blocks() as made:
        tab = ColdStartTab(recommender)
    *_, last = tab.replay(pair, None, "ctr", 2, 5, 5, REQUEST)
    assert last[tab.latest].finished
    shown = visible(last[tab.shown] + last[tab.after])
    assert NO_NEGATIVES in shown and "Log loss" not in shown and "liked" in shown
    assert not WRONG.search(shown), WRONG.search(shown)
    assert texts_of(made).count(NO_GROUPS) == 2


def test_maps_have_one_group_of_places(recommender, pair, tmp_path):
    with gr.Blocks() as made:
        tab = MapTab(recommender, Spaces(recommender, tmp_path))
    *_, last = tab.draw(pair, None, "films", "pca", 2, "spaces")
    assert len(json.loads(last[tab.maps])["spaces"]) == len(tab.shown_spaces("films", "spaces"))
    catalogue = tab.catalogue("films")
    assert [group["name"] for group in catalogue["groups"]] == ["places"]
    assert catalogue["groups"][0]["name"] in texts_of(made)
    shown = "".join(last[part] for part in (tab.message, tab.neighbours, tab.highlights, tab.trust))
    text = visible(
        shown + " ".join(catalogue["hover"]) + " ".join(tab.catalogue("people")["hover"])
    )
    assert not WRONG.search(text), WRONG.search(text)


def test_errors_of_results_name_places(recommender, pair):
    error = {"task": "ctr", "user": pair.user, "item": UNTITLED, "label": 1, "score": 0.1}
    row = {"task": "ctr", "metric": "auc", "group": "all", "n": 9, "low": 0.6, "high": 0.8}
    report = {"dataset": recommender.store.dataset, "split": "valid", "checkpoint": "tiny"}
    report |= {"rows": [row | {"method": "ckf", "value": 0.7}], "errors": [error]}
    path = recommender.checkpoint / "results.json"
    path.write_text(json.dumps(report))
    with gr.Blocks() as made:
        tab = ResultsTab(recommender)
    path.unlink()
    assert f"No. {UNTITLED}" in tab.errors.value and ">Place<" in tab.errors.value
    assert not WRONG.search(texts_of(made)), WRONG.search(texts_of(made))
