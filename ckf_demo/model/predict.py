"""The one forward path: from people and questions about items to answers.

A `Context` (what is known of a person) and `Question`s about items go through the same steps in
training, in evaluation and when serving:

    fused = fuse(system, context, questions)                     tokens, weight updates, priors
    states = answer_states(system, context, questions, fused)    prompt and language model
    system.read(task, states, fused, pairs, calibrate=True)      answers
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ckf_demo.backbone.engine import Branch, Prefix, Suffix
from ckf_demo.backbone.prefixes import shared_length
from ckf_demo.collaborative.base import Description, Labelled
from ckf_demo.data.splits import TRAIN
from ckf_demo.fusion.base import Fused, PairBatch
from ckf_demo.model.system import COMPLETE, Ablation, System
from ckf_demo.tasks.base import Question
from ckf_demo.tasks.prompts import (
    PrefixText,
    PromptConfig,
    PromptWriter,
    window_start,
)

Prefixes = Callable[[list[int]], Prefix]
"""Gives the keys and values of a prefix under all adapters, such as `PrefixCache`."""


@dataclass(frozen=True)
class Context:
    """What is known of one person.

    ``items`` int (n,) and ``ratings`` float (n,) in stars are the history, oldest first.
    ``profile`` and ``taste`` are lines of the prompt; empty for none.
    """

    items: np.ndarray
    ratings: np.ndarray
    shown_from: int
    """Where the part of the history that the prompt shows begins."""
    profile: str
    taste: str
    labelled: Labelled | None = field(default=None, kw_only=True)
    """What the training part says of the person, where the collaborative side uses labels."""
    words: np.ndarray | None = field(default=None, kw_only=True)
    """What their words say of every item, as in `Description`."""

    @property
    def description(self) -> Description:
        """What the collaborative side gets of profile and words."""
        return Description(self.profile, self.words)

    @classmethod
    def of(
        cls,
        items: np.ndarray,
        ratings: np.ndarray,
        config: PromptConfig,
        profile: str = "",
        taste: str = "",
    ) -> "Context":
        """A person of whom as much is shown as the window of prompts holds."""
        return cls(items, ratings, window_start(len(items), config), profile, taste)

    def question(self, task: str, item: int, **options: Any) -> Question:
        """A question asked when all of this is known; ``options`` are further fields of it."""
        labels = 0 if self.labelled is None else len(self.labelled.items)
        return Question(task, int(item), len(self.items), labels=labels, **options)

    def prefix(self, writer: PromptWriter, *, with_tokens: bool = True) -> PrefixText:
        """The beginning of the prompt, which all questions about the person share."""
        items, ratings = self.items[self.shown_from :], self.ratings[self.shown_from :]
        return writer.prefix(items, ratings, self.profile, self.taste, with_tokens=with_tokens)


def branch_of(
    system: System, question: Question, prefix: PrefixText, context: Context, acts: bool
) -> Branch:
    """A question's tokens behind the prefix, with collaborative ones if the method acts."""
    return system.writer.branch(
        question.task,
        question.item,
        prefix.ends[question.length - context.shown_from],
        with_tokens=acts and system.fusion.uses_tokens,
        facts=question.facts,
        hide_title=question.hide_title,
        continuation=question.text,
    )


def fuse(
    system: System,
    context: Context,
    questions: Sequence[Question],
    ablation: Ablation = COMPLETE,
    bridges: tuple[Tensor, Tensor] | None = None,
) -> Fused | None:
    """What enters collaboratively for the pair of each question; None for methods of text alone.

    ``bridges`` are another person's, for a method that has personal ones.
    """
    if not system.fusion.fuses:
        return None
    return system.fuse(pairs_of(system, context, questions), ablation, bridges)


def pairs_of(system: System, context: Context, questions: Sequence[Question]) -> PairBatch:
    """The person with the item of each question, folded in."""
    labelled = context.labelled
    return system.pairs(
        context.items,
        context.ratings,
        np.array([q.length for q in questions], np.int64),
        np.array([q.item for q in questions], np.int64),
        labelled,
        None if labelled is None else np.array([q.labels for q in questions]),
        context.description,
    )


