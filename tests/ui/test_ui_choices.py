"""The page of a checkpoint whose data hold likes alone, around a tiny trained one."""

import json
from html import unescape
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from ckf_demo.data.splits import TRAIN
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving import serve
from ckf_demo.ui import choices_markup as markup
from ckf_demo.ui.app import launch
from ckf_demo.ui.choices_page import Answers, ChoicesPage, Ranked, Told, build
from ckf_demo.ui.choices_people import ChoicesSidebar, People, as_choices, new_person
from ckf_demo.ui.pair import Pair
from support.positive_only import load_positive_only
from support.synthetic import made_up_choices

DATA = made_up_choices()

REQUEST = SimpleNamespace(session_hash="somebody")
NASTY = '<img src=x onerror="alert(1)">'
TITLED = [i for i, title in zip(DATA.item_ids, DATA.titles, strict=True) if title]
UNTITLED = [i for i, title in zip(DATA.item_ids, DATA.titles, strict=True) if not title]
STEP = {
    "text": "It has oysters. Nice.",
    "sentences": [
        {
            "text": f"It has {NASTY}.",
            "evidence": [
                {"item": "1", "title": "", "text": f"Such {NASTY} oysters."},
                {"item": "4", "title": NASTY, "rating": None},
            ],
        },
        {"text": "Nice.", "evidence": []},
    ],
    "draft": f"A draft with {NASTY}.",
    "regenerated": 2,
    "dropped": 1,
    "seconds": 0.5,
}


@pytest.fixture
def recommender(positive_only_workplace) -> Recommender:
    return load_positive_only(positive_only_workplace)


@pytest.fixture
def answers(recommender) -> Answers:
    return Answers(recommender)


@pytest.fixture
def people(recommender) -> People:
    return People(recommender)


@pytest.fixture
def page(answers, people, monkeypatch) -> ChoicesPage:
    monkeypatch.setattr("ckf_demo.ui.markup.gr.Warning", lambda text: None)
    with gr.Blocks():
        return ChoicesPage(answers, people.start(), k=3)


@pytest.fixture
def client(recommender):
    demo = build(recommender)
    launch(demo)
    yield Client(demo.local_url, verbose=False)
    demo.close()


# --- whom and what ------------------------------------------------------------------------------


def test_it_begins_with_somebody_who_wrote_about_something_later(people):
    pair = people.start()
    user, item = DATA.user_ids.index(pair.user), DATA.item_ids.index(pair.item)
    (row,) = [r for r in DATA.texts if DATA.user[r] == user and DATA.item[r] == item]
    assert DATA.split[row] != TRAIN and DATA.titles[item]
    assert DATA.timestamp[row] >= pair.at
    assert f'data-pick="{pair.user}"' in people.listing("", "place")


@pytest.mark.parametrize("user", ["999", "", "  ", NASTY])
def test_a_stranger_is_an_error_that_says_what_to_do(people, user):
    with pytest.raises(UserError, match="choose one from the list"):
        people.known(user)
    assert "<img" not in people.listing(user, "place")


def test_users_are_found_by_part_of_their_id(people):
    listed = people.listing("7", "place")
    assert 'data-pick="17"' in listed and 'data-pick="18"' not in listed
    assert "try a shorter part" in people.listing("nobody", "place")


def test_who_wrote_nothing_later_is_asked_about_what_is_chosen(people):
    user = people.start().user
    people._explained.clear()
    assert people.known(user, TITLED[3]).item == TITLED[3]
    assert people.known(user).item == DATA.item_ids[0]
    assert people.start().user in DATA.user_ids


def test_a_new_person_is_made_of_what_they_like(recommender, people):
    with gr.Blocks():
        sidebar = ChoicesSidebar(recommender, people, "place")
    draft = sidebar.changed((), TITLED[0], None)
    draft = sidebar.changed(draft, TITLED[1], None)
    assert draft == (TITLED[0], TITLED[1])
    assert sidebar.changed(draft, TITLED[0], "1") == (TITLED[1],)
    assert "They like 2 places" in sidebar.liked_items(draft)
    assert "Remove" in sidebar.found_items("Cafe 0", draft)
    assert "shorter part" in sidebar.found_items("zebra", draft)
    with pytest.raises(UserError):
        sidebar.changed(draft, "nothing", None)


def test_an_address_holds_likes_alone(people):
    rated = Pair(item="1", history=((TITLED[0], 2.0),), taste="oysters", age=3, method="no-tokens")
    assert as_choices(rated) == new_person(Pair(item="1"), (TITLED[0],))
    known = people.start()
    assert as_choices(known) == known


# --- what is shown ------------------------------------------------------------------------------


