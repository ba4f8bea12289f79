"""The address where the page has files of ratings read: in memory, a few at a time.

Gradio would store an uploaded file. Here its bytes are the request's body, and what was read in
them is the answer. The page sends it back as the titles that it asks about, which `accepted` checks
like those of any stranger.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ckf_demo.data.rating_rows import OwnRating, OwnRatings, read_ratings
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.routes import LARGEST_BODY, RATINGS

READERS = 2
"""Files that are read at once."""
LARGEST_ANSWER = LARGEST_BODY * 3 // 4
"""Bytes of an answer, which the page sends back with some escapes more."""
LONGEST_NOTE, MOST_NOTES = 200, 10


def ratings_route() -> Route:
    """POST /ratings: a file's bytes in the body, ``scale`` in the query."""
    readers = CapacityLimiter(READERS)

    async def ratings(request: Request) -> JSONResponse:
        content, scale = await request.body(), request.query_params.get("scale")
        try:
            read = await to_thread.run_sync(read_ratings, content, scale, limiter=readers)
        except UserError as error:
            return JSONResponse({"detail": str(error)}, 400)
        return JSONResponse(as_sent(read))

    return Route(RATINGS, ratings, methods=["POST"])


def as_sent(read: OwnRatings) -> dict:
    """What was read as plain values; of a longer list than a request may hold the newest part."""
    notes = list(read.notes)
    rows = [_row(rating) for rating in read.ratings]
    sizes = [len(json.dumps(row)) + 2 for row in rows]
    total, first = sum(sizes), 0
    while total > LARGEST_ANSWER:
        total -= sizes[first]
        first += 1
    if first:
        notes.append(f"Only the newest {len(rows) - first:,} of {len(rows):,} ratings are used.")
    return {
        "ratings": rows[first:],
        "source": read.source,
        "scale": read.scale,
        "left_out": read.left_out,
        "notes": notes,
    }


def _row(rating: OwnRating) -> dict:
    row: dict = {"title": rating.title, "year": rating.year or None, "rating": rating.stars}
    if rating.others:
        row["originaltitle"] = rating.others[0]
    if rating.item:
        row["item"] = rating.item
    return row


def accepted(sent: object) -> OwnRatings:
    """What `as_sent` made, as the page sends it back.

    Raises
    ------
    UserError
        When it is no such thing.
    """
    given = sent if isinstance(sent, Mapping) else {}
    rows, source, scale = given.get("ratings"), given.get("source"), given.get("scale")
    if not (isinstance(rows, list) and isinstance(source, str) and isinstance(scale, int)):
        raise UserError("the ratings did not arrive whole; choose the file again")
    left_out, notes = given.get("left_out"), given.get("notes")
    reasons = left_out.items() if isinstance(left_out, Mapping) else ()
    return replace(
        read_ratings(rows, 5),
        source=source[:LONGEST_NOTE],
        scale=scale,
        left_out={
            str(reason)[:LONGEST_NOTE]: n
            for reason, n in list(reasons)[:MOST_NOTES]
            if isinstance(n, int)
        },
        notes=_texts(notes),
    )


def _texts(notes: object) -> tuple[str, ...]:
    listed = notes if isinstance(notes, Sequence) and not isinstance(notes, str) else ()
    return tuple(str(note)[:LONGEST_NOTE] for note in listed[:MOST_NOTES])
