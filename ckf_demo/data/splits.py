"""One split in time: rows in order, the first 80 % train, then 10 % validation, then 10 % test.

The training part is cut once more. The collaborative tables that the language model learns with are
fitted on its first three quarters (60 % of all rows), and the language model is trained on the
rest, with users folded in from their histories. So the signals that it learns from have not seen
the label, as at serving time. The tables that serve are fitted on the whole training part
(`ckf_demo.collaborative.base.Knowledge.for_serving`).
"""

from collections.abc import Sequence
from hashlib import sha1

import numpy as np

TRAIN, VALID, TEST = 0, 1, 2
TRAIN_SHARE, VALID_SHARE, FIT_SHARE = 0.8, 0.1, 0.6
LEARNING_SHARE = 0.2
NEWCOMER_INTERACTIONS = 10
"""A user without interactions before the split is first asked about at this interaction."""
SMALLEST = 3
"""The least number of rows of a user whose last two rows are held out."""


def choosing_half(ids: Sequence[str]) -> np.ndarray:
    """Which users settings are chosen on: bool (n,); the others check the choice.

    It is every second user in the order of their hashes.
    """
    order = sorted(range(len(ids)), key=lambda i: sha1(ids[i].encode()).hexdigest())
    choosing = np.zeros(len(ids), dtype=bool)
    choosing[order[::2]] = True
    return choosing


def time_order(timestamp: np.ndarray, source_row: np.ndarray) -> np.ndarray:
    """Indices that sort rows by (timestamp, row number in the source)."""
    return np.lexsort((source_row, timestamp))


def time_split(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Split ``n`` rows that are in time order.

    Returns
    -------
    split : int8 array (n,), fit : bool array (n,)
        The part of each row, and whether the tables for learning may be fitted on it.
    """
    split = np.full(n, TEST, dtype=np.int8)
    n_train, n_valid = int(n * TRAIN_SHARE), int(n * VALID_SHARE)
    split[: n_train + n_valid] = VALID
    split[:n_train] = TRAIN
    fit = np.zeros(n, dtype=bool)
    fit[: int(n * FIT_SHARE)] = True
    return split, fit


def leave_last_out(user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each user's last row is for test, the one before for validation, all others for training.

    Users with fewer than three rows are for training alone. The tables for learning see the first
    three quarters of the training rows in time. Unlike a split in time, this split trains on rows
    of other users that are later than a test row.

    ``user`` int (n,) are the user indices of rows in time order. Returns as `time_split`.
    """
    order = np.argsort(user, kind="stable")
    ends = np.flatnonzero(np.diff(user[order], append=-1))
    sizes = np.diff(ends, prepend=-1)
    ends = ends[sizes >= SMALLEST]
    split = np.full(len(user), TRAIN, dtype=np.int8)
    split[order[ends]], split[order[ends - 1]] = TEST, VALID
    train = np.flatnonzero(split == TRAIN)
    fit = np.zeros(len(user), dtype=bool)
    fit[train[: int(len(train) * FIT_SHARE / TRAIN_SHARE)]] = True
    return split, fit


def last_of_each(user: np.ndarray, among: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The last fifth of the rows of each of some users, at least one row: bool (n,).

    ``user`` int (n,) are the user indices of rows in time order, ``among`` bool (n,) the rows that
    count, and ``users`` indices of the users; empty for all users.
    """
    rows = np.flatnonzero(among & (np.isin(user, users) if len(users) else True))
    last = np.zeros(len(user), dtype=bool)
    if not len(rows):
        return last
    order = rows[np.argsort(user[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(user[order], append=-1)) + 1
    sizes = np.diff(ends, prepend=0)
    kept = np.maximum(1, (LEARNING_SHARE * sizes).astype(int))
    behind = np.repeat(ends, sizes) - np.arange(len(order))
    last[order[behind <= np.repeat(kept, sizes)]] = True
    return last
