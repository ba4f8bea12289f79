"""Packing: one user's moment in the data as one sequence with many questions.

A sequence is a shown history with a branch for every target. Each target sees only what its user
had rated strictly before it, in the prompt as in the collaborative embeddings.
"""

from dataclasses import dataclass

import numpy as np

from ckf_demo.collaborative.base import Labelled
from ckf_demo.collaborative.co_liked_items import CoLikedItems as CoLikedModel
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.model.predict import Context
from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.tasks.base import Moment, Question
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.explanations.facts import CoLikedItems
from ckf_demo.tasks.prompts import PromptConfig, taste_from, window_start
from ckf_demo.tasks.registry import TASKS
from ckf_demo.training.config import TrainConfig

SHORT_HISTORIES = (0, 1, 3, 10)
"""Lengths to which `TrainConfig.drop_history` cuts a history."""


@dataclass(frozen=True)
class PackedSequence(Context):
    """A user's context and questions about it, which are asked in one pass."""

    questions: list[Question]
    text_only: bool


@dataclass(frozen=True)
class Segment:
    """Target rows of one user whose shown history begins at the same item."""

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


def segment_at(
    segments: list[Segment], step: int, seed: int
) -> tuple[Segment, np.random.Generator]:
    """The segment of a step and the generator of its sequence.

    Both depend only on the seed and the step, so a resumed run continues identically. Every
    segment comes once in ``len(segments)`` steps.
    """
    epoch, place = divmod(step, len(segments))
    order = np.random.default_rng([seed, epoch]).permutation(len(segments))
    return segments[order[place]], np.random.default_rng([seed, 1, step])


def co_liked_by_id(prepared: Prepared) -> CoLikedItems:
    """Whether the same people like two items, by their ids."""
    fit = prepared.fit
    model = CoLikedModel.fit(
        prepared.user[fit], prepared.item[fit], prepared.rating[fit], prepared.n_items
    )
    return lambda a, b: model(prepared.item_index[a], prepared.item_index[b])


@dataclass(frozen=True)
class Told:
    """What a user says of themselves in a training sequence.

    ``words`` is as in `Description`; ``named`` are items that the taste names, by index.
    """

    profile: str = ""
    taste: str = ""
    words: np.ndarray | None = None
    named: tuple[int, ...] = ()


@dataclass
class Packer:
    """Draws packed sequences from segments."""

    prepared: Prepared
    train: TrainConfig
    prompt: PromptConfig
    knowledge: Knowledge
    """How often items were rated, for negatives, and labels."""
    liked_together: CoLikedItems
    """Whether the same people like two items, by their ids."""
    writings: TextEvidence | None = None
    """Texts that explanations are learnt from; without them explanations are composed of facts."""
    newcomers: NewcomerWords | None = None
    """Writes taste sentences; without it a taste is a list of genres."""

    def draw(
        self, segment: Segment, rng: np.random.Generator, *, text_only: bool, augment: bool
    ) -> PackedSequence:
        """One sequence from a segment; ``augment`` drops history, profile and titles at random."""
        data, config = self.prepared, self.train
        rows = data.history.rows_of(segment.user)
        lengths = data.history.lengths
        targets = segment.rows
        cut = augment and rng.random() < config.drop_history
        if cut:
            seen = int(lengths[rng.choice(targets)])
            k = int(rng.choice(SHORT_HISTORIES))
            targets = targets[lengths[targets] >= seen]
            history, start = rows[max(0, seen - k) : seen], 0
            before = rows[:seen]
        else:
            history = rows[: int(lengths[targets].max())]
            start = segment.start
            before = rows[: int(lengths[targets].min())]
        told = self.told(segment.user, before, rng, augment=augment)
        if cut and told.named:
            # the named items count like ratings
            named = before[np.isin(data.item[before], told.named) & ~np.isin(before, history)]
            history = np.concatenate([named, history])
        if len(targets) > config.rows:
            targets = self._some_targets(targets, rng)
        visible = {int(r): len(history) if cut else int(lengths[r]) for r in targets}
        labelled, labels = None, dict.fromkeys(visible, 0)
        if self.knowledge.uses_labels:
            training = bool(data.split[targets[0]] == TRAIN)
            labelled = self.knowledge.labelled(segment.user, training=training)
            if not cut:
                counts = self.knowledge.label_counts(segment.user, data.timestamp[targets])
                labels = dict(zip(visible, map(int, counts), strict=True))

        moment = Moment(
            prepared=data,
            knowledge=self.knowledge,
            rows=targets,
            visible=visible,
            labels=labels,
            history=history,
            shown_from=start,
            taste=told.taste,
            liked_together=self.liked_together,
            writings=self.writings,
            choices=config.choices,
            negatives=config.negatives,
            show_summaries=config.show_summaries,
            rng=rng,
        )
        tasks = [task for name, task in TASKS.items() if name in config.tasks]
        questions: list[Question] = []
        for row in map(int, targets):
            hide = bool(augment and rng.random() < config.hide_title)
            for task in tasks:
                questions += task.about_row(moment, row, hide_title=hide)
        for task in tasks:
            questions += task.about_moment(moment)
        return self.packed(history, start, told, questions, text_only=text_only, labelled=labelled)

    def _some_targets(self, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """`TrainConfig.rows` of the target rows, one with a text among them where there is one."""
        texts = self.with_texts(targets)
        targets = np.sort(rng.choice(targets, self.train.rows, replace=False))
        if len(texts) and not np.isin(targets, texts).any():
            # texts are few, and each is a question that no other row can ask
            targets[0] = rng.choice(texts)
            targets = np.sort(targets)
        return targets

    def packed(
        self,
        history: np.ndarray,
        start: int,
        told: Told,
        questions: list[Question],
        *,
        text_only: bool = False,
        labelled: Labelled | None = None,
    ) -> PackedSequence:
        """A sequence of history rows, with what the user says of themselves."""
        items, ratings = self.prepared.item[history], self.prepared.rating[history]
        return PackedSequence(
            items,
            ratings,
            start,
            told.profile,
            told.taste,
            questions,
            text_only,
            labelled=labelled,
            words=told.words,
        )

    def told(
        self, user: int, before: np.ndarray, rng: np.random.Generator, *, augment: bool
    ) -> Told:
        """Profile and taste of a user by the rows before; ``augment`` drops either at random."""
        data, config = self.prepared, self.train
        profile = ""
        if not augment or rng.random() >= config.drop_profile:
            profile = data.profile(user)
        if not augment or rng.random() >= config.keep_taste:
            return Told(profile)
        if self.newcomers is None:
            genres = [data.genres[i] for i in data.item[before]]
            return Told(profile, taste_from(genres, data.rating[before]))
        return Told(profile, *self.newcomers.words(before, rng))

    def with_texts(self, rows: np.ndarray) -> np.ndarray:
        """The rows of which a text is to be learnt."""
        return rows[self.prepared.written[rows]] if self.writings is not None else rows[:0]


def validation_sequences(packer: Packer, size: int, *, text_only: bool) -> list[PackedSequence]:
    """The same validation sequences each time: whole histories, nothing dropped."""
    rng = np.random.default_rng(12345)
    prepared = packer.prepared
    segments = segments_of(prepared, prepared.choosing_rows(), packer.prompt)
    if packer.writings is not None:
        segments = [segment for segment in segments if prepared.written[segment.rows].any()]
    chosen = rng.choice(len(segments), min(size, len(segments)), replace=False)
    return [packer.draw(segments[i], rng, text_only=text_only, augment=False) for i in chosen]
