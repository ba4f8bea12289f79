"""The page around a recommender without weights: endpoints, the pair in the address, and what each
card shows."""

import json
import threading
from dataclasses import replace
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest
from gradio_client.exceptions import AppError
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui import pair as pairs
from ckf_demo.ui.answer import Answer, answer_steps, explanation_card, finished_answer
from ckf_demo.ui.items import item_list
from ckf_demo.ui.markup import Column, Row, spread, table
from ckf_demo.ui.model_card import results_markup
from ckf_demo.ui.moment import moment_markup, read_moment
from ckf_demo.ui.pair import Pair, bar, from_query, group_of, later_rating
from ckf_demo.ui.predict import click_card, history_markup, prompt_markup, rating_card
from ckf_demo.ui.sidebar import ANY, Sidebar, examples
from ckf_demo.ui.stops import Stops
from support.fakes import NASTY_ITEM, SPLIT_TIME, FakeRecommender

FALLBACK = Pair(item="1", user="3", at=SPLIT_TIME)
NEW = Pair(item="7", history=(("4", 5.0), ("9", 1.0)))
FAKE = FakeRecommender()
STORE, METHODS = FAKE.store, FAKE.methods


def test_exactly_the_named_endpoints_are_offered(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    endpoints = (
        "search_items read_taste match_ratings history rate click rank explain contrast compare "
        "why query".split()
    )
    assert set(offered) == {f"/{name}" for name in endpoints}
    assert "rating a person would give" in offered["/rate"]["description"]
    for name, own in (("/rate", "method"), ("/contrast", "other bridges_of")):
        names = [parameter["parameter_name"] for parameter in offered[name]["parameters"]]
        assert names == f"user history taste profile item at {own} strength".split()


def test_search_finds_films_by_part_of_a_title(client):
    found = client.predict("winter", 3, api_name="/search_items")
    assert len(found) == 3 and all("Winter" in film["title"] for film in found)
    assert set(found[0]) == {"item", "title", "year", "genres", "directors", "tags"}
    assert found[0]["directors"] == found[0]["tags"] == []  # these data say nothing of films


def test_history_is_strictly_before_the_moment(client):
    rows = client.predict(user="3", api_name="/history")
    assert len(rows) == 3 and all(row["timestamp"] < SPLIT_TIME for row in rows)
    assert client.predict(user=3, at=0, api_name="/history") == []


def test_rate_and_click_answer_for_a_known_user(client):
    rated = client.predict(user="3", item="7", api_name="/rate")
    assert set(rated["distribution"]) == {"1", "2", "3", "4", "5"}
    assert 1 <= rated["rating"] <= 5 and rated["at"] == SPLIT_TIME
    clicked = client.predict(user="3", item="7", api_name="/click")
    assert 0 <= clicked["probability"] <= 1


def test_a_new_person_is_described_by_history_taste_and_profile(client):
    person = {
        "history": [{"item": 4, "rating": 5}, {"item": "9", "rating": 1}],
        "taste": "slow crime films",
        "profile": {"age": 40, "occupation": "writer"},
    }
    assert client.predict(**person, item=7, api_name="/rate")["at"] is None
    ranked = client.predict(**person, k=5, api_name="/rank")
    assert [row["rank"] for row in ranked] == [1, 2, 3, 4, 5]
    assert not {"4", "9"} & {row["item"] for row in ranked}


def test_two_films_are_explained_side_by_side_as_the_words_come(client):
    # in the order of /explain: user, history, taste, profile, item, at
    asked = client.submit("3", None, None, None, 7, None, 8, api_name="/contrast")
    last = asked.result(60)
    this, that = last["sides"]
    assert (this["item"], that["item"]) == ("7", "8") and last["finished"]
    assert set(last["only"]) == {"this", "that"}
    assert {"text", "evidence", "sentences"} <= that["explanation"].keys()
    first = asked.outputs()[0]
    assert not first["finished"] and first["sides"][1]["explanation"] is None
    with pytest.raises(AppError, match="choose another film"):
        client.predict(user="3", item="7", api_name="/contrast")


def test_why_tells_each_films_effect(client):
    found = client.predict(user="7", item="7", api_name="/why")
    assert len(found["without"]) == found["shown"] == 12
    rated = client.predict(user="7", item="7", api_name="/rate")
    assert found["at"] == rated["at"] and found["seconds"] >= 0
    for row in found["without"]:
        assert row["effect"] == pytest.approx(found["rating"] - row["rating"])
        assert 0 <= row["probability"] <= 1 and row["title"]


def test_explanations_stream_and_end_with_their_evidence(client):
    job = client.submit(user="3", item="7", api_name="/explain")
    last = job.result(timeout=30)
    steps = job.outputs()
    assert len(steps) > 3
    assert steps[0]["text"] and "evidence" not in steps[0]
    assert last["polarity"] in ("positive", "mixed", "negative")
    assert last["evidence"][0]["title"] in last["text"]


@pytest.mark.parametrize(
    ("arguments", "endpoint", "said"),
    [
        ({"user": "999", "item": "7"}, "/rate", "user '999'"),
        ({"user": "3", "item": "999"}, "/click", "film '999'"),
        ({"user": "3"}, "/rate", "no item was given"),
        ({"item": "7"}, "/explain", "Nobody is described"),
        ({"item": "7"}, "/why", "Nobody is described"),
        ({"history": [{"item": "4", "rating": 9}], "item": "7"}, "/rate", "outside 1 to 5"),
        ({"user": "999"}, "/history", "user '999'"),
        ({"user": ""}, "/history", "no user was given"),
        ({"user": "3", "item": "7", "method": "magic"}, "/rate", "method 'magic'"),
    ],
)
def test_errors_say_what_was_given(client, arguments, endpoint, said):
    with pytest.raises(AppError, match=said) as caught:
        client.predict(**arguments, api_name=endpoint)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "pair",
    [
        *(Pair(item="7", user="3", at=at) for at in (SPLIT_TIME, SPLIT_TIME - 100_000, -86_400)),
        replace(NEW, taste="crime & “punishment”, 100 %", age=40, occupation="writer"),
        Pair(item="7", taste="westerns"),
        Pair(item="7", user="3", at=0, method="no-tokens"),
        Pair(item="7", history=(("4", 5.0),), method="collaborative"),
    ],
)
def test_a_pair_survives_the_address(fake, pair):
    params = dict(parse_qsl(pair.query()))
    assert from_query(fake.store, params, FALLBACK, fake.methods) == pair


