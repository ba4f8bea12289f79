"""Tables from files of users: CSV, Parquet, or pickles whose code is not run.

A pickle is a program. The reader accepts only pickles that build a plain pandas frame of numbers,
texts and lists: they may name nothing outside an exact list of functions and classes.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.compat.pickle_compat import Unpickler

from ckf_demo.data.sources.tables import read_any
from ckf_demo.runtime.errors import UserError

ALLOWED = frozenset(
    {
        ("builtins", "slice"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.internals.managers", "BlockManager"),
        ("pandas.core.internals.blocks", "new_block"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.indexes.numeric", "Int64Index"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
    }
)
"""(module, name) pairs. Modules moved between versions of pandas and NumPy, so some occur twice."""


class _FrameUnpickler(Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def read_table(path: Path, columns: Sequence[str], more: str = "") -> pd.DataFrame:
    """The table in a ``.csv`` (all cells as text), ``.parquet`` or ``.pkl`` file with a header.

    Raises
    ------
    UserError
        When the file cannot be read, a pickle names anything that a frame does not need, or one of
        the columns is missing; ``more`` ends the last message.
    """
    read = {".csv": _read_csv, ".parquet": _read_parquet, ".pkl": _read_pickle}[path.suffix]
    table = read(path)
    for column in columns:
        if column not in table:
            names = ", ".join(map(str, table.columns))
            raise UserError(f"{path} has no column {column!r}; it has {names}{more}")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    return read_any(path).frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet ({error}); use a fresh copy of the data set"
        ) from error


def _read_pickle(path: Path) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the folder") from error
    return read_pickle(content, path)


def read_pickle(content: bytes, path: Path) -> pd.DataFrame:
    """The frame in the bytes of a pickle, which came from ``path``; UserError as `read_table`."""
    try:
        frame = _FrameUnpickler(io.BytesIO(content)).load()
    # A damaged pickle can raise any error, and all of them mean the same.
    except Exception as error:
        raise UserError(
            f"{path} is no plain pandas table ({error}); it was not opened. Convert it to Parquet "
            "if you trust it, or use a fresh copy of the data set"
        ) from error
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{path} holds a {type(frame).__name__} instead of a table; check the file")
    return frame