def answer_states(
    system: System,
    context: Context,
    questions: Sequence[Question],
    fused: Fused | None,
    ablation: Ablation = COMPLETE,
    *,
    pairs: Sequence[int] | None = None,
    prefixes: Prefixes | None = None,
    training: bool = False,
) -> list[Tensor]:
    """The hidden states at which the answers to questions are read.

    Parameters
    ----------
    fused, pairs
        What enters, and the pair of each question in it; by default one pair for each question.
        None for text alone.
    prefixes
        Where keys and values of prefixes are kept; without it they are computed.
    training
        Whether gradients are wanted. Prefix and branches are then one pass.

    Returns
    -------
    For each question (n, H): one state, or one per token of a text to be learnt.
    """
    engine, fusion = system.engine, system.fusion
    pairs = range(len(questions)) if pairs is None else pairs
    acts = [fused is not None and ablation.tokens and q.tokens for q in questions]
    # with tokens in the history, or weights of its own, a question shares no prefix with others
    apart = fusion.history_tokens or fusion.changes_weights
    adapters = {"shared": ablation.shared_adapter, "tasks": ablation.task_adapter}
    states: dict[int, Tensor] = {}
    for group in (True, False) if apart else (None,):
        places = [i for i, act in enumerate(acts) if group in (None, act)]
        if not places:
            continue
        text = context.prefix(system.writer, with_tokens=group is not False)
        branches = [branch_of(system, questions[i], text, context, acts[i]) for i in places]
        rows = [pairs[i] for i in places]
        if group and fused is not None and fused.updates:
            updates = {name: (a[rows], b) for name, (a, b) in fused.updates.items()}
            hidden = engine.separate(text.ids, branches, updates)
        elif training:
            slots = system.slots(fused, branches, rows)
            hidden = engine.forward(text.ids, branches, slots, **adapters)
        else:
            if prefixes is not None and ablation.shared_adapter:
                prefix = prefixes(text.ids)
            else:
                prefix = engine.prefill(text.ids, shared=ablation.shared_adapter)
            parts = engine.score(prefix, branches, system.slots(fused, branches, rows), **adapters)
            hidden = [h for part in parts for h in part]
        states |= dict(zip(places, hidden, strict=True))
    return [states[i] for i in range(len(questions))]


@torch.inference_mode()
def suffix_states(
    system: System,
    prefix_ids: list[int],
    suffixes: Sequence[Suffix],
    fused: Sequence[Fused | None],
    prefixes: Prefixes,
    *,
    chunk_tokens: int,
) -> list[list[Tensor]]:
    """Answer states behind other endings of a kept prefix; ``fused`` has one pair per suffix.

    Returns
    -------
    For each suffix the last hidden state (1, H) of each of its branches.
    """
    if system.fusion.changes_weights:
        # each pair has weights of its own, so whole prompts stand side by side
        branches = [
            replace(b, ids=[*suffix.ids, *b.ids], at=suffix.at)
            for suffix in suffixes
            for b in suffix.branches
        ]
        counts = torch.tensor([len(suffix.branches) for suffix in suffixes])
        of_pairs = [f.updates for f in fused if f is not None]
        updates = {
            name: (torch.cat([u[name][0] for u in of_pairs]).repeat_interleave(counts, dim=0), b)
            for name, (_, b) in of_pairs[0].items()
        }
        states = iter(system.engine.separate(prefix_ids, branches, updates))
        return [[next(states) for _ in suffix.branches] for suffix in suffixes]
    slots = [
        system.slots(pair, suffix.branches, [0] * len(suffix.branches))
        for suffix, pair in zip(suffixes, fused, strict=True)
    ]
    parts = system.engine.score_suffixes(
        prefixes(prefix_ids), suffixes, slots, chunk_tokens=chunk_tokens
    )
    return [states for part in parts for states in part]


def suffix_of(
    system: System, prefix_ids: list[int], context: Context, questions: Sequence[Question]
) -> Suffix:
    """Where the prompts of a changed context leave a prefix, and the questions behind that."""
    text = context.prefix(system.writer)
    at = shared_length(tuple(text.ids), tuple(prefix_ids))
    branches = [branch_of(system, q, text, context, True) for q in questions]
    return Suffix(text.ids[at:], at, branches)


# Many interactions of the data


