"""The Compare tab: rows as methods answer, two people, ranks and agreement, and what is said when
something is missing."""

import pytest

from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui import compare as tab
from ckf_demo.ui.compare import FILM, LIST, CompareTab, availability, methods_markup
from ckf_demo.ui.markup import escape
from ckf_demo.ui.pair import Pair
from support.fakes import NASTY_ITEM, SPLIT_TIME, FakeMethodComparison

PAIR = Pair(item="7", user="3", at=SPLIT_TIME)
BOTH = ["ckf", "text"]


@pytest.fixture
def method_comparison(fresh) -> FakeMethodComparison:
    return FakeMethodComparison(fresh)


@pytest.fixture
def made(fresh, method_comparison, monkeypatch) -> CompareTab:
    monkeypatch.setattr(tab.gr, "Warning", lambda text: None)
    with tab.gr.Blocks():
        return CompareTab(fresh, method_comparison)


def steps(
    made: CompareTab, pair=PAIR, latest=None, mode=FILM, methods=BOTH, second=None, ready=()
) -> list:
    """What the panel shows step by step, and the comparison at the end."""
    updates = list(made.compare(pair, latest, mode, methods, second, ready))
    shown = [update[made.shown] for update in updates if made.shown in update]
    return [shown, updates[-1].get(made.latest)]


def test_methods_come_one_by_one_and_everybodys_average_last(made):
    shown, latest = steps(made)
    assert "0 of 2 methods" in shown[0] and "asking CKF" in shown[0]
    assert "1 of 2 methods" in shown[1] and "asking TALLRec" in shown[1]
    assert [text.count("ckf-point") for text in shown] == [1, 3, 5, 7]  # the truth is a mark too
    assert "average" not in shown[2] and "average" in shown[3]
    assert "What they gave it" in shown[3]
    assert latest.finished


def test_the_table_holds_the_recommenders_numbers(made, fresh):
    shown, _ = steps(made)
    rated, clicked = (ask(**PAIR.person, item="7") for ask in (fresh.rate, fresh.click))
    assert f"{rated['rating']:.2f}" in shown[-1]
    assert f"{100 * clicked['probability']:.0f} %" in shown[-1]
    assert "±" in shown[-1]


def test_a_method_trained_for_neither_question_says_so(made, method_comparison, monkeypatch):
    answers = method_comparison.compare_item

    nothing = dict.fromkeys(("rating", "distribution", "probability", "seconds"))

    def silent(*given, **person):
        for row in answers(*given, **person):
            yield row | (nothing if row["method"] == "text" else {})

    monkeypatch.setattr(method_comparison, "compare_item", silent)
    shown, _ = steps(made)
    assert shown[-1].count("answers neither question") == 1


def test_the_same_question_is_not_asked_twice(made, fresh):
    _, latest = steps(made)
    fresh.calls.clear()
    shown, _ = steps(made, latest=latest)
    assert len(shown) == 1 and "average" in shown[0] and fresh.calls == []
    _, latest = steps(made, mode=LIST)
    fresh.calls.clear()
    # another film of the same person is only marked
    item = latest.answers[0][0]["items"][0]["item"]
    shown, _ = steps(made, PAIR.with_item(item), latest, LIST)
    assert fresh.calls == [] and "ckf-chosen" in shown[0]


def test_a_second_person_stands_beside_the_first(made):
    shown, latest = steps(made, second=" 8 ")
    assert [person.user for person in latest.people] == ["3", "8"]
    listed, _ = steps(made, mode=LIST, second="8")
    for last in (shown[-1], listed[-1]):
        assert "<h3>User 3</h3>" in last and "<h3>User 8</h3>" in last


@pytest.mark.parametrize(
    ("second", "said"), [("999", "&#x27;999&#x27;"), ("<b>", "&lt;b&gt;"), ("3", "already")]
)
def test_a_wrong_second_person_is_said_and_the_first_answered(made, second, said):
    shown, latest = steps(made, second=second)
    assert said in shown[-1] and "<b>" not in shown[-1]
    assert "average" in shown[-1] and len(latest.people) == 1


def test_no_method_is_a_message(made):
    for mode in (FILM, LIST):
        shown, latest = steps(made, mode=mode, methods=[])
        assert len(shown) == 1 and "No method is chosen" in shown[0] and latest is None


