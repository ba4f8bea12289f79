"""Public data formats, one file each. A new format is a new file and one line in ``SOURCES``."""

from ckf_demo.data.sources import movielens100k
from ckf_demo.data.sources.base import RawData, Source
from ckf_demo.errors import UserError

__all__ = ["SOURCES", "RawData", "Source", "source"]

SOURCES: dict[str, Source] = {
    movielens100k.SOURCE.name: movielens100k.SOURCE,
}


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
