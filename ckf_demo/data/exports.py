"""Tables that the page hands out, as CSV, Parquet or JSON, and how they are read again.

A spreadsheet computes a cell that begins with = + - or @. In CSV such a text gets an apostrophe
before it, which `plain` takes away again, so that a round trip changes nothing. Numbers stay
numbers. Ids are texts in all three formats.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ckf_demo.runtime.errors import UserError

KINDS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "json": "application/json"}
"""File endings with their media types."""
BETWEEN = "|"
"""What stands between several names in one cell of CSV."""

# An apostrophe before a text of this kind counts as part of the text, so that it is doubled.
_COMPUTED = re.compile(r"'*[=+\-@\t\r]")


def safe(text: str) -> str:
    """A text as a cell of CSV that no spreadsheet computes.

    >>> [safe("=1+1"), safe("-5"), safe("Alien"), safe("'=x")]
    ["'=1+1", "'-5", 'Alien', "''=x"]
    """
    return f"'{text}" if _COMPUTED.match(text) else text


def plain(cell: str) -> str:
    """The text that `safe` was given.

    >>> [plain("'=1+1"), plain("''=x"), plain("'Round Midnight")]
    ['=1+1', "'=x", "'Round Midnight"]
    """
    return cell[1:] if cell.startswith("'") and _COMPUTED.match(cell) else cell


def exported(rows: Sequence[Mapping], kind: str) -> bytes:
    """Rows with the same keys as a file of one of the `KINDS`.

    Lists are joined by `BETWEEN` in CSV and stay lists in the others. What is missing is an empty
    cell in CSV, and null in the others.
    """
    frame = _frame(rows)
    if kind == "json":
        records = [{name: _json(value) for name, value in row.items()} for row in rows]
        return f"{json.dumps(records, indent=1, ensure_ascii=False)}\n".encode()
    if kind == "parquet":
        return frame.to_parquet(None, index=False)
    for name in frame:
        if frame[name].dtype == object:
            frame[name] = [_cell(value) for value in frame[name]]
    # spreadsheets take a file without the mark for one in the system's own encoding
    return frame.to_csv(index=False).encode("utf-8-sig")


def _frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Rows as a table; whole numbers stay whole where some are missing."""
    names = list(rows[0]) if rows else []
    columns = {}
    for name in names:
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        whole = all(isinstance(value, int) and not isinstance(value, bool) for value in known)
        columns[name] = pd.Series(values, dtype="Int64" if known and whole else None)
    return pd.DataFrame(columns)


def _cell(value: object) -> object:
    if isinstance(value, list | tuple | np.ndarray):
        value = BETWEEN.join(map(str, value))
    return safe(value) if isinstance(value, str) else value


def _json(value: object) -> object:
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or value != value else value


def read_table(path: Path) -> pd.DataFrame:
    """A table of texts from a file that `exported` wrote, or from any other one of its kind.

    Missing values are empty texts. Lists stay lists.

    Raises
    ------
    UserError
        When the file cannot be read as what its ending says.
    """
    kind = path.suffix[1:].casefold()
    try:
        if kind == "csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            return frame.map(plain)
        if kind == "parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.DataFrame(_records(path.read_text(encoding="utf-8-sig")))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as {kind}: {error}") from error
    return frame.map(_as_text)


def _records(text: str) -> list[dict]:
    """The objects of a JSON list, or of one object a line."""
    try:
        records = json.loads(text)
    except json.JSONDecodeError:
        records = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(records, dict):
        records = [records]
    if not (isinstance(records, list) and all(isinstance(record, dict) for record in records)):
        raise ValueError("it holds no list of objects")
    return records


def _as_text(value: object) -> object:
    if isinstance(value, list | tuple | dict | np.ndarray):
        return value
    if value is None or value is pd.NA or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def frame_bytes(frame: pd.DataFrame, kind: str) -> bytes:
    """A data frame as `exported` writes its rows."""
    return exported(frame.to_dict("records"), kind)
