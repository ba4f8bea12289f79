"""The Results tab: what is read, in which order it is shown, what counts as an ablation, and what
is said when something is missing."""

import asyncio
import json
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui import results as tab
from ckf_demo.ui import stored_results
from ckf_demo.ui.app import build
from ckf_demo.ui.group_results import OTHERS, groups_markup
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.results import ResultsTab
from ckf_demo.ui.stored_results import Measured, Results, View, read_all, read_results, verdict
from ckf_demo.ui.word_results import sentences_markup
from support.fakes import FakeRecommender
from support.paths import ROOT
from support.words import TEXT, WITH, WITHOUT, words_results

AUC = View("ctr", "auc", "all")
RMSE = View("rating", "rmse", "all")


def measured(method, value, task="ctr", metric="auc", group="all", half=0.01, n=1200) -> dict:
    low, high = (None, None) if value is None else (value - half, value + half)
    row = {"method": method, "task": task, "metric": metric, "group": group}
    return row | {"value": value, "low": low, "high": high, "n": n}


def rmse(method, value, **others) -> dict:
    return measured(method, value, "rating", "rmse", **others)


PRIOR = "ckf's collaborative prior"
LEVELS = {"EASE": 0.71, "popularity": None, "ckf": 0.75, PRIOR: 0.74}
ROWS = [
    *(measured(*level) for level in LEVELS.items()),
    measured("no-bridge", 0.70),
    measured("text-only", 0.65),
    measured("ckf", 0.66, group="k=3"),
    measured("ckf", 0.61, group="cold"),
    measured("ckf", 0.64, metric="uauc", n=90),
    measured("ckf - no-bridge", 0.05),
    measured("ckf - text-only", 0.10),
    measured(f"ckf - {PRIOR}", 0.005),
    measured("ckf - EASE", 0.04),
    measured("ckf's language model alone - text-only", 0.08),
    rmse("EASE", 0.95),
    rmse("item mean", 1.02),
    rmse("ckf", 0.92),
    rmse("ckf - item mean", -0.10),
    rmse("ckf - EASE", -0.03, half=0.04),
]
ERRORS = [
    {"task": "ctr", "user": 3, "item": "7", "label": 1.0, "score": 0.2, "prior": 0.4},
    {"task": "ctr", "user": "16", "item": "<i>", "label": 0.0, "score": 0.93, "prior": None},
    {"task": "rating", "user": "3", "item": "4", "label": 1.0, "score": 4.456, "prior": 3.5},
]


def write(folder: Path, name: str, rows=ROWS, errors=ERRORS, **fields) -> Path:
    """The folder of a checkpoint with results in it."""
    report = {"dataset": "made-up", "split": "valid", "checkpoint": f"checkpoints/{name}"}
    report |= {"rows": rows, "errors": errors} | fields
    path = folder / name / "results.json"
    path.parent.mkdir()
    path.write_text(json.dumps(report))
    return path.parent


def written(folder: Path, **fields) -> Results:
    """Those results as they are read."""
    return read_results(write(folder, "here", **fields) / "results.json")


@pytest.fixture
def results(tmp_path) -> Results:
    return written(tmp_path)


def shown_tab(checkpoint: Path) -> ResultsTab:
    with gr.Blocks():
        return ResultsTab(FakeRecommender(checkpoint=checkpoint))


def names(rows) -> list[str]:
    return [row.method for row in rows]


def test_a_missing_file_is_said_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(UserError, match="none/results.json is missing.*ckf evaluate") as caught:
        read_results(tmp_path / "none" / "results.json")
    assert str(tmp_path.parent) not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset": "x"}', '{"rows": [{"value": "much"}]}'])
def test_a_damaged_file_is_said_and_the_others_are_shown(tmp_path, text):
    write(tmp_path, "good")
    bad = write(tmp_path, "bad")
    (bad / "results.json").write_text(text)
    found, problems = read_all(bad)
    assert list(found) == ["good"]
    assert len(problems) == 1 and "bad/results.json is damaged" in problems[0]
    assert shown_tab(bad).source.value == "good"


def test_nothing_measured_at_all_hides_the_controls(tmp_path):
    empty = shown_tab(tmp_path / "none")
    none = empty.reselect(Pair(item="1", user="3"), None)
    assert empty.figures.value == empty.errors.value == none == ""


