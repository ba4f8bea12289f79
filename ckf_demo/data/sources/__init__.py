"""Public data formats, one file each. A new format is a new file and one line in ``SOURCES``."""

from pathlib import Path

from ckf_demo.data.sources import amazon, collm_ml1m, movielens, movielens100k, table, xrec
from ckf_demo.data.sources.base import Bulk, Choices, RawData, Source
from ckf_demo.runtime.errors import UserError

__all__ = ["SOURCES", "TABLE", "Bulk", "Choices", "RawData", "Source", "source", "source_of"]

# `source_of` takes the first that fits, so a narrower format stands before a wider one.
SOURCES: dict[str, Source] = {
    each.name: each
    for each in (
        movielens100k.SOURCE,
        movielens.SOURCE,
        movielens.DAT_SOURCE,
        movielens.LATEST_SMALL,
        collm_ml1m.SOURCE,
        xrec.YELP,
        xrec.GOOGLE,
        xrec.AMAZON,
        amazon.MUSICAL_INSTRUMENTS,
        amazon.SOURCE,
        table.SOURCE,
    )
}

TABLE = table.SOURCE.name
"""The format of anybody's own data."""


def source_of(folder: Path) -> Source:
    """The first of `SOURCES` whose files a folder holds; a file is a table.

    UserError says what the folder holds and what would do.
    """
    folder = Path(folder)
    if folder.is_dir():
        for each in SOURCES.values():
            if each.holds(folder):
                return each
    # the general reader says what is missing
    table.SOURCE.read(folder)
    return table.SOURCE


def source(dataset: str) -> Source:
    """The source of a data set; UserError lists the known ones."""
    if dataset not in SOURCES:
        raise UserError(f"unknown data set {dataset!r}; choose one of {', '.join(SOURCES)}")
    return SOURCES[dataset]
