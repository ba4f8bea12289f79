"""Pages of tables: made from the stored results, and renewed by one command."""

import json
from pathlib import Path

import pytest

from ckf_demo.lab import report
from ckf_demo.lab.analyses import ANALYSES
from ckf_demo.runtime.errors import UserError
from support.paths import ROOT

SHOWN = {name for names in report.TOPICS.values() for name in names}


@pytest.mark.parametrize("topic", report.TOPICS)
def test_a_page_says_what_its_results_say(topic):
    assert (ROOT / report.TABLES / f"{topic}.md").read_text(encoding="utf-8") == report.page(topic)


def test_every_analysis_has_a_page():
    results = [json.loads((ROOT / name).read_text(encoding="utf-8")) for name in SHOWN]
    assert {found["analysis"] for found in results if "analysis" in found} == set(ANALYSES)


def test_every_stored_result_is_on_a_page():
    stored = {path.relative_to(ROOT).as_posix() for path in (ROOT / report.RESULTS).glob("*.json")}
    # the check of batch scoring is no table: docs/operating quotes it
    assert stored - SHOWN == {f"{report.RESULTS}/scoring.json"}


def test_pages_are_renewed_from_changed_results(tmp_path):
    row = {"method": "chance", "task": "genre", "metric": "accuracy", "group": "all"}
    genres = {"analysis": "favourite_genres", "dataset": "d", "split": "valid", "genres": 2}
    rows = [{**row, "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}]
    genres |= {"popular": "Drama", "rows": rows}
    for name in report.TOPICS["papers"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(genres))
    page = tmp_path / report.TABLES / "papers.md"
    page.parent.mkdir(parents=True)
    page.write_text("old")
    assert report.renew(["papers"], tmp_path) == [page]
    text = page.read_text()
    assert "old" not in text
    assert "| chance | 0.500 ±0.100 |" in text


@pytest.mark.parametrize(("topic", "says"), [("rumours", "choose among"), ("papers", "No results")])
def test_what_is_missing_is_one_clear_message(topic, says, tmp_path: Path):
    with pytest.raises(UserError, match=says):
        report.page(topic, tmp_path)
