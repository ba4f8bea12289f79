"""``ckf match``: what it prints and writes."""

import json
from types import SimpleNamespace

import pytest

from ckf_demo.serving import match_command
from ckf_demo.serving.batch_scoring import read_users
from support.commands import run_ckf
from support.films import films


@pytest.fixture
def diary(monkeypatch, tmp_path, empty_cache):
    monkeypatch.setattr(match_command, "read_manifest", lambda checkpoint: {"dataset": "dozen"})
    loader = SimpleNamespace(load=lambda path: films())
    monkeypatch.setattr(match_command, "Prepared", loader)
    file = tmp_path / "diary.csv"
    file.write_text("title,year,rating\nJaws,1975,9\n=Heat [x],1995,8\nUnforgivn,1992,1\n")
    return file


def test_the_person_and_what_is_open_are_written(diary, capsys):
    out, rest = diary.parent / "me.json", diary.parent / "rest.csv"
    assert run_ckf("match", diary, "--out", out, "--unmatched", rest) == 0
    printed = capsys.readouterr().out
    assert "1 matched; 1 to be asked; 1 not found." in printed
    assert "on a scale of 10" in printed and "=Heat [x] (1995)" in printed
    assert "Unforgiven (1992)?" in printed
    history = [{"item": "6", "rating": 4.5, "imported": True}]
    assert json.loads(out.read_text()) == [{"name": "diary", "history": history}]
    assert [person.person for person in read_users(out)] == [{"history": history}]
    assert "'=Heat [x],1995,4.0,the catalogue has no such title" in rest.read_text("utf-8-sig")


def test_troubles_are_one_line(diary, capsys):
    assert run_ckf("match", diary.parent / "none.zip") == 2
    assert "is no file" in capsys.readouterr().err
    assert run_ckf("match", diary, "--scale", "7") == 2
    assert "give one of 5, 10, 100" in capsys.readouterr().err
    diary.write_text("title,rating\nNothing of the kind,4\n")
    assert run_ckf("match", diary, "--out", diary.parent / "me.json") == 2
    assert "matches nothing in dozen" in capsys.readouterr().err
    assert not (diary.parent / "me.json").exists()
