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
from ckf_demo.data.splits import VALID
from ckf_demo.queries import Query, ranking_queries
from ckf_demo.rows import profile_of
from ckf_demo.system import System
from ckf_demo.tasks.prompts import window_start

CANDIDATES, CUTOFF = 100, 10
WEIGHTS = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class Choice:
    """Candidates of one query: both scores and relevance, each float (n,)."""

    own: np.ndarray
    prior: np.ndarray
    relevant: np.ndarray


@torch.inference_mode()
def choices(system: System, query: Query) -> Choice | None:
    """The candidate stage's best for a query; None when nothing relevant is among them."""
    knowledge = system.knowledge
    items, ratings = query.items.astype(np.int64), query.ratings
    scores = knowledge.choice_scores(knowledge.fold_in(items, ratings))
    scores[query.seen] = -np.inf
    candidates = np.argsort(-scores, kind="stable")[:CANDIDATES]
    relevant = np.isin(candidates, query.relevant)
    if not relevant.any():
        return None
    lengths = np.full(len(candidates), len(items))
    fused = system.fuse(system.pairs(items, ratings, lengths, candidates))
    start = window_start(len(items), system.config.prompt)
    text = system.writer.prefix(items[start:], ratings[start:], profile_of(system, query.user))
    branches = [
        system.writer.branch("ranking", int(item), len(text.ids), with_tokens=True)
        for item in candidates
    ]
    engine: Engine = system.engine
    parts = engine.score(engine.prefill(text.ids), branches, system.slots(fused, branches))
    hidden: Tensor = torch.cat([h for part in parts for h in part])
    own = system.read("ranking", hidden, None, range(len(branches)), calibrate=False)
    prior = fused.prior["ranking"]
    return Choice(own.float().cpu().numpy(), prior.float().cpu().numpy(), relevant.astype(float))


def ndcg(found: list[Choice], weight: float) -> float:
    """Mean NDCG@10 among the candidates with the language model at ``weight`` in the pool."""
    values = [
        ndcg_score([c.relevant], [weight * c.own + (1 - weight) * c.prior], k=CUTOFF) for c in found
    ]
    return float(np.mean(values))


def weights_by_ndcg(system: System, advance) -> dict[float, float]:
    """NDCG@10 of all validation queries for every weight in `WEIGHTS`.

    ``advance`` is called after each query.
    """
    system.lora.eval()
    system.fusion.eval()
    found = []
    for query in ranking_queries(system.prepared, VALID):
        found.append(choices(system, query))
        advance()
    kept = [c for c in found if c is not None]
    return {weight: ndcg(kept, weight) for weight in WEIGHTS}
