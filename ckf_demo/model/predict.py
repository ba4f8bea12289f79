"""Scoring many interactions of the data, each with its own history, over shared prefixes."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ckf_demo.backbone.engine import Prefix
from ckf_demo.collaborative.base import Labelled
from ckf_demo.data.splits import TRAIN
from ckf_demo.fusion.base import Fused
from ckf_demo.model.system import COMPLETE, Ablation, System
from ckf_demo.tasks.prompts import PrefixText, profile_text, window_start


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
    ablation
        What an ablation takes away.
    targets
        Item indices (n,) in the place of the interactions' own.

    Returns
    -------
    ``rating`` float32 (n, 5) and ``ctr`` float32 (n,), both probabilities. Where answers are pooled
    with a prior, ``rating alone`` and ``ctr alone`` are the language model's own, uncalibrated.
    """
    data = system.prepared
    asked = data.item[rows] if targets is None else targets
    out: dict[str, np.ndarray] = {}

    def keep(name: str, task: str, group: np.ndarray, answer: torch.Tensor) -> None:
        shape = (len(rows), 5) if task == "rating" else (len(rows),)
        values = answer.softmax(-1) if task == "rating" else answer.sigmoid()
        out.setdefault(name, np.empty(shape, np.float32))[group] = values.float().cpu().numpy()

    fuses = system.fusion.fuses and (ablation.tokens or ablation.prior or prior_only)
    with_tokens = fuses and ablation.tokens and system.fusion.uses_tokens
    for group, history, lengths, start in shared_prefixes(system, rows, k):
        own_targets = asked[group].astype(np.int64)
        items, stars = data.item[history].astype(np.int64), data.rating[history]
        fused = None
        if fuses:
            known = _labels(system, rows[group]) if k is None else (None, None)
            fused = system.fuse(system.pairs(items, stars, lengths, own_targets, *known), ablation)
        if prior_only:
            assert fused is not None  # asked of methods with a prior alone
            for task in tasks:
                keep(task, task, group, fused.prior[task])
            continue
        user = int(data.user[rows[group[0]]])
        text = system.writer.prefix(
            items[start:], stars[start:], profile_of(system, user), with_tokens=with_tokens
        )
        ends = [text.ends[n - start] for n in lengths]
        hidden = answer_states(system, text, ends, own_targets, tasks, fused, ablation)
        beside = fused if ablation.prior else None
        for task, own in zip(tasks, hidden, strict=True):
            answer = system.read(
                task, own, beside, range(len(group)), calibrate=ablation == COMPLETE
            )
            keep(task, task, group, answer)
            if beside is not None and task in beside.prior:
                alone = system.read(task, own, None, range(len(group)), calibrate=False)
                keep(f"{task} alone", task, group, alone)
        if progress is not None:
            progress(len(group))
    return out


def answer_states(
    system: System,
    text: PrefixText,
    ends: Sequence[int],
    targets: np.ndarray,
    tasks: Sequence[str],
    fused: Fused | None,
    ablation: Ablation = COMPLETE,
    prefix: Prefix | None = None,
) -> list[torch.Tensor]:
    """The states at which answers about (person, item) pairs of one prefix are read.

    Parameters
    ----------
    ends
        How many tokens of the prefix each pair sees, (m,).
    targets
        Item indices (m,).
    fused
        What enters for the pairs, or None for words alone.
    prefix
        Keys and values of the text under the same ablation, where they are at hand.

    Returns
    -------
    (m, H) for each task.
    """
    with_tokens = fused is not None and ablation.tokens and system.fusion.uses_tokens
    branches = [
        system.writer.branch(task, int(target), at, with_tokens=with_tokens)
        for task in tasks
        for target, at in zip(targets, ends, strict=True)
    ]
    pairs = list(range(len(targets))) * len(tasks)
    if fused is not None and fused.updates and ablation.tokens:
        updates = {n: (a[pairs], b) for n, (a, b) in fused.updates.items()}
        answers = system.engine.separate(text.ids, branches, updates)
    else:
        prefix = prefix or system.engine.prefill(text.ids, shared=ablation.shared_adapter)
        slots = [system.slot(fused, i) if with_tokens else None for i in pairs]
        parts = system.engine.score(
            prefix, branches, slots, shared=ablation.shared_adapter, tasks=ablation.task_adapter
        )
        answers = [h for part in parts for h in part]
    return list(torch.cat(answers).split(len(targets)))


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
    """Scores of films for somebody with a history (n,) of item indices and ratings.

    Parameters
    ----------
    candidates
        Item indices (m,).
    task
        The question that scores them, ``"ranking"`` or ``"ctr"``.

    Returns
    -------
    ``own`` float32 (m,), logits comparable within the list; where answers are pooled with a prior,
    ``alone`` are the language model's own and ``prior`` what it is pooled with.
    """
    items, candidates = np.asarray(items, np.int64), np.asarray(candidates, np.int64)
    start = window_start(len(items), system.config.prompt)
    fused = None
    if system.fusion.fuses:
        lengths = np.full(len(candidates), len(items))
        fused = system.fuse(system.pairs(items, ratings, lengths, candidates))
    text = system.writer.prefix(
        items[start:], ratings[start:], profile, with_tokens=system.fusion.uses_tokens
    )
    ends = [len(text.ids)] * len(candidates)
    hidden = answer_states(system, text, ends, candidates, (task,), fused)[0]
    places = range(len(candidates))
    scores = {"own": system.read(task, hidden, fused, places, calibrate=False)}
    if fused is not None and task in fused.prior:
        scores["alone"] = system.read(task, hidden, None, places, calibrate=False)
        scores["prior"] = fused.prior[task]
    return {name: values.float().cpu().numpy() for name, values in scores.items()}


def _labels(system: System, rows: np.ndarray) -> tuple[Labelled, np.ndarray] | tuple[None, None]:
    """What the training part says of the user of some rows, and how much counts for each."""
    data, knowledge = system.prepared, system.knowledge
    if not knowledge.uses_labels:
        return None, None
    user, training = int(data.user[rows[0]]), bool((data.split[rows] == TRAIN).all())
    labelled = knowledge.labelled(user, training=training)
    return labelled, knowledge.label_counts(user, data.timestamp[rows])


def profile_of(system: System, user: int) -> str:
    """The profile line of a user by index."""
    data = system.prepared
    return profile_text(
        {
            "age": int(data.ages[user]),
            "gender": data.genders[user],
            "occupation": data.occupations[user],
        }
    )


def shared_prefixes(
    system: System, rows: np.ndarray, k: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Rows that share a prefix: (places in ``rows``, history, visible lengths, shown from)."""
    data, config = system.prepared, system.config.prompt
    groups: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        n = data.history.length(int(row))
        shared = (window_start(n, config) if k is None else n) if k != 0 else 0
        groups.setdefault((int(data.user[row]), shared), []).append(place)
    for (user, shared), places in groups.items():
        group = np.array(places)
        own = data.history.rows_of(user)
        lengths = data.history.lengths[rows[group]]
        if k is None:
            yield group, own[: int(lengths.max())], lengths, shared
        else:
            history = own[max(0, shared - k) : shared] if k else own[:0]
            yield group, history, np.full(len(group), len(history)), 0
