"""Packing: one person's moment in the data as one sequence with many questions.

A sequence is a shown history with a branch for every target. Each target sees only what its user
had rated strictly before it, in the prompt as in the collaborative embeddings.
"""

import random
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

import numpy as np

from ckf_demo.collaborative.base import Labelled
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.explanations.facts import CoLikedItems, Film, compose, fact_line
from ckf_demo.tasks.prompts import PromptConfig, profile_text, taste_from, window_start
from ckf_demo.training.config import TrainConfig
from ckf_demo.training.negatives import not_chosen

SHORT_HISTORIES = (0, 1, 3, 10)
WORDINGS = 4
"""Wordings of the same facts; with thousands of them a small model mixes them up."""
VERDICT_SHARES = {"mixed": 0.5, "positive": 0.25, "negative": 0.25}
"""Of explanations in the last stage: most predictions are middling, and hardest to word."""
VERDICT_STARS = {"mixed": (3.0, 3.5), "positive": (4.0, 4.5, 5.0), "negative": (1.0, 1.5, 2.0, 2.5)}
FEW_SHOWN = 3


@dataclass(frozen=True)
class Question:
    """One branch: ``length`` history items are visible; ``stars`` and ``liked`` are the answer.

    ``labels`` of the training part are known besides, where the collaborative side uses any.
    """

    task: str
    item: int
    length: int
    stars: float = 0.0
    liked: bool = False
    labels: int = 0
    facts: str = ""
    text: str = ""
    hide_title: bool = False


@dataclass(frozen=True)
class PackedSequence:
    """A history (items and ratings, oldest first), what is shown of it, and the questions."""

    items: np.ndarray
    ratings: np.ndarray
    shown_from: int
    profile: str
    taste: str
    questions: list[Question]
    text_only: bool
    labelled: Labelled | None = None


@dataclass(frozen=True)
class Segment:
    """Target rows of one user whose shown history begins at the same film."""

    user: int
    start: int
    rows: np.ndarray


