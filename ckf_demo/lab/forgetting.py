"""How much a language model forgets when it is trained for recommendation (CoRA's motive).

    python -m ckf_demo.lab.forgetting --checkpoint checkpoints/ml-100k \\
        --checkpoint checkpoints/ml-100k-collm --json ckf_demo/lab/results/forgetting.json

A checkpoint can act on other texts than its prompts in several ways. Each is compared with the
unchanged backbone: the loss on plain text, in nats per token, and the share of general questions
whose right answer is the most probable of four.

The text is prose of Python's own language reference as ``pydoc_data.topics`` ships it (PSF
licence), so that nothing is fetched; the questions are in `general_questions`.
"""

import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from ckf_demo.backbone.engine import Branch
from ckf_demo.backbone.loading import dense_precision
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import VALID
from ckf_demo.evaluation.base import progress_bars
from ckf_demo.lab import report
from ckf_demo.lab.commands import Checkpoints, Json, one_line_errors
from ckf_demo.lab.general_questions import QUESTIONS, Question
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.results import Results
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "knowledge_kept"
BACKBONE = "backbone"
WORDS = 40, 160
"""Fewest and most words of a passage."""

MARKUP = re.compile(r"[\"=\[\]{}<>_`*|\\/()]")
TOKENS_AT_ONCE = 1024
LOGITS_AT_ONCE = 256
PAIRS = 200
"""Validation pairs that CoRA's updates are made for."""

NOTHING, SHARED = "nothing", "shared adapter"
MEAN_UPDATE, SINGLE_UPDATES = "mean update", "updates of single pairs"


@dataclass(frozen=True)
class Way:
    """How a checkpoint acts on plain text.

    ``task`` is the task whose adapter acts besides the shared one, empty for none. ``updates`` are
    low-rank updates of weights, A (n, inputs, r) and B (r, outputs); the i-th text gets the
    (i mod n)-th of them.
    """

    name: str
    shared: bool = False
    task: str = ""
    updates: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def plain_passages() -> list[str]:
    """Paragraphs of running text from Python's language reference, in a fixed order."""
    passages: dict[str, None] = {}
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(paragraph.split())
            prose = text[:1].isupper() and text.endswith(".")
            if (
                prose
                and WORDS[0] <= len(text.split()) <= WORDS[1]
                and len(MARKUP.findall(text)) < len(text) / 50
            ):
                passages[text] = None
    return list(passages)


def ways_of(system: System, seed: int = 0) -> list[Way]:
    """Every way in which a checkpoint acts on text that is not about a (person, item) pair.

    The shared adapter acts on all tokens and a task's adapter where that task is asked. CoRA's
    updates belong to pairs: their mean over `PAIRS` validation pairs, which is the update of the
    mean collaborative query, and the updates of these pairs one by one. Methods with tokens alone
    leave the backbone as it is: nothing acts.
    """
    lora, ways = system.lora, []
    if system.config.lora.shared_targets:
        ways.append(Way(SHARED, shared=True))
    for task in lora.tasks:
        both = f"{SHARED} and {task}'s" if ways else f"{task}'s adapter"
        ways.append(Way(both, shared=True, task=task))
    if system.fusion.changes_weights:
        updates = pair_updates(system, PAIRS, seed)
        mean = {name: (a.mean(0, keepdim=True), b) for name, (a, b) in updates.items()}
        ways += [Way(MEAN_UPDATE, updates=mean), Way(SINGLE_UPDATES, updates=updates)]
    return ways or [Way(NOTHING)]


