"""README and docs: how long the README is, and that every command, path and link in them exists."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from ckf_demo.cli import app
from support.paths import ROOT

PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "DATA.md")),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "checkpoints").glob("*/MODEL_CARD.md"),
    ]
)
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
ROOMS = ("ckf_demo/", "tests/", "docs/", "assets/", "checkpoints/")
MADE_BY_COMMANDS = re.compile(
    r"mine|xrec-yelp-(ctr|explanation)|ml-100k-(rating|ctr|ranking|expl)|/words\.(json|md)$"
)
"""Checkpoints and results that a command on the same page makes."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[list[str]]:
    """Shell commands of a page's code, split into words, without variables and comments."""
    out = []
    for block, inline in CODE.findall(page.read_text(encoding="utf-8")):
        text = (block or inline).replace("\\\n", " ")
        for line in text.splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                continue  # inline code that is no shell
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words:
                out.append(words)
    return out


def options_of(command: str) -> set[str]:
    known = typer.main.get_command(app).commands
    assert command in known, command
    return {option for p in known[command].params for option in (*p.opts, *p.secondary_opts)}


def test_the_readme_has_at_most_140_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist_with_their_options(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(page):
        program = Path(words[0]).name
        if program == "make" and len(words) > 1:
            assert words[1] in targets, words
        elif program == "ckf" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            given = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
            assert given <= options_of(words[1]) | {"--help"}, words
        elif program == "python" and words[1:2] == ["-m"] and words[2].startswith("ckf_demo"):
            assert importlib.util.find_spec(words[2]), words
        elif program == "python" and words[1:] and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
    named = [inline for _, inline in CODE.findall(text)]
    named += [word for words in commands(page) for word in words]
    for path in named:
        plain = path.split("#")[0]
        is_path = plain.startswith(ROOMS) and re.fullmatch(r"[\w./-]+", plain)
        assert not is_path or MADE_BY_COMMANDS.search(plain) or (ROOT / plain).exists(), path