def test_lists_show_ranks_lines_and_agreement(made, method_comparison):
    shown, latest = steps(made, mode=LIST)
    rows = latest.answers[0]
    assert shown[-1].count("<g ") == len(rows[0]["items"]) == tab.CANDIDATES
    assert "Ordered by ranking: CKF (" in shown[-1]
    assert "By the probability that they like it: TALLRec (" in shown[-1]
    (pair,) = rows[-1]["agreement"]
    tau = f"{pair['kendall_tau']:.2f}".replace("-", "−")
    assert f"{tau} · {pair['shared']}" in shown[-1]
    assert "Agreement" not in shown[-2]
    alone, _ = steps(made, mode=LIST, methods=["text"])
    assert "Agreement" not in alone[-1] and "Candidate stage" in alone[-1]


def test_titles_are_escaped(made):
    person = Pair(item=NASTY_ITEM, taste="<script>alert(1)</script>")
    for mode in (FILM, LIST):
        shown, _ = steps(made, person, mode=mode)
        assert "<b>" not in shown[-1] and "<script" not in shown[-1]
        assert "New person" in shown[-1]


def test_what_is_missing_is_said_with_what_to_do(fresh, method_comparison):
    assert availability(method_comparison) == ""
    method_comparison.problems.append("<b> was passed over")
    assert "&lt;b&gt; was passed over" in availability(method_comparison)
    alone = availability(MethodComparison(fresh))
    assert "CKF is the only method" in alone and "ckf train --config" in alone


def test_the_methods_are_described(method_comparison):
    shown = methods_markup(method_comparison.methods)
    assert "arXiv 2305.00447" in shown and "words alone" in shown and ">12<" in shown


def test_nothing_is_fitted_before_it_is_chosen(made, method_comparison):
    assert made.needs_fitting(["EASE"]) and not made.needs_fitting([])
    steps(made)
    assert method_comparison.fitted.calls == []


def test_chosen_baselines_are_fitted_one_by_one_and_each_is_compared_when_it_is(
    made, method_comparison
):
    updates = list(made.fit(["item mean", "EASE"]))
    said = [update[made.fitting] for update in updates if made.fitting in update]
    assert "0 of 2" in said[0] and "item mean" in said[0]
    assert "1 of 2" in said[1] and "EASE" in said[1]
    assert "item mean (0.5 s), EASE (0.5 s)" in said[2]
    ready = [update[made.ready] for update in updates if made.ready in update]
    assert ready == [("item mean",), ("item mean", "EASE"), ("item mean", "EASE")]
    assert not made.needs_fitting(["EASE"])
    # the next visitor who chooses it has it at once
    (update,) = made.fit(["EASE"])
    assert update[made.ready] == ("EASE",) and "EASE (0.5 s)" in update[made.fitting]
    assert list(made.fit([])) == [{made.ready: (), made.fitting: ""}]
    assert method_comparison.fitted.calls == ["item mean", "EASE"]


def test_a_baseline_stands_beside_the_methods(made):
    (*_, shown), latest = steps(made, methods=["text"], ready=("item mean", "popularity"))
    rows = {row["method"]: row for row in latest.answers[0]}
    assert list(rows) == ["text", "item mean", "popularity", "average"]
    assert (rows["item mean"]["rating"], rows["item mean"]["probability"]) == (3.21, 0.43)
    assert "3.21" in shown and "43 %" in shown
    # it ranks alone
    assert rows["popularity"]["seconds"] is None
    assert shown.count("answers neither question") == 1


def test_a_baseline_orders_the_same_candidates(made):
    _, latest = steps(made, mode=LIST, methods=["ckf"], ready=("EASE", "item mean"))
    rows = {row["method"]: row for row in latest.answers[0][:-1]}
    by = {name: row["orders_by"] for name, row in rows.items()}
    assert by == {"ckf": "ranking", "item mean": "ctr", "EASE": "ranking"}
    films = {frozenset(film["item"] for film in row["items"]) for row in rows.values()}
    assert len(films) == 1
    best = [int(film["item"]) for film in rows["EASE"]["items"]]
    assert best == sorted(best, reverse=True)


def test_baselines_alone_can_be_compared(made, fresh):
    assert steps(made, methods=[], ready=("item mean",))[1].finished
    assert not {"rate", "click"} & set(fresh.calls)


def test_the_baselines_are_described(method_comparison):
    shown = tab.baselines_markup(method_comparison.baselines)
    for baseline in method_comparison.baselines:
        assert escape(baseline.name) in shown and escape(baseline.summary) in shown
    assert tab.baselines_markup([]) == ""
