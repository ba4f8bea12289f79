"""Worked examples for in-context learning: other people's questions, answered."""

from collections.abc import Sequence

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.tasks.prompts import PromptWriter

FILMS = 5
"""Of each example's history, the last ones."""

ANSWERED = ("rating", "ctr")


def worked_examples(
    writer: PromptWriter, prepared: Prepared, tasks: Sequence[str], *, seed: int
) -> list[int]:
    """Token ids of `PromptConfig.examples` answered questions, to stand before a prompt.

    They are training rows of as many people, liked and disliked in turn, as prompts without tokens
    ask them; none where the configuration wants none.
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
    for task in (task for task in ANSWERED if task in tasks):
        branch = writer.branch(task, int(prepared.item[row]), len(ids), with_tokens=False)
        if task == "rating":
            place = int(prepared.rating[row] + 0.5) - 1
        else:
            place = 0 if prepared.liked[row] else 1
        ids = [*ids, *branch.ids, writer.answers[task][place], *writer.tokens("\n")]
    return ids