def test_the_served_checkpoint_comes_first_and_same_names_are_told_apart(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", split="test")
    assert shown_tab(write(tmp_path, "c")).source.choices == [
        ("made-up, validation part (c)", "c"),
        ("made-up, validation part (a)", "a"),
        ("made-up, test part", "b"),
    ]


def test_results_without_errors_or_differences_are_shown(tmp_path):
    path = write(tmp_path, "old", rows=[measured("ckf", 0.75)]) / "results.json"
    report = json.loads(path.read_text())
    del report["errors"]
    path.write_text(json.dumps(report))
    results = read_results(path)
    assert results.own is None
    assert "0.750" in tab.levels_markup(results, AUC)
    for kind in tab.COMPARISONS:
        assert tab.differences_markup(results, AUC, kind) == ""


def test_the_best_method_is_on_top_whichever_direction_is_better(results):
    assert names(results.chosen(AUC, "value"))[:3] == ["ckf", PRIOR, "EASE"]
    assert names(results.chosen(RMSE, "value")) == ["ckf", "EASE", "item mean"]
    assert "lower is better" in tab.levels_markup(results, RMSE)


def test_an_undefined_value_is_last_in_the_table_and_not_in_the_plot(results):
    assert names(results.chosen(AUC, "value"))[-1] == "popularity"
    shown = tab.levels_markup(results, AUC)
    assert ">popularity<" in shown and "Best of 5" in shown and "higher is better" in shown
    assert "popularity" not in shown.split('data-dots="')[1].split('"')[0]


def test_differences_leave_ablations_out_and_follow_the_strength_of_the_other(results):
    assert results.own == "ckf"
    assert names(results.chosen(AUC, "against")) == [f"ckf - {PRIOR}", "ckf - EASE"]
    assert names(results.chosen(RMSE, "against")) == ["ckf - EASE", "ckf - item mean"]


def test_ablations_are_neither_baselines_nor_own_variants_and_what_is_worth_most_leads(results):
    assert results.ablations == {"no-bridge", "text-only"}
    assert names(results.chosen(AUC, "ablation")) == ["ckf - text-only", "ckf - no-bridge"]
    assert "What each part is worth" in tab.differences_markup(results, AUC, "ablation")
    assert tab.differences_markup(results, RMSE, "ablation") == ""


@pytest.mark.parametrize(
    "other",
    ["a blend of all", "collm + biased MF", "ckf, seed-1", "prompt4nr", "nearest in history"],
)
def test_another_method_is_compared_and_is_no_part_of_the_own_one(tmp_path, other):
    rows = [measured("ckf", 0.75), measured(other, 0.7), measured(f"ckf - {other}", 0.05)]
    results = written(tmp_path, rows=rows)
    assert results.ablations == set()
    assert names(results.chosen(AUC, "against")) == [f"ckf - {other}"]


def test_what_is_measured_between_two_others_says_which_is_better_not_that_a_part_helps(results):
    assert names(results.chosen(AUC, "pair")) == ["ckf's language model alone - text-only"]
    shown = tab.differences_markup(results, AUC, "pair")
    assert "the first is better" in shown and "helps" not in shown
    assert tab.differences_markup(results, RMSE, "pair") == ""


def test_a_verdict_needs_an_interval_without_zero():
    def verdicts(value: float | None, half: float = 0.01) -> list[str]:
        row = Measured(**measured("ckf - EASE", value, half=half))
        return [verdict(row, lower_is_better) for lower_is_better in (True, False)]

    assert verdicts(-0.10) == ["better", "worse"]
    assert verdicts(0.10) == ["worse", "better"]
    assert verdicts(-0.03, 0.04) == verdicts(None) == ["not told apart"] * 2


def test_intervals_that_hold_zero_have_another_shape(results):
    shown = tab.differences_markup(results, RMSE, "against")
    rows = json.loads(unescape(shown.split('data-dots="')[1].split('"')[0]))["rows"]
    marks = [(row["label"], row["mark"]) for row in rows]
    assert marks == [("EASE", "unsure"), ("item mean", "sure")]
    assert "In 1 of 2 comparisons ckf is better, in 0 ckf is worse; 1 are not told apart" in shown
    assert "−0.1000" in shown and "[−0.1100, −0.0900]" in shown and "1,200" in shown


def test_published_figures_stand_beside_ours_and_say_their_part(tmp_path):
    published = stored_results.read_published()["collm-ml-1m"]
    assert "not re-run here" in published["note"] and len(published["rows"]) == 14
    ours = written(tmp_path, dataset="collm-ml-1m")
    shown = tab.published_markup(ours, AUC, published)
    assert "As published, on the test part" in shown
    assert "Measured here, on the validation part" in shown and "do not compare" in shown
    assert "0.7354" in shown and "0.7500" in shown
    assert tab.published_markup(ours, RMSE, published) == ""
    assert tab.published_markup(ours, AUC, None) == ""


def test_errors_are_worst_first_in_the_units_of_their_task(results):
    shown = tab.errors_markup(results, "ctr", {"7": "Quiet Winter (1942)"}, served=True)
    assert shown.index("&lt;i&gt;") < shown.index("Quiet Winter (1942)")
    assert "<i>" not in shown
    assert "not liked" in shown and "93 %" in shown and "20 %" in shown and "40 %" in shown
    rated = tab.errors_markup(results, "rating", {}, served=False)
    assert "1&nbsp;★" in rated and "4.46&nbsp;★" in rated and "data-pick" not in rated
    assert tab.errors_markup(results, "ranking", {}, served=True) == ""


def test_choosing_an_error_sets_user_and_film(tmp_path):
    shown = shown_tab(write(tmp_path, "here"))
    current = Pair(item="1", taste="westerns")
    chosen = shown.choose(current, SimpleNamespace(pick="user=3&item=7"))
    assert (chosen.user, chosen.item) == ("3", "7")
    assert chosen.at == shown.store.default_at("3")
    assert shown.choose(current, SimpleNamespace(pick="user=16&item=%3Ci%3E")) == current
    assert 'aria-current="true"' not in shown.reselect(current, ("here", "ctr"))
    assert 'aria-current="true"' in shown.reselect(chosen, ("here", "ctr"))


def test_controls_offer_what_was_measured_everything_first(results):
    assert results.tasks() == ["rating", "ctr"]
    assert results.metrics("ctr") == ["auc", "uauc"]
    assert results.groups("ctr", "auc") == ["all", "cold", "k=3"]


def test_a_choice_that_was_not_measured_falls_back_to_the_first_that_was(tmp_path):
    shown = shown_tab(write(tmp_path, "here"))
    for asked, taken in (("ctr rmse", ("auc", "k=3")), ("rating auc", ("rmse", "all"))):
        update = shown.show(Pair(item="1"), "here", *asked.split(), "k=3")
        assert (update[shown.metric]["value"], update[shown.group]["value"]) == taken
        assert ("0.660" in update[shown.figures]) == (taken == ("auc", "k=3"))
    assert set(update) == {*shown.controls[1:], shown.figures, shown.errors, shown.shown}
    update = shown.show(Pair(item="1"), "elsewhere", "ctr", "auc", "all")
    assert update[shown.shown] == ("here", "ctr")


def test_a_choice_that_is_reported_twice_is_no_error(tmp_path, empty_cache):
    demo = build(FakeRecommender(checkpoint=write(tmp_path, "here")))
    events = demo.fns.values()
    (shows,) = [e for e in events if any(box.elem_id == "measured" for box in e.outputs)]
    # The second report holds the metric of before, which the first has taken off the list.
    state, chosen = SessionState(demo), [None, "here", "ctr", "rmse", "all"]
    for _ in range(2):
        answer = asyncio.run(demo.process_api(shows, chosen, state=state))
        assert answer["data"][1]["value"] == "auc"


def test_names_from_data_are_escaped(tmp_path):
    rows = [
        measured("<b>ckf</b>", 0.7),
        measured("<b>ckf</b> - <u>x</u>", 0.1),
        measured("<b>ckf</b> - <u>y</u>", 0.1),
        measured("<u>x</u> - <u>y</u>", 0.1),
    ]
    results = written(tmp_path, rows=rows, dataset="<s>")
    shown = (
        tab.levels_markup(results, AUC)
        + tab.differences_markup(results, AUC, "ablation")
        + tab.differences_markup(results, AUC, "pair")
        + tab.errors_markup(results, "ctr", {}, served=False)
    )
    assert not [mark for mark in ("<b>", "<u>", "<s>") if mark in shown]


def words_written(folder: Path) -> Path:
    """Results of words beside a checkpoint's own."""
    path = write(folder, "here") / "words.json"
    path.write_text(json.dumps(words_results()))
    return path


def lines_of(shown: str) -> dict:
    return json.loads(unescape(shown.split('data-lines="')[1].split('"')[0]))


def test_results_of_words_are_offered_and_begin_with_sentences(tmp_path):
    shown = shown_tab(words_written(tmp_path).parent)
    source = "here: taste sentences"
    assert ("made-up, validation part: taste sentences", source) in shown.source.choices
    update = shown.show(Pair(item="1"), source, "", "", "")
    assert update[shown.shown] == (source, "control")
    assert update[shown.errors] == ""
    for part in ("Best of 2: with words", "by kind of sentence", "Sentence by sentence"):
        assert part in update[shown.figures]
    newcomers = shown.show(Pair(item="1"), source, "ranking", "ndcg@10", "words")[shown.figures]
    assert "with words against each other method" in newcomers
    assert "n counts sentences of newcomers" in newcomers and "data-lines" not in newcomers


def test_shares_by_kind_are_points_without_order(tmp_path):
    words = read_results(words_written(tmp_path))
    shown = groups_markup(words, View("control", "fits", "all"))
    plot = lines_of(shown)
    assert plot["categories"] and plot["ticktext"] == ["genres", "years"]
    own, text = plot["series"]
    assert (own["name"], text["name"]) == (WITH, TEXT)
    assert (own["style"], text["style"]) == (0, 1) and not (own["open"] or text["open"])
    assert [point[:2] for point in own["points"]] == [[0, 0.8], [1, 1.0]]
    assert own["points"][0][2:4] == [pytest.approx(0.7), pytest.approx(0.9)]
    assert "[0.700, 0.900]" in shown and "Intervals are over the sentences of a kind" in shown


def test_six_methods_share_three_colours_filled_and_hollow(tmp_path):
    rows = [
        measured(name, 0.5, "control", "fits", group, n=9)
        for name in "abcdef"
        for group in ("genre", "years")
    ]
    sentences = words_results()["sentences"]
    words = written(tmp_path, rows=rows, sentences=sentences)
    series = lines_of(groups_markup(words, View("control", "fits", "all")))["series"]
    looks = [(line["name"], line["style"], line["open"]) for line in series]
    assert looks == [(n, k // 2, k % 2 == 1) for k, n in enumerate("fedcba")]


def test_likes_with_and_without_words_lie_at_their_number_of_ratings(tmp_path):
    words = read_results(words_written(tmp_path))
    shown = groups_markup(words, View("ctr", "auc", "k=0"))
    plot = lines_of(shown)
    assert plot["ticktext"] == ["0", "1", "3"] and not plot["categories"]
    values = {line["name"]: [point[1] for point in line["points"]] for line in plot["series"]}
    assert values == {WITH: [0.7, 0.72, 0.74], WITHOUT: [0.6, 0.65, 0.7]}
    assert "600" in shown and "Intervals are over users" in shown


def test_each_sentence_has_its_share_of_the_chosen_measure(tmp_path):
    path = words_written(tmp_path)
    results = words_results()
    results["sentences"][0][f"{WITH}: kept out"] = 0.3
    path.write_text(json.dumps(results))
    words = read_results(path)
    fits = sentences_markup(words, View("control", "fits", "all"))
    assert fits.index("westerns") < fits.index("before &lt;b&gt;1970&lt;/b&gt;")
    assert "80 %" in fits and "30 %" not in fits and "<b>" not in fits
    kept = sentences_markup(words, View("control", "kept out", "genre"))
    assert "30 %" in kept and "1970" not in kept
    assert sentences_markup(words, View("ctr", "auc", "k=0")) == ""


def test_cut_histories_are_drawn_for_the_own_method_and_the_best_others(tmp_path):
    values = {"ours": 0.70, **{f"method {n}": 0.5 + n / 100 for n in range(9)}, "part": 0.9}
    rows = [
        measured(name, value, "ctr", "auc", group, n=9)
        for name, value in values.items()
        for group in ("all", "k=0", "k=all", "cold")
        if (name, group) != ("part", "k=0")
    ]
    rows.append(measured("ours - method 1", 0.1, "ctr", "auc", "all", n=9))
    shown = lines_of(groups_markup(written(tmp_path, rows=rows), View("ctr", "auc", "all")))
    names = [line["name"] for line in shown["series"]]
    assert names == ["ours", *(f"method {n}" for n in range(8, 8 - OTHERS, -1))]
    assert shown["ticktext"] == ["0", "all"]


def test_other_results_have_no_figures_of_words(results):
    assert groups_markup(results, AUC) == sentences_markup(results, AUC) == ""


def test_a_sentence_without_its_text_is_a_damaged_file(tmp_path):
    path = words_written(tmp_path)
    results = words_results()
    del results["sentences"][1]["text"]
    path.write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"words.json is damaged \(sentences.1.text"):
        read_results(path)


def test_the_committed_results_are_read():
    committed = [*map(read_results, (ROOT / "checkpoints").glob("*/results.json"))]
    assert {results.own for results in committed} == {"ckf"}
    for results in committed:
        for task in results.tasks():
            metric = results.metrics(task)[0]
            view = View(task, metric, results.groups(task, metric)[0])
            assert "data-dots" in tab.levels_markup(results, view)
