"""Amazon reviews in the forms of 2014 and 2018: one review a line, as JSON, plain or gzipped.

Titles come from a file of metadata if there is one (``meta_*``; its lines are Python literals in
2014 and JSON in 2018), otherwise from the item's own reviews. The text of a review is its summary
and its body. Both forms share the fields that are read here: ``reviewerID``,
``asin``, ``overall``, ``unixReviewTime``, ``summary`` and ``reviewText``; in 2018 the last two may
be missing. Lines that cannot be used are counted, reported and left out.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from ckf_demo.data.sources.base import RawData, Skipping, Source
from ckf_demo.data.sources.reviews import Review, plain, reviewed
from ckf_demo.runtime.errors import UserError

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
META = "meta_"
EXPECTED = "a JSON object with reviewerID, asin, overall (1 to 5) and unixReviewTime"
LONGEST = 1 << 20
"""The largest number of characters of a line, some 30 times the longest reviews."""


def read(folder: Path) -> RawData:
    """Read the reviews, and the metadata if there are any, from a folder.

    Raises UserError when the folder does not hold exactly one file of reviews, a file cannot be
    read, or half of its lines cannot be used.
    """
    files, meta = _files(folder)
    if len(files) != 1:
        raise UserError(
            f"{folder} holds {len(files)} files of reviews; it must hold one: {SOURCE.files}"
        )
    skipping = Skipping(files[0], EXPECTED)
    reviews: list[Review] = []
    for number, line in _lines(files[0]):
        skipping.lines += 1
        review = _review(line)
        if isinstance(review, str):
            skipping.leave(number, review)
        else:
            reviews.append(review)
    notes = [skipping.note()]
    titles: dict[str, str] = {}
    for path in meta:
        skipping = Skipping(path, "an object with asin and title")
        titles |= dict(_titles(path, skipping, {review.item for review in reviews}))
        notes.append(skipping.note())
    return reviewed(reviews, titles, notes)


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of reviews, and those of metadata."""
    files = sorted(p for p in folder.glob("*") if p.name.endswith(ENDINGS) and p.is_file())
    meta = [path for path in files if path.name.startswith(META)]
    return [path for path in files if path not in meta], meta


def _holds(folder: Path) -> bool:
    """Whether a folder has one file of reviews, whose first line is a review."""
    files, _ = _files(folder)
    if len(files) != 1:
        return False
    first = next(_lines(files[0]), None)
    return first is not None and isinstance(_review(first[1]), Review)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with numbers from 1, without empty ones; a line is cut at `LONGEST` characters."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST), ""), start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); use a complete copy of it") from error


def _review(line: str) -> Review | str:
    """The review of a line, or the reason why the line holds none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(fields, dict):
        return "no JSON object"
    user, item = (fields.get(key) for key in ("reviewerID", "asin"))
    rating, time = (fields.get(key) for key in ("overall", "unixReviewTime"))
    if not (isinstance(user, str) and isinstance(item, str) and user.strip() and item.strip()):
        return "no reviewerID or no asin"
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not 1 <= rating <= 5:
        return "no overall from 1 to 5"
    if type(time) is not int or not -(2**40) < time < 2**40:
        return "no unixReviewTime in seconds"
    summary, text = (plain(fields.get(key)) for key in ("summary", "reviewText"))
    if summary and summary[-1].isalnum():
        summary += "."
    return Review(user.strip(), item.strip(), float(rating), time, f"{summary} {text}".strip())


def _titles(path: Path, skipping: Skipping, items: set[str]) -> Iterator[tuple[str, str]]:
    """Titles of the reviewed items."""
    for number, line in _lines(path):
        skipping.lines += 1
        fields = _literal(line)
        if not isinstance(fields, dict) or not isinstance(fields.get("asin"), str):
            skipping.leave(number, "no object with an asin")
        elif fields["asin"] in items and (title := plain(fields.get("title"))):
            yield fields["asin"], title


def _literal(line: str) -> object:
    """The value in a line of metadata, as JSON or as a Python literal; None if it is neither."""
    for parse in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(line.strip())
    return None


SOURCE = Source(
    name="amazon",
    label="Amazon reviews",
    files="one file of reviews (*.json or *.json.gz, one JSON object a line, as of 2014 or 2018), "
    "and meta_* beside it for titles",
    holds=_holds,
    read=read,
)
MUSICAL_INSTRUMENTS = Source(
    name="amazon-musical-instruments",
    label="Amazon reviews of musical instruments",
    files="Musical_Instruments*.json or *.json.gz, and meta_* beside it for titles",
    holds=lambda folder: (
        _holds(folder) and _files(folder)[0][0].name.startswith("Musical_Instruments")
    ),
    read=read,
)
