"""What every collaborative model is given and must answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import lenskit.data


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its threads back afterwards: lenskit sets their number for the whole process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Rows:
    """Training interactions: ``user`` and ``item`` int (n,), ``rating`` float (n,) in stars."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    n_items: int

    def dataset(self, minimum: float | None = None) -> "lenskit.data.Dataset":
        """As a lenskit data set, with only ratings of at least ``minimum`` when it is given."""
        from lenskit.data import from_interactions_df

        frame = pd.DataFrame(
            {"user_id": self.user, "item_id": self.item, "rating": self.rating.astype(np.float32)}
        )
        if minimum is not None:
            frame = frame[frame["rating"] >= minimum]
        return from_interactions_df(frame)


@dataclass(frozen=True)
class Labelled:
    """What the training part says of one person, oldest first.

    ``items`` int64 (s,), ``labels`` float (s,) 0/1; ``fold`` says which cross-fitted tables go with
    them, None for those of all training rows.
    """

    items: np.ndarray
    labels: np.ndarray
    fold: int | None = None


class CollaborativeModel(Protocol):
    """A model with an item table that folds in people whom it has never seen."""

    items: np.ndarray

    def fold_in_prefixes(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """User vectors (m, d) and biases (m,) after each of ``lengths`` (m,) ratings."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that is needed to load the model again."""