def test_an_empty_address_is_the_fallback(fake):
    assert from_query(fake.store, {}, FALLBACK) == FALLBACK
    assert from_query(fake.store, {"item": "7"}, FALLBACK) == FALLBACK.with_item("7")


@pytest.mark.parametrize(
    "address",
    [
        *"user=999 item=999 rated=4:9 rated=4 rated=999:4 user=3&method=magic".split(),
        *(f"user=3&at={at}" for at in ("soon", "²", "9" * 12, "9" * 5000)),
        *(f"{field}={'4' * 5000}" for field in ("user", "item")),
        *(f"rated={films}" for films in (f"{'4' * 5000}:4", ",".join(["4:4"] * 1001))),
        *(f"taste=westerns&{field}" for field in ("age=0", "age=4000", "occupation=</script>")),
        f"taste={'x' * 301}",
    ],
    ids=lambda address: address[:30],
)
def test_a_broken_address_is_said(fake, address):
    with pytest.raises(UserError) as caught:
        from_query(fake.store, dict(parse_qsl(address)), FALLBACK, fake.methods)
    assert len(str(caught.value)) < 300


@given(
    st.dictionaries(
        st.sampled_from("user rated taste age occupation item at method tab".split()),
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(["3", "4:5,9:1", "40", "writer", "890000000", "-1", "no-tokens"]),
        ),
    )
)
def test_any_address_is_a_pair_that_can_be_shown_or_a_message(params):
    try:
        pair = from_query(STORE, params, FALLBACK, METHODS)
    except UserError:
        return
    assert "ckf-pair" in bar(FAKE, pair)
    assert moment_markup(STORE, pair)
    again = dict(parse_qsl(pair.query(), keep_blank_values=True))
    assert from_query(STORE, again, FALLBACK, METHODS) == pair


def test_another_method_answers_with_its_own_figures_first(fake):
    pair = replace(FALLBACK, method="no-tokens")
    answer = finished_answer(fake, pair)
    expected = fake.rate(**pair.person, item=pair.item, method="no-tokens")["rating"]
    first, *others = answer.comparison
    assert answer.rating["rating"] == first["rating"] == expected
    assert first["method"] == "no-tokens" and len(others) == 3
    assert "Answered by: Without collaborative tokens" in bar(fake, pair)


