"""The Why tab: sections fill up in turn, nothing is computed twice, and what cannot be is said."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ckf_demo.inference import changed_histories
from ckf_demo.ui import why as tab
from ckf_demo.ui.charts import signed
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.why import SECTIONS, Findings, WhyTab
from ckf_demo.ui.why_markup import WhyMarkup
from ckf_demo.ui.words import words_of
from support.fakes import NASTY_ITEM, SPLIT_TIME, FakeRecommender

PAIR = Pair(item="7", user="7", at=SPLIT_TIME)
SESSION = SimpleNamespace(session_hash="one")


@pytest.fixture
def made(fresh, monkeypatch) -> WhyTab:
    # every film in a pass of its own
    monkeypatch.setattr(changed_histories, "PASS", 1)
    with tab.gr.Blocks():
        return WhyTab(fresh)


def run(
    made: WhyTab, pair=PAIR, latest=None, by="rating", other="", k=10, stop_after=None
) -> tuple[dict, Findings]:
    """What every component shows after a round, and the findings; ``stop_after`` so many steps."""
    shown, found, steps = {}, latest, 0
    for section in SECTIONS:
        for update in made.answer(section, pair, found, by, other, k, SESSION):
            shown |= update
            found = update.get(made.latest, found)
            steps += 1
            if steps == stop_after:
                shown |= made.stop(found, SESSION)
    return shown, found


def test_a_section_grows_and_only_it_is_shown(made):
    found = None
    for section, box in made.boxes.items():
        steps = list(made.answer(section, PAIR, found, "rating", "", 10, SESSION))
        grown = [update for update in steps if set(update) == {box}]
        assert len(grown) >= (12 if section == "films" else 1)
        found = [update[made.latest] for update in steps if made.latest in update][-1]
        assert section in found.done


def test_the_tables_hold_the_recommenders_numbers(made, fresh):
    shown, found = run(made)
    rows = found.results["films"]["without"]
    best = max(rows, key=lambda row: abs(row["effect"]))
    assert f"{best['rating']:.2f}" in shown[made.films]
    assert signed(best["effect"]) in shown[made.films]
    assert shown[made.films].count("data-pick") == len(rows) == 12
    assert "12 films that the prompt shows (of 20 rated)" in shown[made.films]
    assert "Average bridges" in shown[made.parts] and "no task adapters" in shown[made.parts]
    row = found.results["standing"][-1]
    low, value, high = (f"{100 * row[name]:.0f}" for name in ("low", "percentile", "high"))
    assert f"{value} % ({low}–{high} %)" in shown[made.standing]
    assert f">{row['n']}<" in shown[made.standing]
    later = found.results["later"]["films"]
    assert shown[made.later].count("data-pick") == len(later) > 0
    assert f"Of {len(later)} film" in shown[made.later]
    assert found.done == set(SECTIONS)


def test_effects_are_ranked_in_the_quantity_that_is_compared():
    found = {"rating": 3.0, "probability": 0.5, "score": None, "shown": 2, "known": 2}
    found |= {"window_moves": True, "seconds": 1.0}
    found["without"] = [
        {"item": "1", "title": "One", "stars": 5.0, "rating": 2.0, "probability": 0.49},
        {"item": "2", "title": "Two", "stars": 1.0, "rating": 3.1, "probability": 0.9},
    ]
    words, film = words_of(FakeRecommender()), {"item": "3", "title": "Film"}
    by_stars, by_likes = (
        WhyMarkup(words, film, by).section("films", found, "") for by in ("rating", "probability")
    )
    assert by_stars.index("One") < by_stars.index("Two")
    assert "+1.00" in by_stars and "−0.10" in by_stars and "−40.0 pts" in by_stars
    assert "would begin at an earlier film" in by_stars
    assert by_likes.index("Two") < by_likes.index("One")


def test_what_is_known_is_not_computed_again(made, fresh):
    _, found = run(made)
    fresh.calls.clear()
    shown, again = run(made, latest=found)
    assert fresh.calls == [] and again.done == set(SECTIONS) and made.stars not in shown
    run(made, latest=found, by="probability")
    assert fresh.calls == []
    run(made, latest=found, other="3")
    assert fresh.calls == ["swap_components"]
    fresh.calls.clear()
    run(made, latest=found, k=5)
    assert fresh.calls[0] == "trace_later_likes" and "leave_one_out" not in fresh.calls
    fresh.calls.clear()
    # another film of the same person: what was liked later stays
    shown, _ = run(made, PAIR.with_item("8"), found)
    assert "leave_one_out" in fresh.calls and "trace_later_likes" not in fresh.calls
    assert "Choose a film" in shown[made.stars]


def test_a_stop_leaves_the_rest_for_later(made):
    shown, found = run(made, stop_after=4)
    assert found.done == frozenset()
    assert 0 < len(found.results["films"]["without"]) < 12
    assert "Stopped" in shown[made.films] and "Stopped" in shown[made.later]
    assert shown[made.again]["interactive"] and not shown[made.halt]["interactive"]
    # another event about the same question does not begin it again
    shown, found = run(made, latest=found)
    assert found.done == frozenset() and "Stopped" in shown[made.films]
    made.enter(SESSION)
    shown, found = run(made, latest=found)
    assert found.done == set(SECTIONS) and not shown[made.again]["interactive"]
    assert "Stopped" not in shown[made.films]


def test_a_round_that_ends_after_the_rest_was_wanted_does_not_stop_it_again(made):
    _, stopped = run(made, stop_after=4)
    late = made.answer("films", PAIR, stopped, "rating", "", 10, SESSION)
    first = next(late)
    made.enter(SESSION)
    (*_, last) = late
    assert not last[made.again]["interactive"] and last[made.halt]["interactive"]
    shown, found = run(made, latest=(first | last)[made.latest])
    assert found.done == set(SECTIONS) and "12 of 12 done" in shown[made.films]


def test_the_rest_can_be_wanted_while_the_last_step_before_the_stop_runs(made):
    films = made.answer("films", PAIR, None, "rating", "", 10, SESSION)
    found = next(films)[made.latest]
    buttons = made.stop(found, SESSION)
    assert buttons[made.again]["interactive"] and not buttons[made.halt]["interactive"]
    made.enter(SESSION)
    (*_, last) = films
    assert "films" not in last[made.latest].done and "Stopped" not in last[made.films]
    _, found = run(made, latest=last[made.latest])
    assert found.done == set(SECTIONS)


def test_an_event_that_began_before_a_section_was_found_does_not_lose_it(made):
    _, stopped = run(made, stop_after=4)
    made.enter(SESSION)
    late = made.answer("later", PAIR, stopped, "rating", "", 10, SESSION)
    next(late)
    _, found = run(made, latest=stopped)
    assert found.done == set(SECTIONS)
    # what it writes last stands
    (*_, last) = late
    assert last[made.latest].done == set(SECTIONS) and "12 of 12 done" in last[made.films]


def test_a_tab_that_was_left_goes_on_when_it_is_entered_again(made):
    films = made.answer("films", PAIR, None, "rating", "", 10, SESSION)
    found = next(films)[made.latest]
    made.leave(SESSION, unless=replace(PAIR, method="text"))
    assert len(next(films)) == 1, "the same question of another method is none"
    made.leave(SESSION)
    made.enter(SESSION)
    (*_, last) = films
    found = last[made.latest]
    assert "films" not in found.done
    shown, found = run(made, latest=found)
    assert found.done == set(SECTIONS) and "Stopped" not in shown[made.films]


def test_another_pair_is_not_stopped_with_the_one_before(made):
    _, found = run(made, stop_after=4)
    other = PAIR.with_item("8")
    (*_, last) = made.answer("parts", other, found, "rating", "", 10, SESSION)
    assert "parts" in last[made.latest].done
    (*_, last) = made.answer("parts", PAIR, found, "rating", "3", 10, SESSION)
    assert "parts" in last[made.latest].done


def test_what_is_known_is_shown_on_another_quantity(made):
    _, found = run(made)
    shown = made.show(found, "probability", SESSION)
    assert " pts</span>" in shown[made.films] and len(shown) == len(SECTIONS)
    assert made.films not in made.show(None, "probability", SESSION)


def test_other_stars_are_shown_for_a_chosen_film(made, fresh):
    last = fresh.history("7", SPLIT_TIME)[-1]
    film, stars = last["item"], last["rating"]
    shown = made.choose(PAIR, SimpleNamespace(pick=film))
    assert shown.count("<tr") == 7
    assert f"{stars:g} ★ (as it is)" in shown and "not rated" in shown
    expected = fresh.counterfactuals.with_stars(film, user="7", at=SPLIT_TIME, item="7")
    for row in expected:
        assert f"{row['rating']:.2f}" in shown
    assert "not among the films" in made.choose(PAIR, SimpleNamespace(pick="7"))
    assert "Unknown film" in made.choose(PAIR, SimpleNamespace(pick="nothing"))


def test_a_person_without_ratings_is_told_what_to_do(made):
    shown, _ = run(made, Pair(item="7", taste="quiet films"))
    assert "No rated film is known" in shown[made.films]
    assert "only for users of the data set" in shown[made.later]


def test_an_unknown_person_for_the_bridges_is_said_where_it_is_asked(made):
    shown, found = run(made, other="<b>")
    assert "&lt;b&gt;" in shown[made.parts] and "<b>" not in shown[made.parts]
    assert "Average bridges" not in shown[made.parts]
    assert found.results["films"]["without"] and found.done == set(SECTIONS)
    shown, _ = run(made, latest=found, other="3")
    assert "Bridges of user 3" in shown[made.parts]


def test_titles_are_escaped(made):
    person = Pair(item=NASTY_ITEM, history=((NASTY_ITEM, 4.0), ("2", 1.0)))
    shown, _ = run(made, person)
    shown[made.stars] = made.choose(person, SimpleNamespace(pick=NASTY_ITEM))
    for box in (made.films, made.stars, made.standing):
        assert "&lt;b&gt;" in shown[box] and "<b>" not in shown[box]
