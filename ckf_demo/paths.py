"""Where large and derived files live, and how they are written without half-finished states."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """The project's folder in the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``), created."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "ckf-demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def store_path(dataset: str) -> Path:
    """The DuckDB file of a data set."""
    return cache_dir() / "data" / f"{dataset}.duckdb"


def prepared_path(dataset: str) -> Path:
    """The one file that training reads."""
    return cache_dir() / "data" / f"{dataset}.npz"


def backbone_path(name: str) -> Path:
    """The folder of a converted backbone."""
    return cache_dir() / "backbones" / name.replace("/", "--")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` (file or folder) and rename it when all went well.

    Readers see the previous state or the new one, never something in between; after an exception
    the previous state stays and the temporary files are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary = scratch / path.name
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            os.replace(path, scratch / "previous")
        os.replace(temporary, path)
    finally:
        shutil.rmtree(scratch)
