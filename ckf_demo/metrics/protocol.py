"""What is scored, and what each method may know about it.

Rows are in (timestamp, source row) order. The history of a row is everything that its user rated
strictly earlier, also after the split; rows of the same moment are not in each other's history,
and the target never is. Cold start is measured on the *same* target rows with the history cut down
to its last k interactions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN, VALID

TRUNCATIONS: tuple[int | None, ...] = (0, 1, 3, 10, None)
"""Histories cut down to the last k interactions; ``None`` is the whole history."""

BANDS: tuple[tuple[str, int, int], ...] = (
    ("0", 0, 0),
    ("1-3", 1, 3),
    ("4-10", 4, 10),
    ("11+", 11, np.iinfo(np.int64).max),
)
"""History-length bands: name, first and last length."""

TAIL = 0.35
"""Share of the catalogue that counts as cold, and as warm, items (A-LLMRec's)."""


@dataclass(frozen=True)
class EvalInstances:
    """Target rows of a data set, each with the history that a method may see.

    ``rows`` int (n,) are the interactions of the targets. Histories are cut down to their last
    ``k`` interactions; None leaves them whole.
    """

    prepared: Prepared
    rows: np.ndarray
    k: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def users(self) -> np.ndarray:
        """User index of each target, int32 (n,)."""
        return self.prepared.user[self.rows]

    @property
    def items(self) -> np.ndarray:
        """Item index of each target, int32 (n,)."""
        return self.prepared.item[self.rows]

    @property
    def ratings(self) -> np.ndarray:
        """True rating of each target, float32 (n,)."""
        return self.prepared.rating[self.rows]

    @property
    def labels(self) -> np.ndarray:
        """Whether each target was liked, int8 (n,)."""
        return self.prepared.liked[self.rows].astype(np.int8)

    @cached_property
    def history_lengths(self) -> np.ndarray:
        """Number of interactions that each target's history holds, int64 (n,)."""
        lengths = self.prepared.history.lengths[self.rows]
        return lengths if self.k is None else np.minimum(lengths, self.k)

    def profile(self, user: int) -> str:
        """The profile line of one of `users`."""
        return self.prepared.profile(user)

    def by_history(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Targets grouped by the history they share.

        Yields their positions in ``rows``, and the items and ratings of the history, oldest first.
        """
        history = self.prepared.history
        whole = history.lengths[self.rows]
        user = np.where(self.history_lengths > 0, self.users, -1)
        order = np.lexsort((whole, user))
        user, whole = user[order], whole[order]
        changes = (np.diff(user) != 0) | ((np.diff(whole) != 0) & (user[1:] >= 0))
        for positions in np.split(order, np.flatnonzero(changes) + 1):
            if len(positions):
                before = history.before(int(self.rows[positions[0]]), self.k)
                yield positions, self.prepared.item[before], self.prepared.rating[before]


class AdHocInstances(EvalInstances):
    """Targets, int item indices (n,), for a given history: items and stars (m,), oldest first.

    The user need not be in the data and is -1; the targets have no ratings and labels. ``line`` is
    the user's profile, as prompts show it.
    """

    history: tuple[np.ndarray, np.ndarray]
    targets: np.ndarray
    line: str

    def __init__(
        self,
        prepared: Prepared,
        history: np.ndarray,
        ratings: np.ndarray,
        targets: np.ndarray,
        line: str = "",
    ):
        super().__init__(prepared, np.full(len(targets), -1))
        # a frozen class is filled in this way
        object.__setattr__(self, "history", (history, ratings))
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "line", line)

    def profile(self, user: int) -> str:
        return self.line

    @property
    def users(self) -> np.ndarray:
        return self.rows

    @property
    def items(self) -> np.ndarray:
        return self.targets

    @property
    def ratings(self) -> np.ndarray:
        raise TypeError("what is asked about has no rating yet")

    @property
    def labels(self) -> np.ndarray:
        raise TypeError("what is asked about has no label yet")

    @cached_property
    def history_lengths(self) -> np.ndarray:
        return np.full(len(self), len(self.history[0]))

    def by_history(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        yield np.arange(len(self)), *self.history


def item_tails(prepared: Prepared, share: float = TAIL) -> tuple[np.ndarray, np.ndarray]:
    """Cold and warm items, bool (n_items,) each: the ``share`` with the fewest and the most ones.

    Counted are training interactions; items with as many as the last of a tail belong to it.
    """
    counts = np.bincount(prepared.item[prepared.split == TRAIN], minlength=prepared.n_items)
    fewest, most = np.quantile(counts, [share, 1 - share])
    return counts <= fewest, counts >= most


def user_groups(
    prepared: Prepared, users: np.ndarray, lengths: np.ndarray, items: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The named groups that every result is given for, as bool arrays (n,).

    ``users`` and ``lengths`` (n,) are the user index and the length of the whole history of each
    row or query, and ``items`` the item indices of rows. The groups are ``all``; ``warm`` (the user
    has training ratings) and ``cold``; and the history-length bands. With a given split ``warm``
    asks that the training part has the item too, as such splits' authors do, and ``choose`` and
    ``accept`` are the halves of `Prepared.choosing_users`.
    """
    train = prepared.split == TRAIN
    warm = np.isin(users, prepared.user[train])
    if prepared.given_split and items is not None:
        warm &= np.isin(items, prepared.item[train])
    groups = {"all": np.ones(len(users), dtype=bool), "warm": warm, "cold": ~warm}
    groups |= {name: (lengths >= low) & (lengths <= high) for name, low, high in BANDS}
    validation = np.unique(prepared.user[prepared.split == VALID])
    if prepared.given_split and np.isin(users, validation).all():
        chosen = prepared.choosing_users[users]
        groups |= {"choose": chosen, "accept": ~chosen}
    return groups


def sample_by_user(prepared: Prepared, rows: np.ndarray, size: int | None, seed: int) -> np.ndarray:
    """A seeded sample of rows in which every user keeps their share, in the data's order.

    Each user keeps at least one row, so the sample can be somewhat larger than ``size``.
    """
    if size is None or size >= len(rows):
        return rows
    rng = np.random.default_rng(seed)
    users = prepared.user[rows]
    chosen = []
    for user in np.unique(users):
        own = rows[users == user]
        n = max(1, round(len(own) * size / len(rows)))
        chosen.append(rng.choice(own, size=min(n, len(own)), replace=False))
    return np.sort(np.concatenate(chosen))


def truncation_name(k: int | None) -> str:
    """Name of the group whose histories are cut down to ``k`` interactions."""
    return "k=all" if k is None else f"k={k}"


def ranked(scores: np.ndarray, exclude: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """The ``n`` best item indices by score, best first; ties go to the smaller index.

    Items without a score (NaN) come last; ``exclude`` never appears.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    return order[~np.isin(order, exclude)][:n]
