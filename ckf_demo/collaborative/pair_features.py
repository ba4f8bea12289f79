"""Pair features of interactions of the data, each with its own history and moment."""

import numpy as np

from ckf_demo.collaborative.base import Description
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN


def row_features(
    prepared: Prepared, knowledge: Knowledge, rows: np.ndarray, targets: np.ndarray | None = None
) -> np.ndarray:
    """Pair features float32 (n, F) of rows, as in `row_inputs`."""
    return row_inputs(prepared, knowledge, rows, targets)[1]


def row_inputs(
    prepared: Prepared, knowledge: Knowledge, rows: np.ndarray, targets: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """e_u float32 (n, D) and pair features float32 (n, F) of rows, each with its own history.

    Where labels of the training part are used, those of training rows come out of fold. ``targets``
    replaces the rows' items.
    """
    targets = prepared.item[rows] if targets is None else targets
    users = np.empty((len(rows), knowledge.size), np.float32)
    features = np.empty((len(rows), len(knowledge.feature_names)), np.float32)
    trained = prepared.split[rows] == TRAIN
    order = np.lexsort((trained, prepared.user[rows]))
    key = prepared.user[rows][order] * 2 + trained[order]
    for group in np.split(order, np.flatnonzero(np.diff(key)) + 1):
        if not len(group):
            continue
        user = int(prepared.user[rows[group[0]]])
        history = prepared.history.rows_of(user)
        labelled = counts = None
        if knowledge.uses_labels:
            labelled = knowledge.labelled(user, training=bool(trained[group[0]]))
            counts = knowledge.label_counts(user, prepared.timestamp[rows[group]])
        users[group], _, features[group] = knowledge.pair_inputs(
            prepared.item[history].astype(np.int64),
            prepared.rating[history],
            prepared.history.lengths[rows[group]],
            targets[group].astype(np.int64),
            labelled,
            counts,
            Description(prepared.profile(user)),
        )
    return users, features