def test_every_method_says_how_probable_it_is(answers, people):
    pair = people.start()
    shown = answers.chances(pair)
    (figure,) = json.loads(unescape(shown.split('data-figure="')[1].split('"')[0]))["data"]
    methods = answers.recommender.methods
    assert len(figure["x"]) == len(methods) == 3
    for probability, method in zip(figure["x"], methods, strict=True):
        own = answers.recommender.click(user=pair.user, item=pair.item, method=method)
        assert probability == pytest.approx(own["probability"], abs=1e-3)
        assert answers.recommender.labels[method] in shown
    assert "one place that they did not choose, popular ones drawn more often" in shown
    assert "not comparable with a rating" in shown


def test_explanations_are_shown_with_what_they_rest_on():
    shown = markup.words_card(STEP, "1", "place")
    assert "“Such &lt;img" in shown and "(somebody about No. 1)" in shown
    assert "a place of their history that the same people chose" in shown
    assert "2 sentences were written once more and 1 sentence was left out" in shown
    assert "<img" not in shown + markup.draft_markup(STEP)
    assert "not held against anything" in markup.draft_markup(STEP)
    of_another = markup.words_card(STEP, "2", "place")
    assert "(they themselves about No. 1)" in of_another
    clean = STEP | {"regenerated": 0, "dropped": 0}
    assert "none was left out" in markup.words_card(clean, "1", "place")
    assert "<img" not in markup.words_card({"text": NASTY}, "1", "place")


def test_items_without_a_title_are_shown_by_number():
    row = {"rank": 1, "item": "7", "title": "", "collaborative_rank": 2, "later_rating": 1.0}
    shown = markup.next_table([row], "7", "place")
    assert "No. 7" in shown and "chosen later" in shown and 'aria-current="true"' in shown
    nasty = row | {"title": NASTY}
    listed = [
        markup.next_table([nasty], "1", "place"),
        markup.found_table([nasty | {"n_ratings": 3}], "x", "place"),
        markup.pick_list([nasty], (), NASTY),
        markup.found_table([], NASTY, "place"),
    ]
    assert not any("<img" in each for each in listed)


def test_what_they_chose_is_listed_latest_first(recommender):
    draft = (TITLED[0], UNTITLED[0], TITLED[1], UNTITLED[1])
    shown = markup.before_markup(recommender.store, new_person(Pair(item="1"), draft), "place")
    titles = [DATA.titles[DATA.item_ids.index(item)] for item in (TITLED[1], TITLED[0])]
    assert shown.index(titles[0]) < shown.index(titles[1])
    assert "2 places without a title counted as well" in shown
    assert "No place with a title" in markup.before_markup(
        recommender.store, Pair(item="1"), "place"
    )


def test_a_new_person_with_two_places_gets_answers(page):
    pair = new_person(Pair(item=TITLED[5]), (TITLED[0], TITLED[1]))
    first, second = page.answer(pair, page.ranked.value, 4)
    assert "Would they like it?" in first[page.chances]
    ranked = second[page.ranked]
    assert len(ranked.rows) == 4 and ranked.who == pair.who
    assert not {TITLED[0], TITLED[1]} & {row["item"] for row in ranked.rows}
    # another place of the same person asks for no other list
    assert page.rank(pair.with_item(TITLED[6]), ranked, 4)[page.ranked] is ranked


def test_nobody_is_a_notice_and_no_more(page):
    nobody = Pair(item=TITLED[0])
    for shown in page.answer(nobody, page.ranked.value, 4):
        (message,) = shown.values()
        assert "Nobody is described yet" in message and "ckf-problem" in message
    (written,) = page.write(nobody, REQUEST)
    told = written[page.told]
    assert "Nobody is described yet" in page.settle(nobody, told)[page.words]
    assert "0 places known" in page.show(nobody, page.ranked.value, None, REQUEST)[page.bar]


def test_an_explanation_belongs_to_its_pair(page, people):
    pair = people.start()
    *steps, last = page.write(pair, REQUEST)
    told = last[page.told]
    assert steps and told.pair == pair and "sentences" in told.step
    shown = page.settle(pair, told)
    assert "ckf-time" in shown[page.words] and not shown[page.stop]["interactive"]
    if told.step["draft"]:
        assert "not held against anything" in shown[page.draft]
    elsewhere = page.settle(pair.with_item(TITLED[1]), told)
    assert "writes it" in elsewhere[page.words]


def test_another_pair_stops_what_is_written(page, people):
    pair = people.start()
    written = page.write(pair, REQUEST)
    next(written)
    page.show(pair.with_item(TITLED[1]), page.ranked.value, None, REQUEST)
    *_, last = written
    assert len(last[page.told].step["draft"]) < 40


