"""Arrays in the user's cache, which can be computed again."""

import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ckf_demo.runtime.paths import replacing

DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, NotImplementedError, RuntimeError),
    *(MemoryError, zipfile.BadZipFile, zlib.error),
)
"""The errors that reading a damaged archive may raise."""


def remembered(path: Path, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays in the file at ``path``, computed and written there if the file is missing.

    A file that its checksums show to be damaged is reported on stderr and written again.
    """
    if path.exists():
        try:
            with zipfile.ZipFile(path) as archive:
                if (member := archive.testzip()) is not None:
                    raise ValueError(f"wrong checksum of {member}")
            with np.load(path, allow_pickle=False) as archive:
                return dict(archive)
        except DAMAGE as error:
            print(f"{path} is damaged ({error}) and is written again", file=sys.stderr)
    arrays: dict[str, Any] = compute()
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return arrays
