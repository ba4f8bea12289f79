"""Settings of a data set: what counts as liked, which users and items are kept, and the split."""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import leave_last_out, time_split
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.section import Section


class DataConfig(Section):
    """The ``[data]`` section: a data set and its settings."""

    dataset: str = "ml-100k"
    """A data set that `ckf prepare` knows."""
    # a default is left out of a dump, so that the dumps of older configurations stay as they are
    liked_from: float = Field(
        LIKED_STARS, gt=1, le=5, exclude_if=lambda value: value == LIKED_STARS
    )
    """The least rating that counts as liked, in stars: above 1, at most 5."""
    core: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """The k of the k-core of users and items that is kept; 0 keeps all."""
    split: Literal["own", "leave-last-out"] = Field("own", exclude_if=lambda value: value == "own")
    """``own``: the split of the source, or a split in time if it has none. ``leave-last-out``:
    each user's last interaction is for test, the one before it for validation."""


def applied(prepared: Prepared, config: DataConfig) -> Prepared:
    """The data with the settings of a configuration; with its defaults, ``prepared`` itself.

    Users and items are left out first, then the rest is split. Raises UserError when the data come
    with a split or hold only likes, or no interaction is left.
    """
    if config == DataConfig(dataset=config.dataset):
        return prepared
    if prepared.given_split or prepared.feedback != "ratings":
        raise UserError(
            f"data.liked_from, data.core and data.split cannot be set for {prepared.dataset}: it "
            "comes with its own likes and split."
        )
    data = replace(prepared, liked_from=config.liked_from)
    if config.core:
        kept = in_core(data.user, data.item, config.core)
        if not kept.any():
            raise UserError(
                f"{prepared.dataset} has no users and items with {config.core} interactions with "
                "each other; set data.core to less."
            )
        data = data.restricted(kept)
        split, fit = time_split(len(data.user))
        data = replace(data, split=split, fit=fit)
    if config.split == "leave-last-out":
        split, fit = leave_last_out(data.user)
        data = replace(data, split=split, fit=fit)
    return data


def in_core(user: np.ndarray, item: np.ndarray, least: int) -> np.ndarray:
    """Which interactions (int arrays (n,) of users and items) belong to the k-core: bool (n,).

    Users and items with fewer than ``least`` interactions are removed repeatedly, until all that
    are left have that many among themselves.
    """
    kept = np.ones(len(user), dtype=bool)
    while True:
        enough = kept.copy()
        for owner in (user, item):
            enough &= np.bincount(owner[kept], minlength=owner.max(initial=0) + 1)[owner] >= least
        if (enough == kept).all():
            return kept
        kept = enough
