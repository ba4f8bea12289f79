"""Pair features of all training rows, from tables that do not know the rows' users.

Users are always folded in from their histories, so a user whose rows are in no table is as any new
one. So models on top of the features learn from every training row, with no label among its own
features.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ckf_demo.collaborative.base import Description, Knowledge
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN

Words = Callable[[np.ndarray, np.random.Generator], tuple[str, np.ndarray | None, tuple[int, ...]]]
"""Makes a taste sentence of the user of some interactions, by index: the sentence, what it says of
every item (`Description`), and the items that it names."""

FOLDS = 5
"""Parts of the users; the features of a user's rows come from tables without their part."""
ROWS = 100_000
"""Training rows that the prior learns from, at most."""
LENGTHS, SHARES = (0, 1, 2, 3, 5, 10), (0.25, 0.2, 0.1, 0.15, 0.1, 0.2)
"""Ratings that a cut history keeps, and how often."""
WITHOUT_PROFILE = 0.3
"""Share of the examples without a profile."""
SENTENCES = 5
"""Taste sentences of one user, each made of what they liked before the rows that it goes with."""


def crossfitted(
    prepared: Prepared, newcomers: Words | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows int (n,) of the training part and their pair features float32 (n, F).

    Each row comes with its whole history, and with a cut one, with or without profile and words.
    The features come from tables that were fitted without the row's user.
    """
    rng = np.random.default_rng(seed)
    rows = prepared.rows(split=TRAIN)
    part = rng.integers(FOLDS, size=prepared.n_users)
    used = rows if len(rows) <= ROWS else np.sort(rng.choice(rows, ROWS, replace=False))
    places: list[np.ndarray] = []
    features: list[np.ndarray] = []
    for fold in range(FOLDS):
        others = rows[part[prepared.user[rows]] != fold]
        tables = CollaborativeKnowledge.fit(prepared, rows=others, seed=seed, retrieves=False)
        mine = used[part[prepared.user[used]] == fold]
        for user in np.unique(prepared.user[mine]):
            of_user = mine[prepared.user[mine] == user]
            places += [of_user]
            features += [_whole(prepared, tables, of_user, rng)]
            for cut, values in _cut(prepared, tables, of_user, newcomers, rng):
                places += [cut]
                features += [values]
    return np.concatenate(places), np.concatenate(features)


def _whole(
    prepared: Prepared, tables: Knowledge, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Features of one user's rows (n, F), each with the whole history before it."""
    history = prepared.history.rows_of(int(prepared.user[rows[0]]))
    return tables.pair_inputs(
        prepared.item[history].astype(np.int64),
        prepared.rating[history],
        prepared.history.lengths[rows],
        prepared.item[rows].astype(np.int64),
        description=_description(prepared, rows, rng),
    )[2]


def _cut(
    prepared: Prepared,
    tables: Knowledge,
    rows: np.ndarray,
    newcomers: Words | None,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One user's rows moment by moment (n,), and their features (n, F) with a cut history."""
    history = prepared.history.rows_of(int(prepared.user[rows[0]]))
    lengths = prepared.history.lengths[rows]
    moments = np.unique(lengths)
    for group in np.array_split(moments, min(SENTENCES, len(moments))):
        words, named = None, ()
        if newcomers is not None:
            _, words, named = newcomers(history[: group[0]], rng)
        for seen in group:
            before = history[:seen]
            k = int(rng.choice(LENGTHS, p=SHARES))
            shown = before[len(before) - k :] if k else before[:0]
            described = _description(prepared, rows, rng)
            if words is not None and rng.random() < 0.5:
                described = replace(described, words=words)
                also = np.isin(prepared.item[before], named) & ~np.isin(before, shown)
                shown = np.concatenate([before[also], shown])
            now = rows[lengths == seen]
            yield (
                now,
                tables.pair_inputs(
                    prepared.item[shown].astype(np.int64),
                    prepared.rating[shown],
                    np.full(len(now), len(shown)),
                    prepared.item[now].astype(np.int64),
                    description=described,
                )[2],
            )


def _description(prepared: Prepared, rows: np.ndarray, rng: np.random.Generator) -> Description:
    """The profile of the rows' user, or nothing now and then."""
    known = rng.random() >= WITHOUT_PROFILE
    return Description(prepared.profile(int(prepared.user[rows[0]])) if known else "")
