"""The stages for ranking: its adapter, and later its weight in the pool with the candidate stage.

One task in four gets too little of the joint stage to learn an order.
"""

from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress
from sklearn.metrics import ndcg_score
from torch import Tensor

from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_candidates
from ckf_demo.model.system import System
from ckf_demo.tasks import ranking
from ckf_demo.training.losses import sequence_losses, sequence_losses_of
from ckf_demo.training.sequences import segment_at, validation_sequences
from ckf_demo.training.stage import Stage, console

TASK = ranking.TASK.name
CUTOFF = 10
WEIGHTS = tuple(i / 20 for i in range(21))
QUERIES = 400
"""Rankings by which the weight is chosen, at most; drawn at random."""


class RankingStage(Stage):
    """Trains the ranking adapter; the best one on validation stays, that of before included."""

    name = "ranking"

    @classmethod
    def needed(cls, system: System) -> bool:
        config = system.config.train
        return TASK in config.tasks and config.ranking_steps > 0 and system.fusion.prior is not None

    def run(self, progress: Progress) -> None:
        """Train for the configured steps; the checkpoint is written where validation is better."""
        system, config = self.system, self.system.config.train
        rankings = config.model_copy(update={"tasks": (TASK,), "choices": config.ranking_size})
        packer = replace(self.packer, train=rankings)
        sequences = validation_sequences(packer, config.validation_sequences, text_only=False)
        best = np.inf

        def loss_at(step: int) -> Tensor | None:
            segment, rng = segment_at(self.segments, config.steps + step, config.seed)
            text_only = bool(rng.random() < config.text_share)
            sequence = packer.draw(segment, rng, text_only=text_only, augment=True)
            return sequence_losses(system, sequence, teach=True).get(TASK)

        def look(step: int) -> None:
            nonlocal best
            loss = float(np.nanmean(sequence_losses_of(system, sequences)[TASK]))
            console.print(f"ranking {step}: {loss:.4f}")
            if step and loss < best:
                self.save({"steps": step, "ranking": round(loss, 5)})
            best = min(best, loss)

        self.train_adapter(TASK, config.ranking_steps, config.ranking_rate, loss_at, look, progress)


class PoolStage(Stage):
    """Sets the weight of ranking by the order of validation queries."""

    name = "pool"
    serves = True

    @classmethod
    def needed(cls, system: System) -> bool:
        return RankingStage.needed(system)

    def run(self, progress: Progress) -> None:
        """Choose among `WEIGHTS`, and write the checkpoint."""
        self.system.load_weights(self.folder)
        self.system.calibration = read_manifest(self.folder)["calibration"]
        bar = progress.add_task("weight of ranking", total=None)
        ndcgs = weights_by_ndcg(self.system, lambda: progress.advance(bar))
        console.print(" ".join(f"{w:g}: {x:.4f}" for w, x in ndcgs.items()))
        weight = max(ndcgs, key=ndcgs.get)
        self.system.fusion.set_weight(TASK, weight)
        self.save({"weight": weight, "ndcg@10": round(ndcgs[weight], 5)})


@dataclass(frozen=True)
class Choice:
    """Candidates of one query: both scores and relevance, each float (n,)."""

    lm_only: np.ndarray
    prior: np.ndarray
    relevant: np.ndarray


def candidates(system: System, query: Query) -> np.ndarray:
    """The best items of the candidate stage for a query, best first: int64 (n,)."""
    scores = system.knowledge.candidate_scores(query.items, query.ratings)
    scores[query.seen] = -np.inf
    return np.argsort(-scores, kind="stable")[:CANDIDATES]


def scored(
    system: System, query: Query, items: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of candidates (n,): the language model's alone, the prior's and pooled; float32.

    A method without a prior has the same three times.
    """
    profile = system.prepared.profile(query.user)
    scores = score_candidates(system, query.items, query.ratings, items, TASK, profile=profile)
    ensemble = scores["own"]
    return scores.get("alone", ensemble), scores.get("prior", ensemble), ensemble


def ndcg(choices: list[Choice], weight: float) -> float:
    """Mean NDCG@10 among the candidates with the language model at ``weight`` in the pool."""
    values = [
        ndcg_score([c.relevant], [weight * c.lm_only + (1 - weight) * c.prior], k=CUTOFF)
        for c in choices
    ]
    return float(np.mean(values))


def queries_to_choose_on(prepared: Prepared, seed: int) -> list[Query]:
    """Validation queries of the users to choose on, `QUERIES` of them at most."""
    queries = [q for q in ranking_queries(prepared, VALID) if prepared.choosing_users[q.user]]
    if len(queries) <= QUERIES:
        return queries
    drawn = np.random.default_rng(seed).choice(len(queries), QUERIES, replace=False)
    return [queries[i] for i in np.sort(drawn)]


def weights_by_ndcg(system: System, advance) -> dict[float, float]:
    """NDCG@10 of `queries_to_choose_on` for every weight in `WEIGHTS`.

    ``advance`` is called after each query.
    """
    system.lora.eval()
    system.fusion.eval()
    rankings = []
    for query in queries_to_choose_on(system.prepared, system.config.train.seed):
        items = candidates(system, query)
        relevant = np.isin(items, query.relevant)
        if relevant.any():
            lm_only, prior, _ = scored(system, query, items)
            rankings.append(Choice(lm_only, prior, relevant.astype(float)))
        advance()
    return {weight: ndcg(rankings, weight) for weight in WEIGHTS}
