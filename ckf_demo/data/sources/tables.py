"""Any table in any usual file: CSV with whatever separator, Parquet, JSON lines, plain or gzipped.

The content decides, not the name. A file is read once, whole, so one that grows meanwhile gives
what it held at that moment.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from charset_normalizer import from_bytes

from ckf_demo.data.sources.numbers import has_decimal_commas
from ckf_demo.runtime.errors import UserError

ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".json", ".jsonl", ".ndjson", ".parquet")
COMPRESSED = ".gz"
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "::": "double colons"}
_ONE = "\x1f"
"""Stands for a separator of two characters, which the fast parser does not take."""
LARGEST = 2 << 30
"""Bytes of an unpacked file, at most."""
_SAMPLE_LINES = 200
_SAMPLE = 10_000
_STRANGE = 0.05
"""Share of control characters from which a file is no text."""
_FOREIGN = 0.2
"""Share of letters beyond ASCII from which a text is not of a language with Latin letters."""


_FEW = 8
"""Bytes beyond ASCII that are too few to guess from."""


@dataclass(frozen=True)
class Table:
    """A table and how its file was understood.

    ``frame`` has its columns' names from the header, or "1", "2" and so on without one; cells of
    text files are text, and empty text where there is nothing. ``form`` is a clause such as "CSV
    with semicolons, decimal commas, Latin-1". ``left_out`` counts lines that are no rows, by
    reason.
    """

    path: Path
    frame: pd.DataFrame
    form: str
    has_header: bool = True
    left_out: Counter[str] = field(default_factory=Counter)


def is_table(path: Path) -> bool:
    """Whether a file's name is one of a table."""
    name = path.name.lower().removesuffix(COMPRESSED)
    return path.is_file() and not name.startswith(".") and name.endswith(ENDINGS)


def read_any(path: Path) -> Table:
    """Read a table; UserError when the file cannot be read or holds none."""
    content, packed = _content(path)
    if content[:4] == b"PAR1":
        return Table(path, _parquet(path, content), f"Parquet{packed}")
    text, encoding = decoded(content)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    opening = text.lstrip()[:1]
    if not opening:
        raise UserError(f"{path} is empty; use a complete copy of it")
    sample = text[:_SAMPLE]
    if sum(c < " " and c not in "\n\t" for c in sample) > _STRANGE * len(sample):
        raise UserError(f"{path} is no table of text; it must be CSV, JSON lines or Parquet")
    if opening in "{[" and (table := _json(path, text)) is not None:
        return Table(path, table[0], f"JSON{packed}{encoding}", left_out=table[1])
    return _delimited(path, text, f"{packed}{encoding}")


def _content(path: Path) -> tuple[bytes, str]:
    """The bytes of a file, unpacked, and what was unpacked."""
    try:
        content = path.read_bytes()
        if content[:2] != b"\x1f\x8b":
            return content, ""
        with gzip.open(io.BytesIO(content)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); use a complete copy of it") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} holds more than 2 GB; give a part of it")
    return content, ", gzipped"


