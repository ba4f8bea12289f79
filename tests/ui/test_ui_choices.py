"""The page of a checkpoint whose data hold only likes, around a tiny trained one: no stars, genres
or dates, and items without a title."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from ckf_demo.data.splits import TRAIN
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving import serve
from ckf_demo.ui.answer import Answer, evidence_markup, explanation_card, finished_answer
from ckf_demo.ui.app import TABS, build
from ckf_demo.ui.items import item_list
from ckf_demo.ui.moment import MomentControls
from ckf_demo.ui.pair import Pair, bar
from ckf_demo.ui.predict import PredictTab, click_card, history_markup
from ckf_demo.ui.sidebar import ANY, LIKE, Sidebar, examples
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.topk import Ranking, TopKTab
from support.markup import visible
from support.positive_only import load_positive_only
from support.serving import served
from support.synthetic import made_up_choices

DATA = made_up_choices()
REQUEST = SimpleNamespace(session_hash="somebody")
NASTY = '<img src=x onerror="alert(1)">'
TITLED = [i for i, title in zip(DATA.item_ids, DATA.titles, strict=True) if title]
UNTITLED = [i for i, title in zip(DATA.item_ids, DATA.titles, strict=True) if not title]
EVIDENCE = [
    {"item": "1", "title": "", "text": f"Such {NASTY} oysters."},
    {"item": "4", "title": NASTY, "rating": None},
]
SENTENCES = [{"text": f"It has {NASTY}.", "evidence": EVIDENCE}, {"text": "Nice.", "evidence": []}]
STEP = {"text": "It has oysters. Nice.", "sentences": SENTENCES, "draft": f"A draft with {NASTY}."}
STEP |= {"regenerated": 2, "dropped": 1, "seconds": 0.5}


def likes(item: str, *liked: str) -> Pair:
    """A new person who likes some items."""
    return Pair(item=item, history=tuple((each, LIKE) for each in liked))


@pytest.fixture(scope="module")
def recommender(positive_only_workplace) -> Recommender:
    return load_positive_only(positive_only_workplace)


@pytest.fixture(scope="module")
def known(recommender) -> Pair:
    """Somebody of the data, with what they are asked about at first."""
    return examples(recommender)[0].pair


@pytest.fixture
def sidebar(recommender) -> Sidebar:
    with gr.Blocks():
        return Sidebar(recommender, examples(recommender))


@pytest.fixture
def predict(recommender, known, monkeypatch) -> PredictTab:
    monkeypatch.setattr("ckf_demo.ui.markup.gr.Warning", lambda text: None)
    with gr.Blocks():
        return PredictTab(recommender, Stops(), finished_answer(recommender, known))


@pytest.fixture
def topk(recommender, known) -> TopKTab:
    with gr.Blocks():
        return TopKTab(recommender, Answer(known), gr.State(None))


@pytest.fixture(scope="module")
def client(recommender, positive_only_workplace):
    with served(recommender, positive_only_workplace / "cache") as demo:
        yield Client(demo.local_url, verbose=False)


def test_it_begins_with_somebody_who_wrote_about_something_later(known):
    user, item = DATA.user_ids.index(known.user), DATA.item_ids.index(known.item)
    (row,) = [r for r in DATA.texts if DATA.user[r] == user and DATA.item[r] == item]
    assert DATA.split[row] != TRAIN and DATA.titles[item] and DATA.timestamp[row] >= known.at


def test_a_new_person_is_made_of_what_they_like(sidebar):
    draft = sidebar.rerate(sidebar.rerate((), TITLED[0], "5"), TITLED[1], "5")
    assert draft == ((TITLED[0], LIKE), (TITLED[1], LIKE))
    assert sidebar.rerate(draft, TITLED[0], None) == ((TITLED[1], LIKE),)
    assert "Liked so far: 2" in sidebar.rated_films(draft)
    found = sidebar.found_films("Cafe 0", draft)
    assert "Remove" in found and f"No. {TITLED[0]}" in found and "★" not in found
    assert "Add" in sidebar.found_films("Cafe 0", ())
    assert "shorter part" in sidebar.found_films("zebra", draft)
    with pytest.raises(UserError, match="too many"):
        sidebar.rerate(likes("", *map(str, range(1000))).history, "new", "5")


def test_data_without_dates_have_no_moment(recommender, known, monkeypatch):
    numbered = np.arange(len(recommender.prepared.timestamp))
    undated = replace(recommender.prepared, timestamp=numbered)
    assert recommender.prepared.has_times and not undated.has_times
    monkeypatch.setitem(vars(recommender.prepared), "has_times", False)
    with gr.Blocks():
        controls = MomentControls(recommender, known)
    assert controls.about.visible is False
    assert "an order and no dates" in bar(recommender, known)
    assert ">Order<" in history_markup(recommender, known)


def test_every_method_says_how_probable_it_is(recommender, known):
    answer = finished_answer(recommender, known)
    assert answer.rating is None and answer.finished and "sentences" in answer.explanation
    shown = click_card(recommender, answer)
    for row in answer.comparison[:-1]:
        own = recommender.click(user=known.user, item=known.item, method=row["method"])
        assert row["probability"] == pytest.approx(own["probability"], abs=1e-3)
        assert recommender.labels[row["method"]] in shown
    assert "Compared with one place that they did not choose, drawn by popularity" in shown


def test_explanations_are_shown_with_their_evidence(recommender):
    shown = evidence_markup(recommender, STEP)
    assert "No. 1: “Such &lt;img" in shown and "no source needed" in shown
    assert "2 sentences were written again and 1 sentence was left out" in shown
    assert "The first draft was not checked" in shown and "<img" not in shown
    clean = evidence_markup(recommender, STEP | {"regenerated": 0, "dropped": 0, "draft": ""})
    assert "left out" not in clean and "first draft" not in clean
    answer = Answer(likes("1"), explanation={"text": NASTY})
    assert "<img" not in explanation_card(recommender, answer, linked=True)


def test_items_without_a_title_are_shown_by_number(recommender, topk):
    row = {"rank": 1, "item": "7", "title": "", "collaborative_rank": 2, "later_rating": 1.0}
    row |= {"genres": [], "score": 0.5, "year": None}
    pair = Pair(item="7", user="1")
    shown = topk.listing(Ranking(pair.who, (), (row,)), pair)
    assert "No. 7" in shown and ">yes<" in shown and 'aria-current="true"' in shown
    nasty = topk.listing(Ranking(pair.who, (), (row | {"title": NASTY},)), pair)
    assert "<img" not in nasty and '<span class="ckf-below">No. 7</span>' in nasty
    assert "<img" not in item_list(recommender, NASTY)
    assert f"No. {TITLED[5]}" in bar(recommender, likes(TITLED[5]))


def test_what_has_a_title_is_listed_first_and_the_latest_of_it(recommender):
    shown = history_markup(recommender, likes("1", TITLED[0], UNTITLED[0], TITLED[1], UNTITLED[1]))
    places = [shown.index(f'id="rated-{item}"') for item in (TITLED[1], TITLED[0], UNTITLED[1])]
    assert places == sorted(places)
    assert "2 places without a title" in shown
    assert "No likes are known" in history_markup(recommender, likes("1"))


def test_a_new_person_with_two_places_gets_answers(predict, topk):
    pair = likes(TITLED[5], TITLED[0], TITLED[1])
    first, *_ = predict.answer(pair, "ctr", REQUEST)
    assert "Would they like it?" in first[predict.click]
    ranked = topk.rank(pair, None, 4, ANY, None, None)[topk.ranking]
    assert len(ranked.rows) == 4 and ranked.who == pair.who
    # as Gradio keeps it
    assert isinstance(hash(ranked), int)
    assert not {TITLED[0], TITLED[1]} & {row["item"] for row in ranked.rows}
    # another place of the same person asks for no other list
    again = topk.rank(pair.with_item(TITLED[6]), ranked, 4, ANY, None, None)
    assert again[topk.ranking] is ranked
    for k in (0, 51, None):
        wrong = topk.rank(pair, ranked, k, ANY, None, None)
        assert "not within 1 to 50" in wrong[topk.table] and wrong[topk.ranking] is None
    assert topk.from_address({"top": "7", "from": "1950"}) == {topk.k: 7, topk.year_from: 1950}
    for name, value in (("top", "51"), ("top", "x"), ("to", "-1"), ("genre", "<b>")):
        with pytest.raises(UserError, match=f"{name}="):
            topk.from_address({name: value})


def test_nobody_is_a_notice_and_no_more(recommender, predict, topk):
    nobody = Pair(item=TITLED[0])
    (shown,) = predict.answer(nobody, "ctr", REQUEST)
    assert "nobody is described" in shown[predict.click].lower()
    assert "nobody is described" in str(topk.rank(nobody, None, 4, ANY, None, None)).lower()
    assert "no likes yet" in bar(recommender, nobody)


def test_two_places_are_explained_side_by_side_with_their_evidence(predict, known):
    contrast = predict.contrast
    other = next(item for item in TITLED if item != known.item)
    *steps, last = contrast.answer(known, other, DATA.user_ids[0], REQUEST)
    assert "Waiting for its turn" in steps[0][contrast.shown]
    told = last[contrast.told]
    shown = contrast.settle(known, told)[contrast.shown]
    assert shown.count("<section") == 3
    assert f"through the bridges of user {DATA.user_ids[0]}" in shown
    assert shown.count("ckf-rests") == 3 and shown.count("that they like it") == 2
    for side in told.sides["sides"]:
        assert evidence_markup(predict.recommender, side["explanation"]) in shown
    (written,) = contrast.answer(Pair(item=known.item), other, "", REQUEST)
    assert "obody is described" in written[contrast.told].problem


def tab_of(block) -> str:
    """The name of the tab around a component; empty for those above the tabs."""
    while block.parent is not None:
        if isinstance(block, gr.Tab) and block.id in TABS:
            return block.id
        block = block.parent
    return ""


def test_it_speaks_of_places_and_never_of_films(recommender):
    shown = [
        str(getattr(block, name, ""))
        for block in build(recommender).blocks.values()
        if tab_of(block) in ("", "predict", "topk", "why", "python") and block.visible
        for name in ("value", "label", "placeholder", "info")
    ]
    text = visible(" ".join(shown)).lower()
    assert "place" in text
    assert not [word for word in ("film", "movie", "viewer", "★", "genre") if word in text]


def test_named_endpoints_answer_without_ratings(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    endpoints = (
        "search_items read_taste match_ratings history click rank explain contrast compare why "
        "query"
    )
    assert set(offered) == {f"/{name}" for name in endpoints.split()}
    names = [own["parameter_name"] for own in offered["/contrast"]["parameters"]]
    assert names == "user history taste profile item at other bridges_of strength".split()
    assert not any("film" in each["description"] for each in offered.values())
    *found, last = (own["item"] for own in client.predict("cafe", 3, api_name="/search_items"))
    assert len(found) == 2
    liked = [{"item": item, "rating": 5} for item in found]
    asked = {"history": liked, "item": last}
    probability = client.predict(**asked, api_name="/click")["probability"]
    assert 0 < probability < 1
    # in the order of the whole page: user, history, taste, profile, item
    same = client.predict(None, liked, None, None, last, api_name="/click")
    assert same["probability"] == probability
    ranked = client.predict(history=liked, k=3, api_name="/rank")
    assert [row["rank"] for row in ranked] == [1, 2, 3]
    told = client.submit(**asked, api_name="/explain").result(60)
    assert {"text", "sentences", "draft"} <= told.keys()
    beside = {"other": TITLED[9], "bridges_of": DATA.user_ids[0]}
    contrasted = client.submit(**asked, **beside, api_name="/contrast").result(60)
    assert contrasted["finished"] and set(contrasted["only"]) == {"this", "that"}
    this, that, bridges = contrasted["sides"]
    assert (this["side"], that["side"], bridges["side"]) == ("this", "that", "bridges")
    assert this["explanation"].keys() == told.keys()
    assert this["rating"] is None and 0 < that["probability"] < 1
    rows = client.predict(**asked, api_name="/compare")
    assert rows[0]["probability"] == pytest.approx(probability, abs=1e-3)
    assert all(row["rating"] is None for row in rows)
    effects = client.predict(**asked, api_name="/why")
    assert {row["item"] for row in effects["without"]} == set(found)
    for arguments, endpoint, said in (
        ({"user": "999", "item": "1"}, "/click", "999"),
        ({"item": "1"}, "/click", "Nobody is described"),
        ({"user": DATA.user_ids[0]}, "/click", "no item was given"),
        ({"user": ""}, "/history", "no user was given"),
        ({"item": "1", "other": "2"}, "/contrast", "Nobody is described"),
        ({"user": DATA.user_ids[0], "item": "1"}, "/contrast", "choose another place"),
    ):
        with pytest.raises(AppError, match=said):
            client.predict(**arguments, api_name=endpoint)


def test_a_checkpoint_without_ratings_is_served_where_nobody_rates(
    recommender, positive_only_workplace, monkeypatch
):
    folder = positive_only_workplace / "checkpoints" / "tiny"
    monkeypatch.setattr("ckf_demo.data.prepare.prepare", lambda *given: None)
    monkeypatch.setattr("ckf_demo.backbone.loading.prepare_backbone", lambda name: None)
    monkeypatch.setattr(Recommender, "load", lambda *given, **options: recommender)
    assert recommender.prepared.positive_only and serve.build_demo(folder, "bf16").service
    monkeypatch.setitem(vars(recommender.prepared), "positive_only", False)
    with pytest.raises(UserError, match="not trained for rating"):
        serve.build_demo(folder, "bf16")
