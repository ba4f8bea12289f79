"""What the analyses that are run as modules have in common: options and errors in one line."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from ckf_demo.model.manifest import read_manifest
from ckf_demo.runtime.errors import UserError

P = ParamSpec("P")

Checkpoints = Annotated[list[Path], typer.Option(help="A checkpoint's folder; repeatable.")]
Split = Annotated[str, typer.Option(help="valid or test.")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results here.")
]
People = Annotated[int | None, typer.Option(min=2, help="So many people, for a quick look.")]


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


def dataset_of(checkpoints: Iterable[Path]) -> str:
    """The data set that checkpoints were trained on; UserError when it is not the same for all."""
    datasets = {read_manifest(Path(folder))["dataset"] for folder in checkpoints}
    if len(datasets) != 1:
        raise UserError(f"Checkpoints for {' and '.join(sorted(datasets))}; name those of one.")
    return datasets.pop()