@torch.inference_mode()
def score_rows(
    system: System,
    rows: np.ndarray,
    *,
    k: int | None = None,
    tasks: Sequence[str] = ("rating", "ctr"),
    prior_only: bool = False,
    progress: Callable[[int], None] | None = None,
    ablation: Ablation = COMPLETE,
    targets: np.ndarray | None = None,
    alone: bool = True,
) -> dict[str, np.ndarray]:
    """Predictions for interactions, each with what its user had rated strictly before it.

    Parameters
    ----------
    rows
        Interaction indices of `Prepared`.
    k
        Histories are cut to their last ``k`` ratings; None for all.
    prior_only
        The collaborative signal alone, without the language model.
    progress
        Called with the number of rows done since the last call.
    targets
        Item indices (n,) in place of the interactions' own.
    alone
        Whether the language model's own answers are wanted beside the pooled ones. Without them it
        is not asked where it has no weight in any task.

    Returns
    -------
    The probabilities of each task float32: (n, 5) for ``rating``, otherwise (n,). Where answers are
    pooled with a prior, ``rating alone`` and so on are the language model's alone, uncalibrated.
    """
    targets = system.prepared.item[rows] if targets is None else targets
    out: dict[str, np.ndarray] = {}

    def keep(name: str, task: str, group: np.ndarray, answer: Tensor) -> None:
        values = system.writer.tasks[task].probabilities(answer).float().cpu().numpy()
        shape = len(rows), *values.shape[1:]
        out.setdefault(name, np.empty(shape, np.float32))[group] = values

    by_prior = not alone and ablation == COMPLETE and all(map(system.asks_prior_alone, tasks))
    enters = ablation.tokens or ablation.prior or prior_only
    for group, context, lengths, labels in contexts_of_rows(system, rows, k):
        questions = [
            Question(task, int(item), int(length), labels=int(count))
            for task in tasks
            for item, length, count in zip(targets[group], lengths, labels, strict=True)
        ]
        places = range(len(group))
        fused = fuse(system, context, questions[: len(group)], ablation) if enters else None
        if prior_only:
            assert fused is not None  # asked of methods with a prior alone
            for task in tasks:
                keep(task, task, group, fused.prior[task])
            continue
        if by_prior:
            assert fused is not None  # such tasks have a prior
            for task in tasks:
                keep(task, task, group, system.of_prior(task, fused, places))
            if progress is not None:
                progress(len(group))
            continue
        pairs = [*places] * len(tasks)
        states = answer_states(system, context, questions, fused, ablation, pairs=pairs)
        prior = fused if ablation.prior else None
        for task, hidden in zip(tasks, torch.cat(states).split(len(group)), strict=True):
            ensemble = system.read(task, hidden, prior, places, calibrate=ablation == COMPLETE)
            keep(task, task, group, ensemble)
            if prior is not None and task in prior.prior:
                lm_only = system.read(task, hidden, None, places, calibrate=False)
                keep(f"{task} alone", task, group, lm_only)
        if progress is not None:
            progress(len(group))
    return out


@torch.inference_mode()
def score_candidates(
    system: System,
    items: np.ndarray,
    ratings: np.ndarray,
    candidates: np.ndarray,
    task: str,
    *,
    profile: str = "",
) -> dict[str, np.ndarray]:
    """Scores of ``candidates`` (m,) for a person with a history (n,) of item indices and ratings.

    ``task`` is the question that scores them, ``"ranking"`` or ``"ctr"``.

    Returns
    -------
    ``own`` float32 (m,), logits comparable within the list; where answers are pooled with a prior,
    ``alone`` are the language model's alone and ``prior`` what they are pooled with.
    """
    context = Context.of(np.asarray(items, np.int64), ratings, system.config.prompt, profile)
    questions = [context.question(task, item) for item in candidates]
    fused = fuse(system, context, questions)
    hidden = torch.cat(answer_states(system, context, questions, fused))
    pairs = range(len(questions))
    scores = {"own": system.read(task, hidden, fused, pairs, calibrate=False)}
    if fused is not None and task in fused.prior:
        scores["alone"] = system.read(task, hidden, None, pairs, calibrate=False)
        scores["prior"] = fused.prior[task]
    return {name: values.float().cpu().numpy() for name, values in scores.items()}


def contexts_of_rows(
    system: System, rows: np.ndarray, k: int | None
) -> Iterator[tuple[np.ndarray, Context, np.ndarray, np.ndarray]]:
    """Interactions in groups that share a prefix.

    Yields
    ------
    Places in ``rows`` (m,), the context, and for each place how much of the history it sees and how
    many labels count.
    """
    data, knowledge, config = system.prepared, system.knowledge, system.config.prompt
    groups: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        n = data.history.length(int(row))
        shared = (window_start(n, config) if k is None else n) if k != 0 else 0
        groups.setdefault((int(data.user[row]), shared), []).append(place)
    for (user, shared), places in groups.items():
        group = np.array(places)
        history = data.history.rows_of(user)
        lengths, start = data.history.lengths[rows[group]], shared
        labelled, labels = None, np.zeros(len(group), np.int64)
        if k is None:
            history = history[: int(lengths.max())]
            if knowledge.uses_labels:
                training = bool((data.split[rows[group]] == TRAIN).all())
                labelled = knowledge.labelled(user, training=training)
                labels = knowledge.label_counts(user, data.timestamp[rows[group]])
        else:
            history = history[max(0, shared - k) : shared] if k else history[:0]
            lengths, start = np.full(len(group), len(history)), 0
        items, ratings = data.item[history].astype(np.int64), data.rating[history]
        profile = data.profile(user)
        context = Context(items, ratings, start, profile, "", labelled=labelled)
        yield group, context, lengths, labels
