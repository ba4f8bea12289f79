"""Whether what explanations cite matters, measured on answers that are known."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ckf_demo.lab import faithful, report
from ckf_demo.runtime.errors import UserError
from support.commands import load_instead, rows_by, written
from support.synthetic import made_up

DATA = made_up(n=1500)


class FakeModel:
    """Cites the last film of the history, whose removal moves the rating by a star and a half."""

    def __init__(self, recommender, folder, advance):
        self.advance, self.prepared = advance, DATA

    def last(self, row: int) -> str:
        return DATA.item_ids[DATA.item[DATA.history.before(row)[-1]]]

    def explanation(self, row: int) -> dict:
        item = self.last(row)
        film = {"item": item, "title": DATA.titles[DATA.item_index[item]], "rating": 4.0}
        own = {"text": f"Think of {film['title']}, and of number {row}.", "evidence": [film]}
        return {
            **{"text": own["text"], "evidence": [film], "polarity": "positive", "rating": 4.0},
            **{"sentences": [own], "regenerated": row % 2, "dropped": 0},
        }

    def removals(self, row: int) -> dict[str, float]:
        before = DATA.history.before(row)
        return {DATA.item_ids[DATA.item[r]]: -1.5 if r == before[-1] else 0.5 for r in before}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    recommender = SimpleNamespace(
        prepared=DATA,
        methods=("ckf",),
        tasks=("rating", "explanation"),
        liked_together=lambda a, b: False,
    )
    load_instead(monkeypatch, faithful, recommender, FakeModel)
    monkeypatch.setattr(faithful, "PLANTED", 20)
    monkeypatch.setattr(faithful, "PRINTED", 5)
    return tmp_path


def test_what_is_cited_is_held_against_the_rest_of_the_history(place):
    arguments = place, "valid", 60, 20
    found = written(faithful.measure, place / "faithful.json", *arguments, resamples=50)
    values = rows_by(found, "method", "metric")
    moved = "moves the rating by"
    assert values[faithful.CITED, moved]["value"] == pytest.approx(1.5)
    assert values[faithful.OTHERS, moved]["value"] == pytest.approx(0.5)
    difference = values[f"{faithful.CITED} - {faithful.OTHERS}", moved]
    assert difference["low"] == pytest.approx(1.0) and difference["n"] <= 20
    assert values["ckf", "unique sentences"]["value"] == 1.0
    again = values["ckf", "a sentence was written once more"]["value"]
    assert 0 < again < 1
    assert values["ckf", "a sentence was left out"]["value"] == 0
    assert len(found["texts"]) == 5
    tables = report.tables(found)
    assert [len(rows) for _, _, rows in tables][-1] == 5
    assert found["reader"]["true texts passed"][1] == 20


def test_a_checkpoint_that_does_not_explain_is_refused(place, monkeypatch):
    load_instead(monkeypatch, faithful, SimpleNamespace(tasks=("ctr",)))
    with pytest.raises(UserError, match="does not rate and explain"):
        faithful.measure(place, "valid", 10, 5)
    with pytest.raises(UserError, match="Unknown split"):
        faithful.measure(place, "training", 10, 5)
