"""Amazon reviews in the forms of 2014, 2018 and 2023: one review a line, as JSON, plain or gzipped.

Titles come from a file of metadata if there is one (``meta_*``; its lines are Python literals in
2014 and JSON later), otherwise from the item's own reviews. The text of a review is its summary
and its body. `FIELDS` names what is read of each form. In 2023 an item is the parent of its
variants, and times are in milliseconds. Lines that cannot be used are counted, reported and left
out. Texts are HTML, and become plain text.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ckf_demo.data.sources.base import RawData, Skipping, Source
from ckf_demo.data.sources.plain_text import plain, unmarked
from ckf_demo.data.sources.reviews import Review, reviewed
from ckf_demo.runtime.errors import UserError

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
META = "meta_"
OLD = ("reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText")
NEW = ("user_id", "parent_asin", "rating", "timestamp", "title", "text")
FIELDS = (OLD, NEW)
"""Names of user, item, rating, time, summary and text: up to 2018, and in 2023."""
EXPECTED = (
    "a JSON object with reviewerID, asin, overall (1 to 5) and unixReviewTime, or with user_id, "
    "parent_asin, rating and timestamp"
)
LONGEST = 1 << 20
"""The largest number of characters of a line, some 30 times the longest reviews."""


Clean = Callable[[object], str]
"""Makes plain text of a field."""


def read(folder: Path, clean: Clean = unmarked) -> RawData:
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
        review = _review(line, clean)
        if isinstance(review, str):
            skipping.leave(number, review)
        else:
            reviews.append(review)
    notes = [skipping.note()]
    titles: dict[str, str] = {}
    for path in meta:
        skipping = Skipping(path, "an object with asin or parent_asin, and title")
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


def _review(line: str, clean: Clean = unmarked) -> Review | str:
    """The review of a line, or the reason why the line holds none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(fields, dict):
        return "no JSON object"
    names = NEW if NEW[0] in fields else OLD
    user, item, rating, time, *texts = (fields.get(name) for name in names)
    if not (isinstance(user, str) and isinstance(item, str) and user.strip() and item.strip()):
        return f"no {names[0]} or no {names[1]}"
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not 1 <= rating <= 5:
        return f"no {names[2]} from 1 to 5"
    if type(time) is not int or not -(2**47) < time < 2**47:
        return f"no {names[3]} as a whole number"
    summary, text = map(clean, texts)
    if summary and summary[-1].isalnum():
        summary += "."
    return Review(user.strip(), item.strip(), float(rating), time, f"{summary} {text}".strip())


def _titles(path: Path, skipping: Skipping, items: set[str]) -> Iterator[tuple[str, str]]:
    """Titles of the reviewed items."""
    for number, line in _lines(path):
        skipping.lines += 1
        fields = _literal(line)
        item = None
        if isinstance(fields, dict):
            item = fields.get("parent_asin", fields.get("asin"))
        if not isinstance(fields, dict) or not isinstance(item, str):
            skipping.leave(number, "no object with an asin")
        elif item in items and (title := unmarked(fields.get("title"))):
            yield item, title


def _literal(line: str) -> object:
    """The value in a line of metadata, as JSON or as a Python literal; None if it is neither."""
    for parse in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(line.strip())
    return None


SOURCE = Source(
    name="amazon",
    label="Amazon reviews",
    files="one file of reviews (*.json or *.json.gz, one JSON object a line, as of 2014, 2018 or "
    "2023), and meta_* beside it for titles",
    holds=_holds,
    read=read,
)
MUSICAL_INSTRUMENTS = Source(
    name="amazon-musical-instruments",
    label="Amazon reviews of musical instruments",
    files="Musical_Instruments_5*.json or *.json.gz, and meta_* beside it for titles",
    holds=lambda folder: (
        _holds(folder) and _files(folder)[0][0].name.startswith("Musical_Instruments_5")
    ),
    # its checkpoint was trained on the texts as the file has them
    read=partial(read, clean=plain),
)
