"""Whether what explanations cite matters, measured on explanations that are known."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from ckf_demo.lab import reasons, report
from ckf_demo.metrics.results import Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.facts import Film
from ckf_demo.tasks.explanations.reasons import Cause, Composer, Situation
from support.commands import load_instead, rows_by
from support.synthetic import made_up

DATA = made_up(n=1500)
FARGO = Film("1", "Fargo", 1996, ("Crime", "Drama"), ("Joel Coen",), ("Frances McDormand",))
HEAT = Film(
    *("2", "Heat", 1995, ("Action", "Crime"), ("Michael Mann",), ("Al Pacino",), ("police",)),
    description="A detective hunts a thief.",
)
ALIEN = Film("3", "Alien", 1979, ("Horror",), ("Ridley Scott",), ("Sigourney Weaver",))
SITUATION = Situation(
    HEAT,
    4.2,
    (Cause("rating", 0.3, FARGO, 5.0), Cause("rating", 0.1, ALIEN, 4.0), Cause("level", 0.4)),
    known=2,
    average=(3.9, 80),
)


def seen(item: str, rating: float = 4.2) -> dict:
    """An explanation that cites one item of three."""
    effects = {"1": 0.3, "2": -0.1, "3": 0.1}
    causes = [
        {"kind": "rating", "item": i, "title": i, "effect": e, "cited": i == item}
        for i, e in effects.items()
    ]
    return {
        "text": f"Heat should suit you, mostly because of {item}.",
        **{"rating": rating, "causes": causes, "effects": effects, "first": 0.5, "seconds": 1.0},
        **{"worded": False, "dropped": 0, "true": [True], "planted": {"amount": True}},
    }


def cells(observed: list[dict]) -> dict:
    cases = [reasons.Case(u, {"user": str(u // 2)}, "1", "known") for u in range(len(observed))]
    weights = np.ones((20, len(cases)))
    results = Results(weights)
    reasons._add_causes(results, cases, observed)
    reasons._add_texts(results, cases, observed)
    return rows_by({"rows": results.rows}, "method", "metric", "group")


def test_what_is_cited_is_held_against_the_rest_of_the_history():
    found = cells([seen("1"), seen("1")])
    times = found["ckf", "removal of the cited moves it so many times as much", "all"]
    assert times["value"] == pytest.approx(3.0) and times["low"] == pytest.approx(3.0)
    assert found["ckf", "cited effects with the stated sign", "all"]["value"] == 1
    assert found["ckf", "cited effects among the 3 greatest", "all"]["value"] == 1
    # one effect has another sign than the text says
    wrong = seen("1")
    wrong["effects"] = {"1": -0.3, "2": 0.2, "3": 0.1, "4": 0.1}
    found = cells([seen("1"), wrong])
    assert found["ckf", "cited effects with the stated sign", "all"]["value"] == 0.5
    assert found["ckf", "cited effects among the 3 greatest", "all"]["value"] == 0.5


def test_texts_are_counted_by_group():
    empty = seen("1") | {"text": "", "true": [False]}
    found = cells([seen("1"), empty])
    assert found["ckf", "pairs with an explanation", "known"]["value"] == 0.5
    assert found["ckf", "texts without a false statement", "all"]["value"] == 0.5
    assert found["ckf", "content words that two texts share, median", "all"]["value"] == 0


def test_content_words_that_two_texts_share():
    assert reasons.shared_content("A detective hunts thieves.", "Detectives eat cake.") == 1 / 3
    assert reasons.shared_content("", "Nothing.") == 0


def test_two_items_are_explained_to_known_and_new_people():
    cases = reasons.choose(DATA, np.flatnonzero(DATA.history.lengths > 10), 40, 0)
    assert len(cases) == 40
    pairs = zip(cases[::2], cases[1::2], strict=True)
    assert all(a.person == b.person and a.item != b.item for a, b in pairs)
    who = {case.group.split()[0] for case in cases}
    assert who == {"known", "new"}
    lengths = {len(c.person["history"]) for c in cases if "history" in c.person}
    assert lengths <= set(reasons.NEW) and len(lengths) > 1


@pytest.mark.parametrize("kind", reasons.FALSEHOODS)
def test_falsehoods_change_one_thing(kind):
    composer = Composer(SITUATION)
    text = " ".join([*composer.lead(), *composer.rest()])
    films = [FARGO, ALIEN, HEAT]
    recommender = SimpleNamespace(item_order=["1"] * 40, film=lambda i: films[i % 3])
    false = reasons.falsehood(kind, text, SITUATION, recommender, random.Random(0))
    if false is None:
        assert kind in ("theme", "prediction", "cause", "story")
    else:
        assert false != text


def test_a_checkpoint_that_does_not_explain_is_refused(tmp_path, monkeypatch):
    load_instead(monkeypatch, reasons, SimpleNamespace(tasks=("ctr",)))
    with pytest.raises(UserError, match="does not rate and explain"):
        reasons.measure(tmp_path, "valid", 10)
    with pytest.raises(UserError, match="Unknown split"):
        reasons.measure(tmp_path, "training", 10)


def test_the_page_has_a_table_of_each_kind():
    cases = [reasons.Case(0, {"user": "0"}, "1", "known")] * 2
    results = Results(np.ones((20, 1)))
    reasons._add_causes(results, cases, [seen("1")] * 2)
    reasons._add_texts(results, cases, [seen("1")] * 2)
    text = {"user": "1", "title": "Heat", "rating": 4.2, "text": "Heat should suit you."}
    document = {
        **{"analysis": "reasons", "dataset": "ml-100k", "split": "valid", "checkpoint": "c"},
        **{"rows": results.rows, "reader": {"true texts passed": [9, 10]}, "texts": [text]},
    }
    tables = report.tables(document)
    assert len(tables) == 4 and tables[-1][2] == [["1", "Heat", "4.20", "Heat should suit you."]]
