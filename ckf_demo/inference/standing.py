"""The rank of an item for a person: among all unseen items, and in both stages of a top list."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from ckf_demo.inference.figures import QUANTITIES, compared_tasks, figures, present
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.tasks import rating
from ckf_demo.tasks.ctr import LIKED

SAMPLE = 100
"""Number of unseen items that the language model rates for a percentile."""
PORTION = 25

OUTCOMES = ("kept", "moved in", "moved out", "not moved in", "no candidate")
"""The outcome for an item that was liked later; see `Counterfactuals.trace_later_likes`."""


def percentile(
    predictor: Predictor, person: Person, target: int, stop: Event | None
) -> Iterator[list[dict]]:
    """The item's percentile among unseen items; see `Counterfactuals.percentile`."""
    task = compared_tasks(predictor)[0]
    trained, n_items = predictor.methods[0], predictor.prepared.n_items
    others = np.setdiff1d(np.arange(n_items), [*person.items, target])
    rows = []
    if predictor.prepared.feedback == "ratings":
        scores = predictor.catalogue_scores(person)
        rows.append(_standing("candidates", "score", scores, target, others))
    if predictor.system.fusion.prior is not None and task in ("rating", "ctr"):
        scores = _prior(predictor, person, task)
        rows.append(_standing("prior", QUANTITIES[task], scores, target, others))
    yield rows
    quantity = QUANTITIES[task]
    order = np.random.default_rng(0).permutation(n_items)
    sample = order[np.isin(order, others)][:SAMPLE]
    scores = np.full(n_items, np.nan)
    scores[target] = present(predictor, person, target)[quantity]
    for first in range(0, len(sample), PORTION):
        if stop is not None and stop.is_set():
            return
        part = sample[first : first + PORTION]
        answers = predictor.ask(person, [(task, int(item), trained) for item in part])
        scores[part] = [figures({task: answer})[quantity] for answer in answers]
        scored = sample[: first + PORTION]
        yield [*rows, _standing("own", quantity, scores, target, scored, sampled=True)]


@torch.inference_mode()
def _prior(predictor: Predictor, person: Person, task: str) -> np.ndarray:
    """The collaborative prior's answer for every item, float64 (I,)."""
    prior = predictor.fuse(person, np.arange(predictor.prepared.n_items)).prior[task]
    if task == "rating":
        return rating.expectation(prior.log_softmax(-1)).double().cpu().numpy()
    return prior.sigmoid().double().cpu().numpy()


def _standing(
    by: str, quantity: str, scores: np.ndarray, target: int, others: np.ndarray, sampled=False
) -> dict:
    """One row of `percentile` from scores (I,) and the items compared with."""
    lower, n = int((scores[others] < scores[target]).sum()), len(others)
    share = low = high = lower / n if n else None
    if sampled:
        interval = binomtest(lower, n).proportion_ci(method="wilson")
        low, high = float(interval.low), float(interval.high)
    return {
        "by": by,
        "quantity": quantity,
        "value": float(scores[target]),
        "percentile": share,
        "low": low,
        "high": high,
        "n": n,
        "sampled": sampled,
    }


def trace_later_likes(predictor: Predictor, person: Person, k: int, size: int) -> dict:
    """Trace later likes through a list of ``k`` from ``size`` candidates.

    See `Counterfactuals.trace_later_likes`.
    """
    catalogue = predictor.candidates(person, predictor.prepared.n_items)
    pool = catalogue[:size]
    place = {int(item): n for n, item in enumerate(catalogue, start=1)}
    ordered, _ = predictor.rerank(person, pool, predictor.methods[0])
    rank = {int(item): n for n, item in enumerate(ordered, start=1)}
    assert person.user is not None and person.at is not None  # one of the data's users
    later = predictor.store.later(person.user, person.at)
    later = later[later["rating"] >= LIKED]
    films: list[dict[str, Any]] = []
    for item, stars in zip(later["item"], later["rating"], strict=True):
        index = predictor.prepared.item_index[item]
        if index in place:
            film = {"item": item, "title": predictor.film(index).title, "rating": float(stars)}
            ranks = {"collaborative_rank": place[index], "rank": rank.get(index)}
            outcome = _outcome(place[index], rank.get(index), k)
            films.append(film | ranks | {"outcome": outcome})
    return {
        "films": sorted(films, key=lambda film: film["collaborative_rank"]),
        "k": k,
        "candidates": len(pool),
        "catalogue": len(catalogue),
        "outcomes": {name: sum(f["outcome"] == name for f in films) for name in OUTCOMES},
        "in_top_by_collaborative": sum(f["collaborative_rank"] <= k for f in films),
        "at": person.at,
    }


def _outcome(place: int, rank: int | None, k: int) -> str:
    if rank is None:
        return "no candidate"
    if rank <= k:
        return "kept" if place <= k else "moved in"
    return "moved out" if place <= k else "not moved in"