def test_figures_stand_where_a_method_writes_no_words(fake):
    answer = finished_answer(fake, replace(FALLBACK, method="collaborative"))
    assert answer.rating and answer.click and answer.finished
    assert "writes no explanations" in explanation_card(fake, answer, linked=True)


def test_a_moment_is_read_as_utc():
    assert read_moment("1970-01-01 00:00:10") == 10
    for text in ("1998-03-15", "1998-03-15T00:00:00+00:00"):
        assert read_moment(text) == 889_920_000


@given(st.text(max_size=40))
def test_what_is_no_date_is_said(text):
    try:
        assert pairs.FIRST_MOMENT <= read_moment(text) <= pairs.LAST_MOMENT
    except UserError as error:
        assert "is no date" in str(error)


def test_groups_cover_every_history_length():
    ends = {0: "0", 1: "1–3", 3: "1–3", 4: "4–10", 10: "4–10", 11: "more than 10"}
    assert {n: group_of(n) for n in ends} == ends and group_of(500) == "more than 10"


def test_the_bar_names_both_and_the_moment(fake):
    shown = bar(fake, FALLBACK)
    assert "User 3" in shown and "3 ratings" in shown and "cold start" in shown
    assert "15 March 1998" in shown
    assert "New person" in bar(fake, Pair(item="1", taste="westerns"))


def test_titles_and_words_of_people_are_escaped_everywhere(fake):
    pair = Pair(item=NASTY_ITEM, history=((NASTY_ITEM, 5.0),), taste="<script>alert(1)</script>")
    # an explanation names what it is about
    answer = finished_answer(fake, pair)
    shown = [
        bar(fake, pair),
        history_markup(fake, pair),
        explanation_card(fake, answer, linked=True),
        explanation_card(fake, answer, linked=False),
        prompt_markup(fake, fake.prompt(**pair.person, item=NASTY_ITEM)),
        item_list(fake, "Bold"),
        item_list(fake, "<b>nothing"),
    ]
    for markup in shown:
        assert "<b>" not in markup and "<script" not in markup and "&lt;" in markup


def test_table_rows_carry_their_own_id_and_escaped_cells():
    shown = table(
        [Column("Film", pick=True), Column("Score", numeric=True)],
        [Row(pick='7"', cells=["<i>", 0.5])],
        caption="Films",
        empty="none",
    )
    assert 'data-pick="7&quot;"' in shown
    assert "&lt;i&gt;" in shown and "0.50" in shown
    assert table([], [], caption="Films", empty="Choose a film first").count("Choose a film") == 1


def test_spread_is_expectation_and_standard_deviation():
    assert spread({"1": 0.5, "2": 0, "3": 0, "4": 0, "5": 0.5}) == (3.0, 2.0)


def test_rating_card_shows_every_method_and_the_truth(fake):
    pair = examples(fake)[0].pair
    answer = finished_answer(fake, pair)
    shown = rating_card(answer, later_rating(fake.store, pair))
    assert all(label in shown for label in (*fake.labels.values(), "average"))
    assert "What they gave it on" in shown
    assert f"{answer.rating['rating']:.2f}" in shown
    assert "What they gave it" not in rating_card(answer, None)
    assert "Everybody" in click_card(fake, answer)


def test_explanation_links_its_evidence_to_the_history_row(fake):
    answer = finished_answer(fake, FALLBACK)
    film = answer.explanation["evidence"][0]
    linked = explanation_card(fake, answer, linked=True)
    assert f'data-jump="rated-{film["item"]}"' in linked
    assert f'id="rated-{film["item"]}"' in history_markup(fake, FALLBACK)
    assert "data-jump" not in explanation_card(fake, answer, linked=False)


def test_empty_history_says_what_to_do(fake):
    assert "No ratings are known" in history_markup(fake, Pair(item="7", user="1", at=SPLIT_TIME))


def test_stopping_ends_the_steps_early(fake):
    stop = threading.Event()
    steps = answer_steps(fake, FALLBACK, stop)
    assert next(steps).click is not None
    stop.set()
    assert list(steps) == []


