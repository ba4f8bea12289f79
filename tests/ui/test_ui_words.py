"""What visitors read fits the data: films of MovieLens, and places that have likes alone and no
genres, no years and, some of them, no title."""

import re
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from ckf_demo.data.prepared import Prepared
from ckf_demo.ui.answer import Answer, explanation_card, finished_answer
from ckf_demo.ui.items import item_list
from ckf_demo.ui.markup import film_text
from ckf_demo.ui.pair import Pair, bar
from ckf_demo.ui.predict import PredictTab, figures, history_markup
from ckf_demo.ui.sidebar import Sidebar, examples
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.topk import Ranking, TopKTab
from ckf_demo.ui.tour import tour_markup
from support.fakes import SPLIT_TIME, FakeRecommender, catalogue
from support.markup import visible

KNOWN = Pair(item="7", user="7", at=SPLIT_TIME)
WORDS = re.compile(r"\b(films?|viewers?|watch)\b", re.IGNORECASE)
OPINIONS = re.compile(r"\bratings?\b|★|\brated\b", re.IGNORECASE)


def places_data() -> Prepared:
    """The same people, who like places; the second and the last have no title."""
    data = catalogue()
    titles = [f"Café {number}" for number in range(1, data.n_items + 1)]
    for index in (1, 39):
        titles[data.item_index[str(index + 1)]] = ""
    return replace(
        data,
        rating=np.ones_like(data.rating),
        titles=titles,
        years=np.zeros_like(data.years),
        genres=[()] * data.n_items,
        domain="places",
        feedback="likes",
        texts={0: "cosy"},
    )


@pytest.fixture(scope="module")
def places() -> FakeRecommender:
    return FakeRecommender(data=places_data(), tasks=("ctr", "ranking", "explanation"))


def built(recommender) -> str:
    """All that sidebar, Predict and Top-K, the bar and the tour show."""
    landing = finished_answer(recommender, KNOWN)
    with gr.Blocks() as demo:
        sidebar = Sidebar(recommender, examples(recommender))
        predict = PredictTab(recommender, Stops(), landing)
        topk = TopKTab(recommender, landing, gr.State(None))
    ranking = Ranking(KNOWN.who, {}, tuple(recommender.rank(**KNOWN.person)))
    texts = [
        bar(recommender, KNOWN),
        tour_markup(recommender),
        topk.listing(ranking, KNOWN),
        topk.listing(Ranking(KNOWN.who, {}, ()), KNOWN),
        history_markup(recommender, KNOWN),
        history_markup(recommender, Pair(item="7", taste="quiet")),
        predict.prompt_of(KNOWN, "ctr").split("<pre")[0],
        item_list(recommender, ""),
        item_list(recommender, "a"),
        sidebar.found_films("a", ()),
        sidebar.rated_films(()),
    ]
    shown = [block for block in demo.blocks.values() if getattr(block, "visible", True)]
    parts = [getattr(b, name, None) for b in shown for name in ("value", "label", "placeholder")]
    texts += [part for part in parts if isinstance(part, str)]
    # a prompt holds the words of the fake, not those of the page
    return visible(" ".join(re.sub("<pre.*?</pre>", "", text, flags=re.DOTALL) for text in texts))


def test_places_are_called_places(places):
    shown = built(places)
    assert not WORDS.findall(shown)
    for words in (
        "One person, one place",
        "Find places that they like",
        "What should this person visit next?",
        "Would this person like this place, and why?",
        "Places (k)",
        "10 places, with a median of",
        "20 likes",
        "No. 40",
        "Everybody's average",
    ):
        assert words.lower() in shown.lower()
    assert "of a rating of 4 or 5" not in shown and "genres" not in shown.lower()


def test_films_are_called_films(fake):
    shown = built(fake)
    for words in (
        "One person, one film",
        "Find films and give them stars",
        "What should this person watch next?",
        "How would this person rate this film, would they like it, and why?",
        "Films (k)",
        "slow crime films of the forties",
        "No films rated yet. Two or three already change the answers.",
        "Every film, name, theme, rating and amount in the text was looked up.",
        "probability of a rating of 4 or 5",
    ):
        assert words in shown
    assert re.search(r"10 films of \d genres, with a median of \d+ training ratings each", shown)


def test_a_history_of_likes_shows_no_stars(places):
    assert not OPINIONS.findall(visible(history_markup(places, KNOWN)))
    picks = Pair(item="7", history=(("4", 5.0), ("9", 2.0)))
    shown = history_markup(places, picks)
    assert 'id="rated-4"' in shown and 'id="rated-9"' not in shown
    assert "1 like<" in bar(places, picks).replace(" ·", "<")


def test_examples_of_data_without_genres_have_likes_and_titles(places):
    new = examples(places)[-1].pair
    assert len(new.history) == 3 and all(stars >= 4 for _, stars in new.history)
    assert all(places.store.item(item)["title"] for item in (new.item, *dict(new.history)))


def test_an_answer_without_ratings_has_its_figures_and_words(places):
    answer = finished_answer(places, KNOWN)
    assert answer.rating is None and answer.finished and answer.explanation
    shown = figures(places, answer)
    assert "Likes it" in shown and "Rating" not in shown and "Probability of each" not in shown
    assert "probability that they like it" in shown.lower()


def test_a_checkpoint_for_clicks_alone_writes_no_words(places):
    clicks = FakeRecommender(data=places_data(), tasks=("ctr",))
    answer = finished_answer(clicks, KNOWN)
    assert answer.click and answer.finished
    assert "not trained for explanation" in explanation_card(places, answer, linked=True)


def explained(recommender, *evidence: dict, rating: float | None = None) -> str:
    sentence = {"text": "It is cosy.", "evidence": list(evidence)}
    named = [{"item": "2", "title": ""}, *({k: e[k] for k in ("item", "title")} for e in evidence)]
    step = {"text": "It is cosy.", "evidence": named, "polarity": "positive", "rating": rating}
    step |= {"sentences": [sentence], "regenerated": 0, "dropped": 0}
    answer = Answer(KNOWN, explanation=step, finished=True)
    return explanation_card(recommender, answer, linked=True)


def test_what_somebody_wrote_is_quoted_escaped_and_short(places):
    text = "<b>cosy</b> " + " ".join(f"word{number}" for number in range(40))
    shown = explained(
        places,
        {"item": "1", "title": "Café <1>", "rating": None},
        {"item": "3", "title": "Café 3", "text": text},
        {"item": "2", "title": "", "text": "warm"},
    )
    assert "Café &lt;1&gt;<br>" in shown
    assert "Café 3: “&lt;b&gt;cosy&lt;/b&gt; word0 " in shown
    assert "word23…”" in shown and "word24" not in shown
    assert "No. 2: “warm”" in shown
    assert "<b>" not in shown
    assert "Every word was compared with the names and with what others wrote." in shown
    assert "data-jump" not in shown


def test_what_rests_on_nothing_says_so_by_the_data(places, fake):
    assert "no source needed" in explained(places)
    shown = explained(fake, rating=4.0)
    assert "names no film that they rated" in shown and "Every film, name" in shown
    rated = {"item": "1", "title": "Quiet Harbour", "rating": 4.0}
    assert "Quiet Harbour (4)<" in explained(fake, rated, rating=4.0)


def test_items_without_a_title_go_by_their_number():
    assert film_text({"item": "11821", "title": "", "year": None}) == "No. 11821"
    assert film_text({"item": "1", "title": "Vertigo", "year": 1958}) == "Vertigo (1958)"
    assert film_text({"item": "1", "title": "Vertigo", "year": None}) == "Vertigo"
