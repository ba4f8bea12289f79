"""Configurations trained on one small budget, and the answers of their language models.

Weights and answers stay in the user's cache, so that an interrupted run resumes.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query
from ckf_demo.data.splits import VALID
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.paths import cache_dir, replacing
from ckf_demo.training.loop import Run
from ckf_demo.training.losses import sequence_losses_of
from ckf_demo.training.ranking_stage import candidates, scored
from ckf_demo.training.sequences import PackedSequence, Packer, co_liked_by_id, segments_of

VALIDATIONS = 3
"""How often a run looks at validation to choose its weights."""

VALIDATION_SEQUENCES = 60
LOSSES_AT_ONCE = 20
console = Console(stderr=True)


def shortened(config: RunConfig, steps: int) -> RunConfig:
    """The configuration for ``steps`` sequences, with nothing after the joint stage."""
    train = config.train.model_copy(
        update={
            "steps": steps,
            # few sequences: each counts at once
            "accumulate": 1,
            "select_on": "own",
            "validate_every": max(1, steps // VALIDATIONS),
            "validation_sequences": VALIDATION_SEQUENCES,
            "patience": VALIDATIONS,
        }
    )
    return config.model_copy(update={"train": train})


def trained(config: RunConfig, prepared: Prepared) -> tuple[Path, dict]:
    """The folder of a trained configuration, and figures of its training; trains it if needed.

    Returns
    -------
    folder, {"parameters": trainable, "rows": that are learnt from, "minutes": of training}
    """
    text = config.model_dump_json() + prepared.training_hash
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = cache_dir() / "robustness" / f"{config.name}-{key}"
    done = folder / "done.json"
    if not done.exists():
        run = Run.prepare(config, prepared, folder=folder)
        run.run(stages=False)
        facts = {
            "parameters": sum(p.numel() for kind in run.system.trainable().values() for p in kind),
            "rows": int(sum(len(segment.rows) for segment in run.segments)),
            "minutes": round(run.seconds / 60, 1),
        }
        if config.lora.full:
            # a state of the whole backbone takes gigabytes
            run.state_path.unlink(missing_ok=True)
        with replacing(done) as temporary:
            temporary.write_text(json.dumps(facts) + "\n")
    return folder, json.loads(done.read_text())


class Scorer:
    """Scores rows for `CachedModel`, for data that are in no store."""

    def __init__(self, system: System):
        self.system, self.prepared = system, system.prepared

    def score_rows(
        self,
        rows: np.ndarray,
        k: int | None = None,
        tasks: Sequence[str] = ("rating", "ctr"),
        method: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        prior_only = method == COLLABORATIVE_METHOD
        return score_rows(
            self.system, rows, k=k, tasks=tasks, prior_only=prior_only, progress=progress
        )


class TrainedModel(CachedModel):
    """A trained configuration and its remembered answers.

    Parameters
    ----------
    folder
        Where `trained` left it.
    prepared
        The data that it was trained on.
    """

    def __init__(
        self, folder: Path, prepared: Prepared, advance: Callable[[int], None] = lambda n: None
    ):
        self.system = System.load(folder, prepared, quantization=dense_precision())
        # what a configuration answers beside rows, its own methods compute
        super().__init__(cast(Recommender, Scorer(self.system)), folder, advance)

    @property
    def method(self) -> str:
        """Its fusion method."""
        return self.system.fusion.name

    @property
    def pools(self) -> bool:
        """Whether answers are pooled with a prior; without one there is a single answer."""
        return self.system.fusion.prior is not None

    def orders(self, queries: Sequence[Query]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Candidates of each query, best first: as the language model alone orders them, and
        pooled with the prior."""
        own, pooled = [], []
        for query in queries:
            name = self._name("orders", query.user, query.at, query.relevant.tolist())
            answer = self._remembered(name, lambda query=query: self._orders(query))
            own.append(answer["own"])
            pooled.append(answer["pooled"])
            self.advance(1)
        return own, pooled

    def _orders(self, query: Query) -> dict[str, np.ndarray]:
        items = candidates(self.system, query)
        if not np.isin(items, query.relevant).any():
            # no order of these finds anything
            return {"own": items, "pooled": items}
        own, _, pooled = scored(self.system, query, items)
        orders = {"own": own, "pooled": pooled}
        return {name: items[np.argsort(-x, kind="stable")] for name, x in orders.items()}

    def wording_losses(self, sequences: Sequence[PackedSequence]) -> np.ndarray:
        """Loss of the explanation of each sequence, nats per token: float64 (n,)."""
        parts = []
        for start in range(0, len(sequences), LOSSES_AT_ONCE):
            part = sequences[start : start + LOSSES_AT_ONCE]
            texts = [[q.item, q.facts, q.text] for s in part for q in s.questions]
            answer = self._remembered(
                self._name("wording losses", texts),
                lambda part=part: {"losses": sequence_losses_of(self.system, part)["explanation"]},
            )
            parts.append(answer["losses"])
            self.advance(len(part))
        return np.concatenate(parts)

    def wordings(self, base: RunConfig, size: int) -> tuple[np.ndarray, list[PackedSequence]]:
        """Users int64 (n,) and sequences with one explanation each, from validation segments.

        The same ones for every configuration that sees the same data; ``base`` says how long the
        shown histories are.
        """
        prepared = self.prepared
        packer = Packer(
            prepared,
            base.train.model_copy(update={"tasks": ("explanation",)}),
            base.prompt,
            self.system.knowledge,
            co_liked_by_id(prepared),
        )
        rng = np.random.default_rng(0)
        segments = segments_of(prepared, prepared.rows(split=VALID), base.prompt)
        chosen = rng.choice(len(segments), min(size, len(segments)), replace=False)
        bare = not self.system.fusion.fuses
        sequences = [packer.draw(segments[i], rng, text_only=bare, augment=False) for i in chosen]
        return np.array([segments[i].user for i in chosen]), sequences


def some(queries: Sequence[Query], size: int, seed: int) -> list[Query]:
    """A seeded sample of queries, in their order."""
    if size >= len(queries):
        return list(queries)
    chosen = np.random.default_rng(seed).choice(len(queries), size, replace=False)
    return [queries[i] for i in np.sort(chosen)]
