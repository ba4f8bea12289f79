"""A stage that trains only explanations: the adapter learns to phrase facts."""

import numpy as np
from rich.progress import Progress
from torch import Tensor

from ckf_demo.data.splits import TRAIN
from ckf_demo.model.system import System
from ckf_demo.tasks import explanation
from ckf_demo.tasks.base import Question
from ckf_demo.tasks.explanation import composed_question, text_question
from ckf_demo.tasks.prompts import window_start
from ckf_demo.training.losses import sequence_losses
from ckf_demo.training.sequences import (
    SHORT_HISTORIES,
    PackedSequence,
    Packer,
    Segment,
    segment_at,
)
from ckf_demo.training.stage import SAVE_EVERY, Stage, console

TASK = explanation.TASK.name
VERDICT_SHARES = {"mixed": 0.5, "positive": 0.25, "negative": 0.25}
"""Shares of the explanations. Most predictions are middling, and those are hardest to phrase."""
VERDICT_STARS = {"mixed": (3.0, 3.5), "positive": (4.0, 4.5, 5.0), "negative": (1.0, 1.5, 2.0, 2.5)}
FEW_SHOWN = 3
"""Maximal number of items in prompts that show fewer items than the facts mention."""


class ExplanationStage(Stage):
    """Trains the explanation adapter on many explanations per sequence."""

    name = "wording"

    @classmethod
    def needed(cls, system: System) -> bool:
        config = system.config.train
        return TASK in config.tasks and config.wording_steps > 0

    def run(self, progress: Progress) -> None:
        """Train for the configured steps; the checkpoint is written at each look."""
        config = self.system.config.train
        segments = self.segments
        if self.packer.writings is not None:
            written = self.packer.prepared.written
            segments = [segment for segment in segments if written[segment.rows].any()]
        losses: list[float] = []

        def loss_at(step: int) -> Tensor:
            segment, rng = segment_at(segments, config.steps + step, config.seed)
            sequence = draw_explanations(self.packer, segment, rng, config.wording_size)
            loss = sequence_losses(self.system, sequence)[TASK]
            losses.append(loss.item())
            return loss

        def look(step: int) -> None:
            if not step:
                return
            recent = float(np.mean(losses[-SAVE_EVERY:]))
            console.print(f"wording {step}: {recent:.4f}")
            self.save({"steps": step, "explanation": round(recent, 5)})

        self.train_adapter(TASK, config.wording_steps, config.wording_rate, loss_at, look, progress)


def draw_explanations(
    packer: Packer, segment: Segment, rng: np.random.Generator, size: int
) -> PackedSequence:
    """Draw ``size`` explanations at one moment of a segment.

    The adapter learns to phrase facts here, so the items are those that the user rated next or any
    others, and the verdicts are random (`VERDICT_SHARES`). Half of the prompts show fewer items
    than the facts mention. Texts of the data are learnt unchanged, each at its own moment.
    """
    data, config = packer.prepared, packer.train
    rows = data.history.rows_of(segment.user)
    if packer.writings is not None:
        written = packer.with_texts(segment.rows)
        written = np.sort(rng.choice(written, min(size, len(written)), replace=False))
        lengths = data.history.lengths[written]
        questions = [
            text_question(
                data, packer.writings, int(row), rows[:length], config.show_summaries, rng
            )
            for row, length in zip(written, lengths, strict=True)
        ]
        told = packer.told(segment.user, rows[:0], rng, augment=True)
        return packer.packed(rows[: int(lengths.max())], segment.start, told, questions)
    seen = int(data.history.lengths[rng.choice(segment.rows)])
    history, start = rows[:seen], window_start(seen, packer.prompt)
    if rng.random() < config.drop_history:
        history = rows[max(0, seen - int(rng.choice(SHORT_HISTORIES))) : seen]
        start = 0
    told = packer.told(segment.user, rows[:seen], rng, augment=True)
    later = rows[seen:]
    later = data.item[later[data.split[later] == TRAIN][:size]]
    unseen = np.setdiff1d(np.arange(data.n_items), data.item[rows])
    questions: list[Question] = []
    for place in range(size):
        item = int(rng.choice(later if place % 2 else unseen))
        verdict = rng.choice(list(VERDICT_SHARES), p=list(VERDICT_SHARES.values()))
        stars = float(rng.choice(VERDICT_STARS[verdict]))
        shown, length = history[start:], len(history)
        questions.append(
            composed_question(
                data, packer.liked_together, item, stars, shown, length, told.taste, rng
            )
        )
    if rng.random() < 0.5:
        start = max(start, len(history) - int(rng.integers(FEW_SHOWN + 1)))
    return packer.packed(history, start, told, questions)
