"""Facts about items wherever items are shown: names, searches, explanations, Compare, Cold start,
and the Data tab."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.ui.answer import Answer, explanation_card
from ckf_demo.ui.cold_start import ColdStartTab
from ckf_demo.ui.compare import FILM, LIST, CompareTab
from ckf_demo.ui.contrast import sides_markup
from ckf_demo.ui.data import DataTab, result_markup, schema_markup
from ckf_demo.ui.items import about_item, item_list
from ckf_demo.ui.markup import directed_text
from ckf_demo.ui.pair import Pair, bar
from ckf_demo.ui.predict import history_markup, wishes_markup
from ckf_demo.ui.topk import Ranking, TopKTab
from support.fakes import FakeMethodComparison, FakeRecommender
from support.films import films
from support.markup import visible

NASTY = '<img src=x onerror="alert(1)">'
KNOWN, NEW = Pair(item="3", user="1", at=1_000_300), Pair(item="3", history=(("6", 5.0),))
REQUEST = SimpleNamespace(session_hash="somebody")
HITCHCOCK = "directed by Alfred Hitchcock"
ANALYSES = ("Ratings by theme", "Ratings by director", "Ratings by country")


@pytest.fixture(scope="module")
def told() -> FakeRecommender:
    """A recommender over films of which is known what they are about."""
    return FakeRecommender(data=films())


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["A"], "directed by A"),
        (["A", "B"], "directed by A and B"),
        (["A", "B", "C"], "directed by A, B and C"),
        (["A", "B", "C", "D"], "directed by A and 3 others"),
    ],
)
def test_directors_are_named_in_a_few_words(names, text):
    assert directed_text(names) == text


@pytest.mark.parametrize(
    ("query", "named"),
    [("hitchcock", "Alfred Hitchcock"), ("sharks", "sharks"), ("grace kelly", "Grace Kelly")],
)
def test_a_search_says_what_it_found_an_item_by(told, query, named):
    found = visible(item_list(told, query))
    assert "Found by" in found and found.count(named) >= found.count("(19") > 0
    assert "directed by" in found


def test_a_search_for_a_title_has_no_column_of_names(told, fake):
    assert "Found by" not in item_list(told, "jaws")
    found = item_list(fake, "winter")
    assert "Found by" not in found and "directed" not in found


def test_lists_of_films_name_their_directors(told):
    rows = told.rank(**NEW.person, k=5)
    assert all(row["directors"] and row["tags"] for row in rows if row["title"] != "Silence")
    with gr.Blocks():
        topk = TopKTab(told, Answer(NEW), gr.State(None))
    listing = topk.listing(Ranking(NEW.who, (), tuple(rows)), NEW)
    assert listing.count("directed by") == sum(bool(row["directors"]) for row in rows)
    assert "directed by Steven Spielberg" in history_markup(told, NEW)


def test_the_explanation_stands_beside_what_the_film_is_about(told, fake):
    step = {"text": "They like trains.", "sentences": [], "regenerated": 0, "dropped": 0}
    answer = Answer(KNOWN, explanation=step, finished=True)
    card = visible(explanation_card(told, answer, linked=True))
    assert card.index("They like trains.") < card.index("About the film")
    for fact in ("An advertising man is hunted.", "Alfred Hitchcock", "Cary Grant", "wrong man"):
        assert fact in card
    assert "About the film" in explanation_card(told, Answer(KNOWN), linked=True)
    assert "ckf-about" not in explanation_card(fake, replace(answer, pair=NEW), linked=True)
    assert about_item(told, "12") == ""  # nothing is known of it


def test_facts_are_escaped():
    none = [()] * 12
    facts = ItemFacts([(NASTY,)] * 12, none, [(NASTY,)] * 12, none, none, [NASTY] * 12)
    nasty = FakeRecommender(data=replace(films(), dataset="nasty", facts=facts))
    pieces = (about_item(nasty, "3"), item_list(nasty, "jaws"), item_list(nasty, "img"))
    for piece in (*pieces, bar(nasty, NEW), history_markup(nasty, NEW)):
        assert "<img" not in piece and "&lt;img" in piece


def test_compare_names_directors_of_the_film_and_of_candidates(told):
    with gr.Blocks():
        made = CompareTab(told, FakeMethodComparison(told))
    for mode, named in ((FILM, f"North by Northwest (1959), {HITCHCOCK}."), (LIST, HITCHCOCK)):
        *_, last, _ = made.compare(NEW, None, mode, ["ckf"], None, ())
        assert named in visible(last[made.shown])
    side = {"side": "this", "item": "3", "title": "North by Northwest", "year": 1959}
    side |= {"rating": 4.0, "probability": 0.5, "explanation": None}
    assert f"{HITCHCOCK} · 4.00 of 5" in sides_markup(told, {"sides": [side]})


def test_a_replay_names_directors_of_added_and_later_films(told, empty_cache):
    with gr.Blocks():
        made = ColdStartTab(told)
    updates = list(made.replay(KNOWN, None, "rating", 2, 5, 5, REQUEST))
    for panel in (made.shown, made.after):
        *_, last = (update[panel] for update in updates if panel in update)
        assert '<span class="ckf-below">directed by ' in last


def test_themes_directors_and_countries_have_analyses_of_their_own(told, fake):
    with gr.Blocks():
        made = DataTab(told)
    analyses = {each.title: each for each in told.store.analyses()}
    for title in (*ANALYSES, "Best-known items and what they are about"):
        found = made.store.query(analyses[title].sql)
        assert "data-figure" in result_markup(found), title
        assert title not in {each.title for each in fake.store.analyses()}
    themes = made.store.query(analyses["Ratings by theme"].sql)
    rows = {row[0]: row[1:] for row in themes.rows}
    ratings, _, items, most_rated = rows["gunfighter"]
    assert (ratings, items) == (20, 2) and set(most_rated) == {"High Noon", "Unforgiven"}


def test_the_schema_says_what_the_columns_of_facts_hold(told, fake):
    assert "tags (themes)" in schema_markup(told.store.schema())
    assert "tags (themes)" not in schema_markup(fake.store.schema())


@pytest.mark.parametrize("taste", ["dramas", "no dramas"])
def test_wishes_of_a_taste_are_held_against_the_film(fake, taste):
    data = fake.prepared
    place = next(i for i, genres in enumerate(data.genres) if "Drama" in genres)
    pair = Pair(item=data.item_ids[place], taste=taste)
    shown = wishes_markup(fake, pair)
    assert "Drama: yes" in shown
    assert ("ckf-wanted" in shown) == (taste == "dramas")
    assert not wishes_markup(fake, replace(pair, strength=0.0))
    assert not wishes_markup(fake, replace(pair, taste=""))
