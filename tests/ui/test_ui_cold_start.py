"""The Cold start tab: replays as they grow, k in the address, groups of people and of films, and
what is said when something is missing."""

import json
import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui import cold_start as tab
from ckf_demo.ui.charts import signed
from ckf_demo.ui.cold_start import ColdStartTab, Latest
from ckf_demo.ui.pair import Pair
from support.fakes import NASTY_ITEM

REQUEST = SimpleNamespace(session_hash="somebody")
PICKS = Pair(item="7", history=(("1", 5.0), ("2", 2.0), ("3", 4.0)))
ANYBODY = [tab.ANY] * 4 + [30, ""]
KNOWN = Pair(item="7", user="8")


@pytest.fixture
def made(fresh, monkeypatch, empty_cache) -> ColdStartTab:
    monkeypatch.setattr(tab, "BETWEEN", 0.0)
    monkeypatch.setattr("ckf_demo.ui.markup.gr.Warning", lambda text: None)
    with tab.gr.Blocks():
        return ColdStartTab(fresh)


def replayed(made: ColdStartTab, pair=KNOWN, latest=None, question="rating", k=2) -> tuple:
    """What the panels show step by step, and the replay at the end."""
    updates = list(made.replay(pair, latest, question, k, 10, 5, REQUEST))
    shown = [update[made.shown] for update in updates if made.shown in update]
    after = [update[made.after] for update in updates if made.after in update]
    return shown, after, updates[-1].get(made.latest)


def figures(shown: str) -> list[dict]:
    return [json.loads(unescape(text)) for text in re.findall(r'data-lines="([^"]*)"', shown)]


def test_a_replay_grows_and_ends_with_errors_and_bridge(made):
    shown, after, latest = replayed(made)
    # a replay is told by what was asked
    assert latest.finished and latest == Latest(latest.replay)
    assert not Latest(latest.replay).finished
    assert len(figures(shown[1])) == 3  # the first step: nothing of the targets yet
    film, error, bridge = figures(shown[-1])
    most = len(latest.replay.added)
    assert [point[0] for point in bridge["series"][0]["points"]] == list(range(most + 1))
    assert [len(series["points"]) for series in error["series"]] == [most + 1] * 3
    assert film["truth"] is not None and film["k"] == 2
    assert "n = 5 later films" in shown[-1]
    assert "after the first 2 ratings" in after[-1]


def test_lines_end_where_the_film_was_rated(made):
    shown, _, latest = replayed(made)
    asked = latest.replay
    assert asked.truth.item == "7" and asked.until < len(asked.added)
    for series in figures(shown[-1])[0]["series"]:
        assert max(point[0] for point in series["points"]) == asked.until
    assert f"as number {asked.until + 1}" in shown[-1]


def test_every_added_film_is_named_with_its_effect(made):
    shown, _, _ = replayed(made, PICKS)
    own = {n: value for n, value, *_ in figures(shown[-1])[0]["series"][0]["points"]}
    for n, (item, _) in enumerate(PICKS.history, start=1):
        row = re.search(rf'<tr id="replay-{n}" data-pick="{item}">.*?</tr>', shown[-1])[0]
        assert signed(own[n] - own[n - 1]) in row


def test_picks_have_no_later_films_and_no_truth(made):
    shown, after, latest = replayed(made, PICKS)
    assert latest.finished and latest.replay.truth is None
    assert len(figures(shown[-1])) == 2 and "3 picks" in shown[-1]
    assert after[-1] == ""


def test_the_same_replay_is_not_asked_twice(made, fresh):
    _, _, latest = replayed(made)
    fresh.calls.clear()
    shown, _, _ = replayed(made, latest=latest, question="ctr", k=4)
    assert fresh.calls == [] and len(shown) == 1
    assert "Log loss" in shown[0] and figures(shown[0])[0]["percent"]
    assert "after the first 4 ratings" in made.move(4, latest, "rating")


def test_another_person_stops_the_replay(made):
    growing = made.replay(KNOWN, None, "rating", 2, 10, 5, REQUEST)
    for _ in range(4):
        next(growing)
    made.stops.stop("somebody", unless=PICKS)
    (last,) = list(growing)
    assert "Stopped" in last[made.shown] and not isinstance(last[made.latest], Latest)