def segments_of(prepared: Prepared, rows: np.ndarray, config: PromptConfig) -> list[Segment]:
    """Group target rows by user and by the block at which their shown history begins."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        start = window_start(prepared.history.length(row), config)
        groups.setdefault((int(prepared.user[row]), start), []).append(int(row))
    return [Segment(u, s, np.array(g)) for (u, s), g in sorted(groups.items())]


def film(prepared: Prepared, item: int) -> Film:
    """A catalogue entry as the explanations see it."""
    return Film(
        prepared.item_ids[item],
        prepared.titles[item],
        int(prepared.years[item]) or None,
        tuple(prepared.genres[item]),
    )


class Packer:
    """Draws packed sequences from segments.

    Parameters
    ----------
    knowledge
        What the collaborative side knows: how often items were rated, for negatives, and labels.
    writings
        Texts that explanations are learnt from; None where the data have none, and they are
        composed of facts.
    """

    def __init__(
        self,
        prepared: Prepared,
        train: TrainConfig,
        prompt: PromptConfig,
        knowledge: Knowledge,
        liked_together: CoLikedItems,
        writings: TextEvidence | None = None,
    ):
        self.prepared, self.train, self.prompt = prepared, train, prompt
        self.knowledge, self.liked_together = knowledge, liked_together
        self.writings = writings

    def draw(
        self,
        segment: Segment,
        rng: np.random.Generator,
        *,
        text_only: bool,
        augment: bool,
    ) -> PackedSequence:
        """One sequence from a segment; ``augment`` drops history, profile and titles at random."""
        data, config = self.prepared, self.train
        own = data.history.rows_of(segment.user)
        lengths = data.history.lengths
        targets = segment.rows
        cut = augment and rng.random() < config.drop_history
        if cut:
            known = int(lengths[rng.choice(targets)])
            k = int(rng.choice(SHORT_HISTORIES))
            targets = targets[lengths[targets] >= known]
            history, start = own[max(0, known - k) : known], 0
            before = own[:known]
        else:
            history = own[: int(lengths[targets].max())]
            start = segment.start
            before = own[: int(lengths[targets].min())]
        texts = self._with_texts(targets)
        if len(targets) > config.rows:
            targets = np.sort(rng.choice(targets, config.rows, replace=False))
            if len(texts) and not np.isin(targets, texts).any():
                # texts are few, and each is a question that no other row can ask
                targets[0] = rng.choice(texts)
                targets = np.sort(targets)
        visible = {int(r): len(history) if cut else int(lengths[r]) for r in targets}
        labelled, labels = None, dict.fromkeys(visible, 0)
        if self.knowledge.uses_labels:
            training = bool(data.split[targets[0]] == TRAIN)
            labelled = self.knowledge.labelled(segment.user, training=training)
            if not cut:
                moments = data.timestamp[targets]
                counts = self.knowledge.label_counts(segment.user, moments)
                labels = dict(zip(visible, map(int, counts), strict=True))

        profile, taste = self._description(segment.user, before, rng, augment=augment)
        questions: list[Question] = []
        for row in targets:
            item, stars = int(data.item[row]), float(data.rating[row])
            hide = bool(augment and rng.random() < config.hide_title)
            for task in ("rating", "ctr"):
                if task in config.tasks:
                    liked = bool(data.liked[row])
                    known = visible[int(row)], stars, liked, labels[int(row)]
                    questions.append(Question(task, item, *known, hide_title=hide))
                    if task == "ctr" and data.positive_only:
                        other = int(not_chosen(data, self.knowledge, int(row), 1, rng)[0])
                        known = visible[int(row)], 0.0, False, labels[int(row)]
                        questions.append(Question(task, other, *known, hide_title=hide))
        if "ranking" in config.tasks:
            questions += self._choices(targets, visible, rng)
        if "explanation" in config.tasks and self.writings is None:
            row = int(rng.choice(targets))
            item, stars = int(data.item[row]), float(data.rating[row])
            shown = history[start : visible[row]]
            questions.append(self._explanation(item, stars, shown, visible[row], taste, rng))
        elif "explanation" in config.tasks and len(texts := self._with_texts(targets)):
            row = int(rng.choice(texts))
            questions.append(self._given(row, history[: visible[row]], visible[row], rng))
        packed = self._packed(history, start, (profile, taste), questions, text_only)
        return replace(packed, labelled=labelled)

    def draw_wordings(
        self, segment: Segment, rng: np.random.Generator, size: int
    ) -> PackedSequence:
        """``size`` explanations at one moment of a segment, for the last stage of training.

        What is learnt there is to put facts into words, so the films are what the user rated next
        or any others, the verdicts are drawn (`VERDICT_SHARES`), and half of the time the prompt
        shows fewer films than the facts speak of. Given texts are learnt as they are, each at its
        own moment.
        """
        data, config = self.prepared, self.train
        own = data.history.rows_of(segment.user)
        if self.writings is not None:
            rows = self._with_texts(segment.rows)
            rows = np.sort(rng.choice(rows, min(size, len(rows)), replace=False))
            lengths = data.history.lengths[rows]
            questions = [
                self._given(int(row), own[:length], int(length), rng)
                for row, length in zip(rows, lengths, strict=True)
            ]
            description = self._description(segment.user, own[:0], rng, augment=True)
            history = own[: int(lengths.max())]
            return self._packed(history, segment.start, description, questions, False)
        known = int(data.history.lengths[rng.choice(segment.rows)])
        history, start = own[:known], window_start(known, self.prompt)
        if rng.random() < config.drop_history:
            history = own[max(0, known - int(rng.choice(SHORT_HISTORIES))) : known]
            start = 0
        profile, taste = self._description(segment.user, own[:known], rng, augment=True)
        later = own[known:]
        later = data.item[later[data.split[later] == TRAIN][:size]]
        unseen = np.setdiff1d(np.arange(data.n_items), data.item[own])
        questions = []
        for place in range(size):
            item = int(rng.choice(later if place % 2 else unseen))
            verdict = rng.choice(list(VERDICT_SHARES), p=list(VERDICT_SHARES.values()))
            stars = float(rng.choice(VERDICT_STARS[verdict]))
            questions.append(
                self._explanation(item, stars, history[start:], len(history), taste, rng)
            )
        if rng.random() < 0.5:
            start = max(start, len(history) - int(rng.integers(FEW_SHOWN + 1)))
        return self._packed(history, start, (profile, taste), questions, False)

    def _packed(
        self,
        history: np.ndarray,
        start: int,
        description: tuple[str, str],
        questions: list[Question],
        text_only: bool,
    ) -> PackedSequence:
        items, ratings = self.prepared.item[history], self.prepared.rating[history]
        return PackedSequence(items, ratings, start, *description, questions, text_only)

    def _description(
        self, user: int, before: np.ndarray, rng: np.random.Generator, *, augment: bool
    ) -> tuple[str, str]:
        """Profile and taste lines; ``augment`` drops the one and draws the other at random."""
        data, config = self.prepared, self.train
        profile = taste = ""
        if not augment or rng.random() >= config.drop_profile:
            profile = profile_text(
                {
                    "age": int(data.ages[user]),
                    "gender": data.genders[user],
                    "occupation": data.occupations[user],
                }
            )
        if augment and rng.random() < config.keep_taste:
            taste = taste_from([data.genres[i] for i in data.item[before]], data.rating[before])
        return profile, taste

    def _choices(self, targets: np.ndarray, visible: dict[int, int], rng) -> list[Question]:
        data, config = self.prepared, self.train
        liked = [int(r) for r in targets if data.liked[r]]
        rng.shuffle(liked)
        questions = []
        for row in liked[: config.choices]:
            others = not_chosen(data, self.knowledge, row, config.negatives, rng)
            for item in (int(data.item[row]), *map(int, others)):
                questions.append(Question("ranking", item, visible[row]))
        return questions

    def _with_texts(self, rows: np.ndarray) -> np.ndarray:
        """The rows of which a text is to be learnt."""
        return rows[self.prepared.written[rows]] if self.writings is not None else rows[:0]

    def _given(self, row: int, history: np.ndarray, length: int, rng) -> Question:
        """The text of an interaction, from what was known before it."""
        data, writings = self.prepared, self.writings
        assert writings is not None  # asked where there are texts alone
        item, rated = int(data.item[row]), data.feedback == "ratings"
        stars = float(data.rating[row]) if rated else None
        evidence = writings.gather(
            data.item[history],
            item,
            stars=stars,
            user=int(data.user[row]),
            before=int(data.timestamp[row]),
            summaries=bool(rng.random() < self.train.show_summaries),
        )
        text = writings.text(row)
        return Question("explanation", item, length, stars or 0.0, facts=evidence.line, text=text)

    def _explanation(
        self, item: int, stars: float, shown: Seq[int], length: int, taste: str, rng
    ) -> Question:
        data = self.prepared
        history = [(film(data, int(data.item[r])), float(data.rating[r])) for r in shown]
        candidate = film(data, item)
        facts, _ = fact_line(history, candidate, stars, self.liked_together, taste)
        wording = random.Random(int(rng.integers(WORDINGS)))
        text = compose(history, candidate, stars, self.liked_together, wording, taste).text
        return Question("explanation", item, length, stars, facts=facts, text=text)
