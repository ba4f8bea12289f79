"""Running the analyses' commands."""

from collections.abc import Callable

from click.testing import Result
from typer import Typer
from typer.testing import CliRunner


def run_command(main: Callable, *arguments: str) -> Result:
    """Run a function as the only command of a program."""
    program = Typer()
    program.command()(main)
    return CliRunner().invoke(program, list(arguments))
