"""Worked examples for in-context learning: other people's questions, answered."""

from collections.abc import Sequence

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.tasks.prompts import PromptWriter
from ckf_demo.tasks.registry import TASKS

FILMS = 5
"""Items of each example's history, the last ones."""


def worked_examples(
    writer: PromptWriter, prepared: Prepared, tasks: Sequence[str], *, seed: int
) -> list[int]:
    """Token ids of `PromptConfig.examples` answered questions, to stand before a prompt.

    They are training rows of as many users, liked and disliked in turn, asked as prompts without
    tokens ask; none where the configuration wants none.
    """
    size = writer.config.examples
    if not size:
        return []
    rng = np.random.default_rng(seed)
    rows = rng.permutation(prepared.learning_rows())
    rows = rows[prepared.history.lengths[rows] >= FILMS]
    _, first = np.unique(prepared.user[rows], return_index=True)
    rows = rows[np.sort(first)]
    kinds = [rows[prepared.liked[rows]], rows[~prepared.liked[rows]]]
    ids: list[int] = []
    for place in range(size):
        of_kind = kinds[place % 2]
        if place // 2 < len(of_kind):
            ids += _answered(writer, prepared, int(of_kind[place // 2]), tasks)
    return ids


def _answered(
    writer: PromptWriter, prepared: Prepared, row: int, tasks: Sequence[str]
) -> list[int]:
    """One person's films, and the questions about the next with their answers."""
    before = prepared.history.before(row, FILMS)
    ids = writer.prefix(prepared.item[before], prepared.rating[before]).ids
    for name, task in TASKS.items():
        answer = task.example_answer(float(prepared.rating[row]), bool(prepared.liked[row]))
        if name in tasks and answer is not None:
            branch = writer.branch(name, int(prepared.item[row]), len(ids), with_tokens=False)
            ids = [*ids, *branch.ids, writer.answers[name][answer], *writer.tokens("\n")]
    return ids