def test_training_rows_are_owned_up_to(made):
    assert "are in the training part" in replayed(made)[0][-1]
    assert "training part" not in replayed(made, PICKS)[0][-1]


def test_titles_are_escaped(made):
    shown, _, _ = replayed(made, Pair(item=NASTY_ITEM, history=((NASTY_ITEM, 4.0), ("1", 2.0))))
    assert "<b>Bold" not in shown[-1] and "&lt;b&gt;Bold" in shown[-1]


@pytest.mark.parametrize("text", ["-1", "41", "1e1", "<b>", "٣"])
def test_a_hostile_k_in_the_address_is_an_error_that_says_so(made, text):
    with pytest.raises(UserError, match="0 to 40"):
        made.k_of(text)
    assert made.k_of("7") == 7


def people(made: ColdStartTab, *, compare=True, methods=("ckf",), first=(), second=()) -> list:
    values = [*(first or ANYBODY), *(second or ANYBODY)]
    return list(made.people.run(REQUEST, methods, 2, 4, "mae", None, compare, *values))


def test_results_appear_while_the_rest_is_computed(made):
    updates = people(made)
    results = [u[made.people.result] for u in updates if u.get(made.people.result)]
    counts = [len(figures(shown)[0]["series"][0]["points"]) for shown in results]
    assert counts[0] == 1 and counts[-1] == 5 and counts == sorted(counts)
    assert "4 rows of 32 in the validation part" in results[0]
    outcome = updates[-1][made.people.outcome]
    assert {row["n"] for row in outcome.rows if row["metric"] == "mae"} == {4}
    assert len({row["cohort"] for row in outcome.rows}) == 2


def test_results_are_files(made):
    updates = people(made, compare=False)
    files = [updates[-1][b]["value"] for b in made.people.downloads.values()]
    csv, parquet = (value if isinstance(value, str) else value["path"] for value in files)
    one, other = pd.read_csv(csv), pd.read_parquet(parquet)
    assert len(one) == len(other) > 0
    assert list(one["value"]) == pytest.approx(list(other["value"]), nan_ok=True)
    # the next measurement removes the files of this one
    folder = updates[-1][made.people.file]
    list(made.items.run(REQUEST, ["ckf"], 2, 4, "mae", folder))
    assert not Path(folder).exists()


def test_a_stopped_measurement_keeps_what_is_complete(made):
    growing = made.people.run(REQUEST, ["ckf"], 2, 6, "mae", None, False, *ANYBODY, *ANYBODY)
    for update in growing:
        if update.get(made.people.outcome):
            made.people.stops.halt(REQUEST)
            break
    *_, last = growing
    assert "Stopped after" in last[made.people.progress]
    assert {row["group"] for row in last[made.people.outcome].rows} == {"k=0"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"first": [*ANYBODY[:5], "SELECT id FROM users WHERE false"]}, "none of them has ratings"),
        ({"first": [*ANYBODY[:5], "DROP TABLE users"]}, "SELECT"),
        ({"first": [*ANYBODY[:5], "SELECT '<b>' AS x"]}, "no user id"),
        ({"methods": []}, "No method is chosen"),
    ],
)
def test_a_wrong_cohort_and_no_method_are_messages(made, wrong, said):
    (update,) = people(made, **wrong)
    assert said in update[made.people.progress] and "<b>" not in update[made.people.progress]
    assert update[made.people.file] is None


def test_films_by_their_ratings_have_counts(made):
    *_, last = made.items.run(REQUEST, ["ckf", "collaborative"], 2, 4, "rmse", None)
    outcome = last[made.items.outcome]
    rows = [row for row in outcome.rows if row["metric"] == "rmse"]
    assert rows and all(row["n"] and row["items"] and row["people"] for row in rows)
    assert "training ratings" in outcome.facts[0]
    shown = made.items.show(outcome, "auc")
    assert "AUC" in shown and made.items.show(None, "auc") == ""
