"""What every kind of collaborative knowledge is given and must answer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

if TYPE_CHECKING:
    import lenskit.data

CANDIDATES = 100
"""Number of items that the candidate stage passes on to re-ranking by default."""


@contextmanager
def own_threads() -> Iterator[None]:
    """Restore torch's number of threads afterwards: lenskit sets it for the whole process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_scorer(scorer, rows: "Rows", seed: int) -> None:
    """Train a scorer of lenskit on all ratings."""
    from lenskit.training import TrainingOptions

    with own_threads():
        scorer.train(rows.dataset(), TrainingOptions(rng=seed))


@dataclass(frozen=True)
class Rows:
    """Interactions: ``user`` and ``item`` int (n,), ``rating`` float (n,) in stars."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    n_items: int

    @classmethod
    def of(cls, prepared: Prepared, kept: np.ndarray) -> "Rows":
        """The interactions of a data set that a mask (n,) or an index array (m,) selects."""
        return cls(
            prepared.user[kept], prepared.item[kept], prepared.rating[kept], prepared.n_items
        )

    def counts(self) -> np.ndarray:
        """Number of interactions with each item: int64 (I,)."""
        return np.bincount(self.item, minlength=self.n_items)

    def sequences(self) -> list[np.ndarray]:
        """The items of each user in the order of the rows: int64 (n_u,), by increasing user."""
        order = np.argsort(self.user, kind="stable")
        ends = np.flatnonzero(np.diff(self.user[order])) + 1
        sequences = np.split(self.item[order].astype(np.int64), ends)
        return sequences if len(order) else []

    def dataset(self, minimum: float | None = None) -> "lenskit.data.Dataset":
        """The rows as a lenskit data set; with ``minimum``, only ratings of at least that many."""
        from lenskit.data import from_interactions_df

        frame = pd.DataFrame(
            {"user_id": self.user, "item_id": self.item, "rating": self.rating.astype(np.float32)}
        )
        if minimum is not None:
            frame = frame[frame["rating"] >= minimum]
        return from_interactions_df(frame)


@dataclass(frozen=True)
class Labelled:
    """The labels of one user in the training part, oldest first.

    ``items`` is int64 (s,), ``labels`` float (s,) with 0 or 1. ``fold`` names the cross-fitted
    tables that go with them; None means the tables of all training rows.
    """

    items: np.ndarray
    labels: np.ndarray
    fold: int | None = None


WORDS = ("words' fit", "words' likeness", "ruled out by words")
"""What a person's words say of an item: the share of the wishes that it fulfils (−1 for none, 1 for
all), the likeness of its text in standard deviations, and whether it is ruled out (1)."""


@dataclass(frozen=True)
class Description:
    """What a person says of themselves.

    ``profile`` is age, gender and occupation as one line, such as ``24, M, technician``; unknown
    parts are missing. ``words`` float32 (I, 3) holds `WORDS` for every item; None without words.
    """

    profile: str = ""
    words: np.ndarray | None = None


UNDESCRIBED = Description()


class Knowledge(ABC):
    """What other users' interactions say about a user and an item.

    It is fitted once. Users are always folded in from a history, so that new users are treated as
    known ones are.

    Attributes
    ----------
    feature_names
        Names of the F pair features.
    level
        The pair feature that says how well liked an item is.
    uses_labels
        Whether labels of the training part are used beside a history. Such knowledge has no
        candidate stage; all other knowledge scores the whole catalogue.
    item_count
        float32 (I,), the number of fitted interactions with each item.
    """

    feature_names: tuple[str, ...]
    level: ClassVar[str]
    uses_labels: ClassVar[bool] = False
    item_count: np.ndarray

    @classmethod
    @abstractmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> Self:
        """Fit on the rows set aside for collaborative models (``prepared.fit``)."""

    def for_serving(self, prepared: Prepared, *, seed: int = 0, retrieves: bool = True) -> Self:
        """Tables of all training rows, in the basis of these; by default these.

        ``retrieves`` says whether retrievers belong to them, for tables that may have some.
        """
        return self

    def for_learning(self, prepared: Prepared, *, seed: int = 0, retrieves: bool = True) -> Self:
        """Tables that have not seen what the language model learns from, in the basis of these.

        By default these; ``retrieves`` as for `for_serving`.
        """
        return self

    @property
    def n_items(self) -> int:
        return len(self.item_count)

    @property
    def size(self) -> int:
        """D, the dimension of e_u and e_v."""
        return self.item_table.shape[1]

    @property
    @abstractmethod
    def item_table(self) -> np.ndarray:
        """E_V, float32 (I, D), at unit scale."""

    @property
    @abstractmethod
    def levels(self) -> np.ndarray:
        """How well liked each item is: float (I,)."""

    @property
    @abstractmethod
    def global_mean(self) -> float:
        """Mean rating in stars, or the share of likes."""

    @abstractmethod
    def pair_inputs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
        description: Description = UNDESCRIBED,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs of the fusion for pairs, each after a prefix of one history (n,), oldest first.

        Parameters
        ----------
        lengths, targets : int (m,)
            For each pair: how much of the history counts, and the item.
        labelled, counts
            Labels of the same user, and how many of them count for each pair: int (m,). Ignored
            unless ``uses_labels``.
        description
            What the person says of themselves; ignored by knowledge without such features.

        Returns
        -------
        users : float32 (m, D)
            e_u, folded in.
        residuals : float32 (n,)
            Rating (or like) of each history item minus the item's own level.
        features : float32 (m, F)
            Pair features, see ``feature_names``.
        """

    def labelled(self, user: int, *, training: bool) -> Labelled:
        """All labels of a user in the training part, with the tables that go with them."""
        raise TypeError(f"{type(self).__name__} has no labels beside histories")

    def label_counts(self, user: int, moments: np.ndarray) -> np.ndarray:
        """How many labels of a user are strictly earlier than each moment: int64 (m,)."""
        raise TypeError(f"{type(self).__name__} has no labels beside histories")

    def candidate_scores(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Candidate-stage score of every item for a history (n,), oldest first: float32 (I,)."""
        raise TypeError(f"{type(self).__name__} has no candidate stage")

    def choices(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """Candidate-stage scores of pairs, each after a prefix of one history: float32 (m,).

        Zeros where there is no candidate stage. The arguments are as in `pair_inputs`.
        """
        scores = np.zeros(len(targets), np.float32)
        for length in () if self.uses_labels else np.unique(lengths):
            asked = lengths == length
            whole = self.candidate_scores(items[:length], ratings[:length])
            scores[asked] = whole[targets[asked]]
        return scores

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """What was fitted, by name; item attributes and interactions stay with the data."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], prepared: Prepared) -> Self:
        """Knowledge made of `tensors` and of the data that it was fitted on."""

    def save(self, path: Path) -> None:
        """Write `tensors` to one safetensors file."""
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors().items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path, prepared: Prepared) -> Self:
        """Read what `save` wrote; UserError when the file is missing."""
        if not Path(path).exists():
            raise UserError(f"No collaborative tables at {path}; the checkpoint is incomplete.")
        return cls.from_tensors(load_file(path), prepared)


def part(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def prefix_sums(rows: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, … n rows of an array (n, …): float64 (n + 1, …)."""
    return np.concatenate([np.zeros((1, *rows.shape[1:])), np.cumsum(rows, 0)])


def unit_rows(table: np.ndarray) -> np.ndarray:
    """Rows of a table scaled to unit length, so that inner products are cosines; zeros stay."""
    return table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-9)