def decoded(content: bytes) -> tuple[str, str]:
    """Bytes as text, and a clause that names the encoding where it is not UTF-8.

    Bytes that are no UTF-8 are Windows-1252, a superset of Latin-1, where most letters are ASCII,
    and otherwise whatever fits best.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace"), ", UTF-16"
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        # a file that grew while it was read may end within a character
        if error.start >= len(content) - 3 and error.reason == "unexpected end of data":
            return content[: error.start].decode("utf-8-sig"), ""
    sample = content[:1_000_000]
    letters = sum(chr(byte).isalpha() for byte in sample if byte < 128)
    beyond = sum(byte >= 128 for byte in sample)
    if beyond > max(_FEW, _FOREIGN * (letters + beyond)):
        lines = b"\n".join(line for line in sample.split(b"\n") if any(b >= 128 for b in line))
        guesses = from_bytes(lines[:200_000], cp_exclusion=["utf_16", "utf_32", "utf_7"])
        if (best := guesses.best()) is not None:
            return content.decode(best.encoding, errors="replace"), f", {best.encoding}"
    return content.decode("cp1252", errors="replace"), ", Latin-1"


def _parquet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet ({error}); use a fresh copy of it"
        ) from error
    frame.columns = [str(name) for name in frame.columns]
    return frame.reset_index(drop=True)


def _json(path: Path, text: str) -> tuple[pd.DataFrame, Counter[str]] | None:
    """Objects one a line, or one list of objects; None where the text is something else."""
    left_out: Counter[str] = Counter()
    if text.lstrip().startswith("["):
        try:
            records = json.loads(text)
        except (ValueError, RecursionError):
            return None
    else:
        records = []
        for line in text.split("\n"):
            if line.strip():
                records.append(_record(line))
    rows = [record for record in records if isinstance(record, dict)]
    if not rows:
        raise UserError(f"{path} holds no JSON objects; each line must be one")
    if len(rows) < len(records):
        left_out["no JSON object"] = len(records) - len(rows)
    return pd.DataFrame(rows), left_out


def _record(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _delimited(path: Path, text: str, form: str) -> Table:
    """Text with a separator, of which the first lines show which it is."""
    sample = [line for line in text[: 1 << 20].splitlines()[:_SAMPLE_LINES] if line.strip()]
    separator = _separator(sample)
    name = SEPARATORS[separator]
    if len(separator) > 1:
        text = text.replace(separator, _ONE)
        sample = [line.replace(separator, _ONE) for line in sample]
    mark = _ONE if len(separator) > 1 else separator
    # in tables with tabs or double colons, titles hold quotation marks that quote nothing
    quoting = csv.QUOTE_MINIMAL if separator in ",;|" else csv.QUOTE_NONE
    text = text.replace("\0", " ")
    rows = list(csv.reader(sample, delimiter=mark, quoting=quoting))
    header = _has_header(rows)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text),
                sep=mark,
                header=0 if header else None,
                dtype=str,
                keep_default_na=False,
                quoting=quoting,
                skipinitialspace=True,
                index_col=False,
                on_bad_lines="warn",
                low_memory=False,
            )
        except (ValueError, csv.Error) as error:
            raise UserError(
                f"{path} cannot be read as CSV ({str(error).strip()}); use a complete copy of it"
            ) from error
    longer = sum(len(re.findall(r"Skipping line", str(w.message))) for w in caught)
    frame = frame.fillna("")
    if header:
        frame.columns = _named(frame.columns)
    else:
        frame.columns = [str(n + 1) for n in range(frame.shape[1])]
    left_out = Counter({"more cells than the header": longer}) if longer else Counter()
    commas = any(has_decimal_commas(frame[c].head(_SAMPLE_LINES)) for c in frame)
    decimal = ", decimal commas" if commas and mark != "," else ""
    kind = f"text with {name}" if separator != "," else "CSV"
    return Table(path, frame, f"{kind}{decimal}{form}", header, left_out)


def _named(columns: pd.Index) -> list[str]:
    """Names of columns as text without spaces around, each once."""
    names: list[str] = []
    for place, name in enumerate(map(str, columns)):
        name = name.strip() or str(place + 1)
        while name in names:
            name += " again"
        names.append(name)
    return names


def _separator(lines: list[str]) -> str:
    """The separator that gives most lines the same number of cells, more than one."""
    best, score = ",", 0.0
    for separator in SEPARATORS:
        if len(separator) > 1:
            widths = [len(line.split(separator)) for line in lines]
        else:
            quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
            widths = [len(r) for r in csv.reader(lines, delimiter=separator, quoting=quoting) if r]
        if not widths:
            continue
        width, n = Counter(widths).most_common(1)[0]
        agreement = n / len(widths)
        # a header with fewer cells than the lines: a comma within decimal numbers or titles
        if widths[0] != width:
            agreement /= 4
        value = agreement * (1 + min(width, 4) / 100) if width > 1 else 0.0
        # the empty cells between single colons belong to the double one
        if value > score:
            best, score = separator, value
    return best


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first line holds names: no number among its cells, or none where others have."""
    if len(rows) < 2:
        return True
    first, others = rows[0], rows[1:20]
    if not any(_is_number(cell) for cell in first):
        columns = range(min(len(first), min(map(len, others))))
        numeric = [all(_is_number(row[c]) or not row[c].strip() for row in others) for c in columns]
        texts = {cell.strip().lower() for row in others for cell in row}
        return any(numeric) or not any(cell.strip().lower() in texts for cell in first)
    return False


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+(?:[.,]\d+)?\s*", cell))
