"""Pages of tables: made from the stored results, and renewed by one command."""

import json
from pathlib import Path

import pytest

from ckf_demo.lab import report
from ckf_demo.lab.analyses import ANALYSES
from ckf_demo.runtime.errors import UserError
from support.paths import ROOT
from support.words import WITH, words_results

SHOWN = {name for names in report.TOPICS.values() for name in names}
MEASURED = [topic for topic in report.TOPICS if report.is_measured(topic)]


@pytest.mark.parametrize("topic", MEASURED)
def test_a_page_says_what_its_results_say(topic):
    assert (ROOT / report.TABLES / f"{topic}.md").read_text(encoding="utf-8") == report.page(topic)


def test_every_analysis_has_a_page():
    stored = [path for name in SHOWN if (path := ROOT / name).exists()]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in stored]
    found = {each["analysis"] for each in results if "analysis" in each}
    waiting = set(report.TOPICS) - set(MEASURED)  # pages whose results are still to come
    assert found <= set(ANALYSES) <= found | waiting


def test_a_page_is_there_exactly_when_its_results_are():
    pages = {path.stem for path in (ROOT / report.TABLES).glob("*.md")}
    assert pages & set(report.TOPICS) == set(MEASURED)


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


def test_all_renews_what_is_measured_and_names_the_rest(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "TOPICS", {"words": ("words.json",), "later": ("later.json",)})
    (tmp_path / "words.json").write_text(json.dumps(words_results()))
    (tmp_path / report.TABLES).mkdir(parents=True)
    report.main(None, True)
    assert capsys.readouterr().out.splitlines() == [
        "docs/tables/words.md",
        "Not measured yet: later.",
    ]
    assert [path.name for path in (tmp_path / report.TABLES).iterdir()] == ["words.md"]


def test_the_tables_of_words_hold_every_measure_and_sentence(capsys):
    results = words_results()
    text = report.markdown(results)
    assert f"| {WITH} | 0.900 ±0.100 | 0.800 ±0.100 | 1.000 ±0.100 |" in text  # by kind
    assert "Newcomers of whom only words are known, made-up, valid part, 30 sentences" in text
    assert f"| {WITH} - popularity | +0.1000 (+0.0800 to +0.1200) |" in text
    assert "**AUC by shown ratings, made-up, valid part**" in text
    assert "| westerns | genre | 27 | 0.5 | 0.8 |" in text
    assert "| 0.3 | 0.300 | 0.170 | 0.270 |" in text
    report.show(results)
    assert "westerns" in capsys.readouterr().out