def test_a_new_generation_stops_the_one_before_and_only_that():
    stops = Stops()
    first = stops.begin("a", FALLBACK)
    other = stops.begin("b", FALLBACK)
    stops.stop("a", unless=FALLBACK)
    assert not first.is_set()
    second = stops.begin("a", FALLBACK.with_item("7"))
    assert first.is_set() and not second.is_set() and not other.is_set()
    stops.stop("a", unless=FALLBACK)
    assert second.is_set()
    stops.forget("b")
    assert other.is_set()


def test_unfinished_answers_show_that_they_are_coming(fake):
    answer = Answer(FALLBACK)
    assert "Working" in rating_card(answer, None) and "Working" in click_card(fake, answer)
    assert "comes after" in explanation_card(fake, answer, linked=True)


def test_examples_hold_a_cold_user_a_warm_one_and_a_new_person(fake):
    cold, warm, new = examples(fake)
    counts = fake.store.users().set_index("user")["n_before"]
    assert 1 <= counts[cold.pair.user] <= 3
    assert counts[warm.pair.user] > 10
    assert later_rating(fake.store, cold.pair) and later_rating(fake.store, warm.pair)
    assert new.pair.user is None and len(new.pair.history) == 3
    assert new.pair.item not in dict(new.pair.history)


def test_an_occupation_in_an_address_is_removed_where_nobody_has_one(monkeypatch):
    monkeypatch.setattr(STORE, "occupations", list)
    with pytest.raises(UserError, match="remove it"):
        from_query(STORE, {"occupation": "king"}, FALLBACK)


def test_draft_ratings_are_added_changed_and_removed():
    draft = ()
    for item, stars in (("4", "5"), ("9", "1"), ("4", "2")):
        draft = Sidebar.rerate(draft, item, stars)
    assert draft == (("4", 2.0), ("9", 1.0))
    assert Sidebar.rerate(draft, "4", None) == (("9", 1.0),)


@pytest.mark.parametrize("ages", [True, False])
@pytest.mark.parametrize("occupations", [True, False])
def test_the_sidebar_asks_for_no_profile_where_nobody_has_one(
    fresh, monkeypatch, ages, occupations
):
    data = fresh.prepared
    if not ages:
        data = replace(data, ages=np.zeros_like(data.ages))
    if not occupations:
        data = replace(data, occupations=[""] * data.n_users)
    monkeypatch.setattr(fresh, "prepared", data)
    with gr.Blocks():
        sidebar = Sidebar(fresh, examples(fresh))
    table = sidebar.user_table("", ANY, ANY, ANY)
    assert sidebar.age.visible == sidebar.new_age.visible == ages
    assert (">Age<" in table) == ("give an age" in sidebar.ask) == ages
    assert sidebar.occupation.visible == sidebar.new_occupation.visible == occupations
    assert (">Occupation<" in table) == occupations
    # a row of two hidden fields would be a gap; Gradio puts a form between
    assert sidebar.age.parent.parent.visible == (ages or occupations)
    assert sidebar.new_age.parent.parent.visible == (ages or occupations)
    assert "rate a film" in sidebar.ask and "write a sentence" in sidebar.ask


def test_an_age_is_read_or_refused():
    for given_age, read in ((None, None), (float("nan"), None), (0, None), (33.0, 33)):
        assert Sidebar.person(FALLBACK, (), "", given_age, "").age == read
    with pytest.raises(UserError, match="An age of 400 is outside 1 to 120"):
        Sidebar.person(FALLBACK, (), "", 400, "")


def test_results_show_value_interval_and_n_in_group_order(tmp_path):
    row = {"method": "ckf", "task": "ctr", "metric": "auc"}
    row |= {"value": 0.75, "low": 0.74, "high": 0.76, "n": 20000}
    rows = [{**row, "group": group} for group in ("k=10", "cold", "all", "k=3", "warm")]
    report = {"dataset": "ml-100k", "split": "test", "checkpoint": "x", "rows": rows}
    (tmp_path / "results.json").write_text(json.dumps(report))
    shown = results_markup(tmp_path)
    assert "0.750 [0.740, 0.760], n = 20,000" in shown
    places = [shown.index(f">{group}<") for group in ("all", "warm", "cold", "k=3", "k=10")]
    assert places == sorted(places)
    assert "No measured results" in results_markup(tmp_path / "none")
