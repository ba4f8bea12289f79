"""What every collaborative model is given and must answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

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


@dataclass(frozen=True)
class FoldedInUser:
    """Someone folded in from a history.

    ``embedding`` float32 (D,) is e_u; ``rating_factors`` (d_r,) and ``watching_factors`` (d_w,)
    are its parts, ``bias`` in stars, ``items`` and ``ratings`` (n,) the history itself.
    """

    embedding: np.ndarray
    rating_factors: np.ndarray
    watching_factors: np.ndarray
    bias: float
    items: np.ndarray
    ratings: np.ndarray

    @property
    def count(self) -> int:
        return len(self.items)


class PartialKnowledge:
    """What only some collaborative knowledge can say; asking another is a mistake in the program.

    Attributes
    ----------
    uses_labels
        Whether labels of the training part are known beside a history. Otherwise there is a
        candidate stage, which scores the whole catalogue.
    """

    uses_labels: ClassVar[bool] = False

    def labelled(self, user: int, *, training: bool) -> Labelled:
        """All labels of a user in the training part, and which tables go with them."""
        raise TypeError(f"{type(self).__name__} knows no labels beside histories")

    def label_counts(self, user: int, moments: np.ndarray) -> np.ndarray:
        """How many of them are strictly earlier than each moment: int64 (m,)."""
        raise TypeError(f"{type(self).__name__} knows no labels beside histories")

    def fold_in(self, items: np.ndarray, ratings: np.ndarray) -> FoldedInUser:
        """A person from their whole history (n,), oldest first; n may be 0."""
        raise TypeError(f"{type(self).__name__} has no candidate stage")

    def candidate_scores(self, person: FoldedInUser) -> np.ndarray:
        """What the candidate stage thinks of every item: float32 (I,)."""
        raise TypeError(f"{type(self).__name__} has no candidate stage")


class CollaborativeModel(Protocol):
    """A model with an item table that folds in people whom it has never seen."""

    items: np.ndarray

    def fold_in_prefixes(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """User vectors (m, d) and biases (m,) after each of ``lengths`` (m,) ratings."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that is needed to load the model again."""
