"""Running commands, and the analyses of the lab."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from typer import Typer
from typer.testing import CliRunner

from ckf_demo import cli


def written(measure: Callable[..., dict], path: Path, *arguments, **options) -> dict:
    """What an analysis finds, which is also what it writes to its ``json_path``."""
    found = measure(*arguments, json_path=path, **options)
    assert json.loads(path.read_text()) == found
    return found


def rows_by(found: dict, *names: str) -> dict[tuple, dict]:
    """The rows of an analysis by some of their fields."""
    return {tuple(row[name] for name in names): row for row in found["rows"]}


def run_ckf(*arguments: object) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(map(str, arguments)))
    return exit_.value.code


def run_command(main: Callable, *arguments: object) -> Result:
    """Run a function as the only command of a program."""
    program = Typer()
    program.command()(main)
    return CliRunner().invoke(program, list(map(str, arguments)))


def expect_refused(message: str, main: Callable, *arguments: object) -> None:
    """A command ends with exit code 2 and a message."""
    ran = run_command(main, *arguments)
    assert ran.exit_code == 2 and message in ran.stderr


def load_instead(
    patch: pytest.MonkeyPatch, module: object, recommender: object, model: type | None = None
) -> None:
    """Let a module of the lab load this recommender, and ask this model in its place."""
    load = SimpleNamespace(load=lambda folder, quantization: recommender)
    patch.setattr(module, "Recommender", load)
    if model is not None:
        patch.setattr(module, "CachedModel", model)
