"""Explanation: why would it suit them, or not? One to three sentences from verified facts."""

import random
from dataclasses import dataclass

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.tasks.base import Moment, Question, Task
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.explanations.facts import CoLikedItems, Film, gather
from ckf_demo.tasks.explanations.wording import word

MAX_TOKENS = 90
WORDINGS = 4
"""Wordings of the same facts; with thousands of them a small model mixes them up."""


@dataclass(frozen=True)
class ExplanationTask(Task):
    """Answered in free text; its loss is the cross-entropy of the text's tokens."""

    def about_moment(self, moment: Moment) -> list[Question]:
        """One explanation: of a text in the data, or composed of facts where it has none."""
        data, rng = moment.prepared, moment.rng
        if moment.writings is not None:
            written = moment.rows[data.written[moment.rows]]
            if not len(written):
                return []
            row = int(rng.choice(written))
            earlier = moment.history[: moment.visible[row]]
            shares = moment.show_summaries
            return [text_question(data, moment.writings, row, earlier, shares, rng)]
        row = int(rng.choice(moment.rows))
        length, together = moment.visible[row], moment.liked_together
        shown = moment.history[moment.shown_from : length]
        item, stars = int(data.item[row]), float(data.rating[row])
        return [composed_question(data, together, item, stars, shown, length, moment.taste, rng)]


TASK = ExplanationTask("explanation", "Why", "\nWhy:", (), weight=0.4, selects=False)


def film(prepared: Prepared, item: int) -> Film:
    """A catalogue entry as the explanations see it."""
    own = (
        prepared.item_ids[item],
        prepared.titles[item],
        int(prepared.years[item]) or None,
        tuple(prepared.genres[item]),
    )
    if (facts := prepared.facts) is None:
        return Film(*own)
    named = (facts.directors, facts.actors, facts.tags, facts.countries, facts.languages)
    return Film(*own, *(names[item] for names in named), facts.descriptions[item])


def text_question(
    prepared: Prepared,
    writings: TextEvidence,
    row: int,
    history: np.ndarray,
    show_summaries: float,
    rng: np.random.Generator,
) -> Question:
    """The text of an interaction, to be learnt from ``history``, the interactions before it.

    ``show_summaries`` is the chance that a summary of the item is shown.
    """
    item = int(prepared.item[row])
    stars = float(prepared.rating[row]) if prepared.feedback == "ratings" else None
    evidence = writings.gather(
        prepared.item[history],
        item,
        stars=stars,
        user=int(prepared.user[row]),
        before=int(prepared.timestamp[row]),
        summaries=bool(rng.random() < show_summaries),
    )
    text = writings.text(row)
    return Question(
        TASK.name, item, len(history), facts=evidence.line, text=text, target=stars or 0.0
    )


def composed_question(
    prepared: Prepared,
    liked_together: CoLikedItems,
    item: int,
    stars: float,
    shown: np.ndarray,
    length: int,
    taste: str,
    rng: np.random.Generator,
) -> Question:
    """An explanation of ``stars`` for an item, composed of facts about the shown interactions."""
    history = [(film(prepared, int(prepared.item[r])), float(prepared.rating[r])) for r in shown]
    candidate = film(prepared, item)
    facts = gather(history, candidate, stars, liked_together, taste)
    text = word(facts, random.Random(int(rng.integers(WORDINGS)))).text
    return Question(TASK.name, item, length, facts=facts.line, text=text, target=stars)
