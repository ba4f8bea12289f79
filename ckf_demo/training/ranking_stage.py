"""A stage for ranking alone: its adapter, then its weight in the pool with the candidate stage.

One task in four gets too little of the joint stage to learn an order. All else is held, so the
answers to other tasks stay as they are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import ndcg_score
from torch import Tensor

from ckf_demo.backbone.engine import Engine
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.model.predict import profile_of
from ckf_demo.model.system import System
from ckf_demo.tasks.prompts import window_start

CANDIDATES, CUTOFF = 100, 10
WEIGHTS = tuple(i / 20 for i in range(21))
QUERIES = 400
"""Rankings by which the weight is chosen at most, drawn at random."""


@dataclass(frozen=True)
class Choice:
    """Candidates of one query: both scores and relevance, each float (n,)."""

    own: np.ndarray
    prior: np.ndarray
    relevant: np.ndarray


def choices(system: System, query: Query) -> Choice | None:
    """The candidate stage's best for a query; None when nothing relevant is among them."""
    found = candidates(system, query)
    relevant = np.isin(found, query.relevant)
    if not relevant.any():
        return None
    return Choice(*scored(system, query, found)[:2], relevant.astype(float))


def candidates(system: System, query: Query) -> np.ndarray:
    """What the candidate stage finds best for a query, best first: int64 (n,)."""
    scores = system.knowledge.candidate_scores(query.items, query.ratings)
    scores[query.seen] = -np.inf
    return np.argsort(-scores, kind="stable")[:CANDIDATES]


@torch.inference_mode()
def scored(
    system: System, query: Query, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of candidates (n,): the language model's own, the prior's and pooled; float32.

    Of a method without a prior its own stand for all three.
    """
    items, ratings = query.items.astype(np.int64), query.ratings
    lengths = np.full(len(found), len(items))
    fused = system.fuse(system.pairs(items, ratings, lengths, found))
    start = window_start(len(items), system.config.prompt)
    text = system.writer.prefix(items[start:], ratings[start:], profile_of(system, query.user))
    branches = [
        system.writer.branch("ranking", int(item), len(text.ids), with_tokens=True)
        for item in found
    ]
    engine: Engine = system.engine
    parts = engine.score(engine.prefill(text.ids), branches, system.slots(fused, branches))
    hidden: Tensor = torch.cat([h for part in parts for h in part])
    places = range(len(branches))
    own = system.read("ranking", hidden, None, places, calibrate=False)
    pooled = system.read("ranking", hidden, fused, places, calibrate=False)
    every = own, fused.prior.get("ranking", own), pooled
    return tuple(scores.float().cpu().numpy() for scores in every)


def ndcg(found: list[Choice], weight: float) -> float:
    """Mean NDCG@10 among the candidates with the language model at ``weight`` in the pool."""
    values = [
        ndcg_score([c.relevant], [weight * c.own + (1 - weight) * c.prior], k=CUTOFF) for c in found
    ]
    return float(np.mean(values))


def asked_queries(prepared: Prepared, seed: int) -> list[Query]:
    """Validation queries of people to choose on, `QUERIES` of them at most."""
    queries = [q for q in ranking_queries(prepared, VALID) if prepared.choosing_users[q.user]]
    if len(queries) <= QUERIES:
        return queries
    drawn = np.random.default_rng(seed).choice(len(queries), QUERIES, replace=False)
    return [queries[i] for i in np.sort(drawn)]


def weights_by_ndcg(system: System, advance) -> dict[float, float]:
    """NDCG@10 of `asked_queries` for every weight in `WEIGHTS`.

    ``advance`` is called after each query.
    """
    system.lora.eval()
    system.fusion.eval()
    found = []
    for query in asked_queries(system.prepared, system.config.train.seed):
        found.append(choices(system, query))
        advance()
    kept = [c for c in found if c is not None]
    return {weight: ndcg(kept, weight) for weight in WEIGHTS}
