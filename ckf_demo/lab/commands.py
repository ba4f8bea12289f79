"""What the analyses that are run as modules have in common."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from ckf_demo.runtime.errors import UserError

P = ParamSpec("P")


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """The command, ending with exit code 2 and one line on stderr where it raises a `UserError`."""

    @wraps(command)
    def ended(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(2) from error

    return ended