@torch.inference_mode()
def pair_updates(system: System, size: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight updates of ``size`` validation pairs at most, each with its history at its moment."""
    data = system.prepared
    rows = data.rows(split=VALID)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(rows, size=min(size, len(rows)), replace=False)
    into: dict[str, list[Tensor]] = {}
    out_of: dict[str, Tensor] = {}
    for row in chosen:
        history = data.history.before(int(row))
        items, stars = data.item[history].astype(np.int64), data.rating[history]
        target = data.item[[row]].astype(np.int64)
        fused = system.fuse(system.pairs(items, stars, np.array([len(items)]), target))
        for name, (a, b) in fused.updates.items():
            into.setdefault(name, []).append(a)
            out_of[name] = b
    return {name: (torch.cat(parts), out_of[name]) for name, parts in into.items()}


@torch.inference_mode()
def token_losses(system: System, texts: Sequence[list[int]], way: Way) -> Iterator[Tensor]:
    """Negative log-likelihoods in nats of every token but the first, float32 (n − 1,) per text.

    Each text is read on its own, from the first position on.
    """
    engine, start = system.engine, 0
    while start < len(texts):
        end, total = start, 0
        while end < len(texts) and (end == start or total + len(texts[end]) <= TOKENS_AT_ONCE):
            total += len(texts[end])
            end += 1
        branches = [Branch(ids, 0, way.task, answers_from=0) for ids in texts[start:end]]
        if way.updates:
            count = len(next(iter(way.updates.values()))[0])
            chosen = [i % count for i in range(start, end)]
            updates = {name: (a[chosen], b) for name, (a, b) in way.updates.items()}
            states = engine.separate([], branches, updates)
        else:
            states = engine.forward(
                [], branches, [None] * len(branches), shared=way.shared, tasks=bool(way.task)
            )
        for ids, hidden in zip(texts[start:end], states, strict=True):
            following = torch.tensor(ids[1:], device=hidden.device)
            parts = [
                torch.nn.functional.cross_entropy(engine.logits(h), f, reduction="none")
                for h, f in zip(
                    hidden[:-1].split(LOGITS_AT_ONCE),
                    following.split(LOGITS_AT_ONCE),
                    strict=True,
                )
            ]
            yield torch.cat(parts).cpu()
        start = end


def passage_losses(
    system: System, passages: Sequence[str], way: Way
) -> tuple[np.ndarray, np.ndarray]:
    """Summed loss in nats and number of predicted tokens of each passage, float64 (n,) each."""
    texts = [system.writer.tokenizer(p, add_special_tokens=False).input_ids for p in passages]
    losses = [loss.double() for loss in token_losses(system, texts, way)]
    return (
        np.array([float(loss.sum()) for loss in losses]),
        np.array([float(len(loss)) for loss in losses]),
    )


def answer_probabilities(system: System, questions: Sequence[Question], way: Way) -> np.ndarray:
    """Probability of each choice among the four of its question, float64 (n, 4).

    A choice is as probable as all its tokens after the question's.
    """
    tokens = system.writer.tokenizer
    texts, ends = [], []
    for question in questions:
        question_ids = tokens(question.text, add_special_tokens=False).input_ids
        for choice in question.choices:
            texts.append([*question_ids, *tokens(f" {choice}", add_special_tokens=False).input_ids])
            ends.append(len(question_ids))
    losses = token_losses(system, texts, way)
    total = [-float(loss[end - 1 :].double().sum()) for loss, end in zip(losses, ends, strict=True)]
    return torch.tensor(total, dtype=torch.float64).view(len(questions), -1).softmax(-1).numpy()


def measure(
    checkpoints: Sequence[Path],
    json_path: Path | None = None,
    limit: int | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Loss on plain text and accuracy on general questions, before and after training.

    Parameters
    ----------
    limit
        For a quick look: so many passages and questions, the first ones.

    Returns
    -------
    ``{"analysis", "text", "ways", "rows"}``: rows as those of `Results`, with a task ``text`` or
    ``questions``, methods ``backbone`` and ``CHECKPOINT, WAY``, and differences of each to the
    backbone; intervals are by bootstrap over passages and over questions. ``ways`` say for each
    method its checkpoint, fusion method and what acts; ``text`` what was read.

    Raises
    ------
    UserError
        When the checkpoints do not share one backbone.
    """
    passages, questions = plain_passages()[:limit], list(QUESTIONS)[:limit]
    manifests = {Path(folder): read_manifest(Path(folder)) for folder in checkpoints}
    if len({m["backbone"] for m in manifests.values()}) != 1:
        raise UserError("Checkpoints of different backbones cannot be compared; name those of one.")
    read = np.arange(len(passages))
    asked = np.arange(len(questions))
    text = Results(bootstrap.user_weights(read, len(read), resamples, seed))
    quiz = Results(bootstrap.user_weights(asked, len(asked), resamples, seed))
    ways: list[dict] = []

    def add(system: System, name: str, way: Way) -> None:
        loss, tokens = passage_losses(system, passages, way)
        replicates = bootstrap.ratio(read, loss, tokens, text.weights)
        value = loss.sum() / tokens.sum()
        text.add((name, "text", "nats_per_token", "all"), value, len(read), replicates)
        found = answer_probabilities(system, questions, way)
        right = found[:, 0]
        text_of = {"accuracy": right > found[:, 1:].max(1), "choice_loss": -np.log(right)}
        for metric, values in text_of.items():
            quiz.add_mean((name, "questions", metric, "all"), asked, values)
        if name != BACKBONE:
            text.add_difference(name, BACKBONE)
            quiz.add_difference(name, BACKBONE)

    with progress_bars() as progress:
        bar = progress.add_task("checkpoints", total=len(manifests))
        for folder, manifest in manifests.items():
            prepared = Prepared.load(prepared_path(manifest["dataset"]))
            system = System.load(folder, prepared, quantization=dense_precision())
            if not ways:
                add(system, BACKBONE, Way(NOTHING))
                ways.append({"method": BACKBONE, "checkpoint": "", "fusion": "", "acts": NOTHING})
            for way in ways_of(system, seed):
                name = f"{folder.name}, {way.name}"
                progress.update(bar, description=name)
                add(system, name, way)
                ways.append(
                    {
                        "method": name,
                        "checkpoint": folder.name,
                        "fusion": system.fusion.label,
                        "acts": way.name,
                    }
                )
            progress.advance(bar)
    found = {
        "analysis": ANALYSIS,
        "text": {
            "source": f"pydoc_data.topics of Python {platform.python_version()}",
            "sha256": hashlib.sha256("\n".join(passages).encode()).hexdigest(),
            "passages": len(passages),
            "questions": len(questions),
        },
        "ways": ways,
        "rows": [*text.rows, *quiz.rows],
    }
    write_json(json_path, found)
    return found


@one_line_errors
def main(
    checkpoint: Checkpoints,
    json_path: Json = None,
    limit: Annotated[
        int | None, typer.Option(min=2, help="So many passages and questions, for a quick look.")
    ] = None,
) -> None:
    """Loss on plain text and accuracy on general questions, before and after training."""
    report.show(measure(checkpoint, json_path, limit))


if __name__ == "__main__":
    typer.run(main)