def test_two_places_are_explained_side_by_side_with_what_they_rest_on(page, people):
    pair, contrast = people.start(), page.contrast
    other = next(item for item in TITLED if item != pair.item)
    *steps, last = contrast.answer(pair, other, DATA.user_ids[0], REQUEST)
    assert "Being written" in steps[0][contrast.shown]
    told = last[contrast.told]
    shown = contrast.settle(pair, told)[contrast.shown]
    assert shown.count("<section") == 3
    assert f"through the bridges of user {DATA.user_ids[0]}" in shown
    assert shown.count("ckf-time") == 3 and shown.count("that they like it") == 2
    for side in told.found["sides"]:
        own = markup.said_markup(side["explanation"], side["item"], "place")
        assert own in shown
        assert own in markup.words_card(side["explanation"], side["item"], "place")
    (written,) = contrast.answer(Pair(item=TITLED[0]), other, "", REQUEST)
    assert "Nobody is described yet" in written[contrast.told].found["problem"]


# --- the whole page -----------------------------------------------------------------------------


def test_it_speaks_of_places_and_never_of_films(recommender):
    config = build(recommender).get_config_file()
    shown = [
        str(props.get(key, ""))
        for props in (part["props"] for part in config["components"])
        for key in ("value", "label", "placeholder", "info")
    ]
    text = " ".join(shown).replace("ckf-films", "").lower()
    assert "place" in text
    assert "film" not in text and "movie" not in text and "viewer" not in text
    assert "★" not in text and "genre" not in text


def test_named_endpoints_answer_without_ratings(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert set(offered) == {
        "/search_items",
        "/history",
        "/click",
        "/rank",
        "/explain",
        "/contrast",
        "/query",
    }
    names = [own["parameter_name"] for own in offered["/contrast"]["parameters"]]
    assert names == "user history taste profile item at other bridges_of".split()
    assert not any("film" in each["description"] for each in offered.values())
    found = client.predict("cafe", 3, api_name="/search_items")
    assert len(found) == 3
    liked = [{"item": own["item"], "rating": 5} for own in found[:2]]
    clicked = client.predict(history=liked, item=found[2]["item"], api_name="/click")
    assert 0 < clicked["probability"] < 1
    # in the order of the whole page: user, history, taste, profile, item
    same = client.predict(None, liked, None, None, found[2]["item"], api_name="/click")
    assert same["probability"] == clicked["probability"]
    ranked = client.predict(history=liked, k=3, api_name="/rank")
    assert [row["rank"] for row in ranked] == [1, 2, 3]
    told = client.submit(history=liked, item=found[2]["item"], api_name="/explain").result(60)
    assert {"text", "sentences", "draft"} <= told.keys()
    held = {"history": liked, "item": found[2]["item"], "bridges_of": DATA.user_ids[0]}
    last = client.submit(**held, other=TITLED[9], api_name="/contrast").result(60)
    assert last["finished"] and set(last["only"]) == {"this", "that"}
    assert [own["side"] for own in last["sides"]] == ["this", "that", "bridges"]
    assert last["sides"][0]["explanation"].keys() == told.keys()
    assert last["sides"][0]["rating"] is None and 0 < last["sides"][1]["probability"] < 1
    for arguments, endpoint, said in (
        ({"user": "999", "item": "1"}, "/click", "999"),
        ({"item": "1"}, "/click", "nobody was described"),
        ({"user": DATA.user_ids[0]}, "/click", "no item was given"),
        ({"user": ""}, "/history", "no user was given"),
        ({"item": "1", "other": "2"}, "/contrast", "nobody was described"),
        ({"user": DATA.user_ids[0], "item": "1"}, "/contrast", "choose another place"),
    ):
        with pytest.raises(AppError, match=said):
            client.predict(**arguments, api_name=endpoint)


def test_its_health_is_told(recommender):
    demo = build(recommender)
    status, said = demo.service.health()
    assert (status, said["checkpoint"]) == (200, "tiny")
    assert demo.service.route.path == "/healthz"


# --- serving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive_only", [True, False])
def test_a_checkpoint_without_ratings_is_served_where_nobody_rates(
    recommender,
    positive_only_workplace,
    monkeypatch,
    positive_only,
):
    folder = positive_only_workplace / "checkpoints" / "tiny"
    monkeypatch.setattr("ckf_demo.data.prepare.prepare", lambda *given: None)
    monkeypatch.setattr("ckf_demo.backbone.loading.prepare_backbone", lambda name: None)
    monkeypatch.setitem(vars(recommender.prepared), "positive_only", positive_only)
    monkeypatch.setattr(
        "ckf_demo.recommender.Recommender.load", lambda *given, **options: recommender
    )
    if positive_only:
        assert serve.build_demo(folder, "bf16").service
    else:
        with pytest.raises(UserError, match="not trained for rating"):
            serve.build_demo(folder, "bf16")


def test_latest_answers_are_told_apart():
    assert Ranked(Pair(item=""), 3, ()) == Ranked(Pair(item=""), 3, ({},))
    assert Told(Pair(item="1"), {}) != Told(Pair(item="2"), {})
