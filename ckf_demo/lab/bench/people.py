"""Who is asked about in the benchmark: known users at the end of their training part."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ckf_demo.backbone.engine import Branch, Prefix
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.model.system import System
from ckf_demo.tasks.prompts import window_start


@dataclass(frozen=True)
class BenchPerson:
    """A history, oldest first, with candidates for it."""

    user: int
    items: np.ndarray
    ratings: np.ndarray
    candidates: np.ndarray

    def cut(self, length: int) -> "BenchPerson":
        """The same with the first ``length`` films of the history."""
        return BenchPerson(self.user, self.items[:length], self.ratings[:length], self.candidates)


def people(
    system: System, n: int, candidates: int = CANDIDATES, *, keenest: bool = False
) -> list[BenchPerson]:
    """``n`` users with the candidate stage's best films.

    They are spread over history lengths, or are those with the longest ones (``keenest``).
    """
    data = system.prepared
    lengths = np.bincount(data.user[data.split == 0], minlength=data.n_users)
    known = np.argsort(lengths, kind="stable")[(lengths == 0).sum() :]
    spread = np.linspace(0, len(known) - 1, n + 2).astype(int)[1:-1]
    chosen = known[-n:] if keenest else known[spread]
    out = []
    for user in chosen:
        rows = data.history.rows_of(int(user))
        rows = rows[data.split[rows] == 0]
        items, ratings = data.item[rows].astype(np.int64), data.rating[rows]
        scores = system.knowledge.candidate_scores(items, ratings)
        scores[items] = -np.inf
        best = np.argsort(-scores, kind="stable")[:candidates]
        out.append(BenchPerson(int(user), items, ratings, best))
    return out


def prompt(system: System, person: BenchPerson) -> list[int]:
    """Tokens of the shared prefix."""
    start = window_start(len(person.items), system.config.prompt)
    return system.writer.prefix(
        person.items[start:], person.ratings[start:], system.prepared.profile(person.user)
    ).ids


@torch.inference_mode()
def questions(
    system: System, person: BenchPerson, task: str, at: int
) -> tuple[list[Branch], list[Tensor | None], object]:
    """Branches behind ``at`` tokens with their slots, and what was fused for them."""
    fused = None
    if system.fusion.uses_tokens:
        lengths = np.full(len(person.candidates), len(person.items))
        pairs = system.pairs(person.items, person.ratings, lengths, person.candidates)
        fused = system.fuse(pairs)
    branches = [
        system.writer.branch(task, int(item), at, with_tokens=fused is not None)
        for item in person.candidates
    ]
    return branches, system.slots(fused, branches, range(len(branches))), fused


@torch.inference_mode()
def answers(system: System, person: BenchPerson, task: str, prefix: Prefix | None = None) -> Tensor:
    """What the system says of every candidate; the prefix is computed when none is given."""
    ids = prompt(system, person)
    prefix = prefix or system.engine.prefill(ids)
    branches, slots, fused = questions(system, person, task, len(ids))
    parts = system.engine.score(prefix, branches, slots)
    hidden = torch.cat([h for part in parts for h in part])
    return system.read(task, hidden, fused, range(len(branches)), calibrate=False)
