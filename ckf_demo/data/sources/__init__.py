"""Public data formats, one file each. A new format is a new file and one line in ``SOURCES``."""

from pathlib import Path

from ckf_demo.data.sources import amazon, collm_ml1m, movielens, movielens100k, reviews, xrec
from ckf_demo.data.sources.base import Bulk, RawData, Source
from ckf_demo.runtime.errors import UserError

__all__ = ["SOURCES", "Bulk", "RawData", "Source", "source", "source_of"]

# `source_of` takes the first that fits, so a narrower format stands before a wider one.
SOURCES: dict[str, Source] = {
    each.name: each
    for each in (
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
    """The first of `SOURCES` whose files a folder holds; UserError says what a folder may hold."""
    for each in SOURCES.values():
        if each.holds(folder):
            return each
    raise UserError(
        f"{folder} holds no data set that is known here; it may hold "
        + "; ".join(f"{each.files} ({each.label})" for each in SOURCES.values())
    )


def source(dataset: str) -> Source:
    """The source of a data set; UserError lists the known ones."""
    if dataset not in SOURCES:
        raise UserError(f"unknown data set {dataset!r}; choose one of {', '.join(SOURCES)}")
    return SOURCES[dataset]
