"""Public data formats, one file each. A new format is a new file and one line in ``SOURCES``."""

from pathlib import Path

from ckf_demo.data.sources import amazon, collm_ml1m, movielens, movielens100k, reviews, xrec
from ckf_demo.data.sources.base import Bulk, RawData, Source
from ckf_demo.runtime.errors import UserError

__all__ = ["SOURCES", "Bulk", "RawData", "Source", "source", "source_of"]

SOURCES: dict[str, Source] = {
    known.name: known
    for known in (
        movielens100k.SOURCE,
        movielens.SOURCE,
        collm_ml1m.SOURCE,
        xrec.YELP,
        xrec.GOOGLE,
        xrec.AMAZON,
        amazon.MUSICAL_INSTRUMENTS,
        amazon.SOURCE,
        reviews.SOURCE,
    )
}


def source_of(folder: Path) -> Source:
    """The source that can read a folder.

    Raises
    ------
    UserError
        When there is none; the message says what a folder may hold.
    """
    for known in SOURCES.values():
        if known.holds(folder):
            return known
    raise UserError(
        f"{folder} holds no data set that is known here; it may hold "
        + "; ".join(f"{known.files} ({known.label})" for known in SOURCES.values())
    )


def source(dataset: str) -> Source:
    """The source of a data set.

    Raises
    ------
    UserError
        When there is no such data set; the message lists the known ones.
    """
    if dataset not in SOURCES:
        raise UserError(f"unknown data set {dataset!r}; choose one of {', '.join(SOURCES)}")
    return SOURCES[dataset]
