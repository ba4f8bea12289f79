"""Answers with one item of the history removed, or with other stars for it.

Prompts agree up to the changed item, so only the rest is computed, several prompts in one pass
(`Engine.score_suffixes`); the folded-in person and the bridges change with the history. The window
of items stays fixed: no earlier item replaces a removed one, so the difference is due to that item
alone. For a shorter history `Recommender` may start the window earlier and then show other items;
``"window_moves"`` marks such lengths.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import torch

from ckf_demo.backbone.engine import portions
from ckf_demo.inference.figures import (
    QUANTITIES,
    Figures,
    compared_tasks,
    of_prior,
    present,
    read,
)
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.predict import fuse, suffix_of, suffix_states
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.prompts import window_start

STARS = (1, 2, 3, 4, 5)
PASS = 1024
"""Tokens of one forward pass; each pass yields results."""


@dataclass(frozen=True)
class Change:
    """The item at ``place`` of the whole history gets ``stars``, or is removed if they are None."""

    place: int
    stars: float | None = None

    def of(self, person: Person) -> Person:
        """The person with the changed history."""
        if self.stars is None:
            items, ratings = (np.delete(a, self.place) for a in (person.items, person.ratings))
            named = person.named - (self.place < person.named)
            return replace(person, items=items, ratings=ratings, named=named)
        ratings = person.ratings.copy()
        ratings[self.place] = self.stars
        return replace(person, ratings=ratings)


def leave_one_out(
    predictor: Predictor, person: Person, target: int, stop: Event | None
) -> Iterator[dict]:
    """The answers without each item that the prompt shows; see `Counterfactuals.leave_one_out`."""
    began = time.perf_counter()
    first = QUANTITIES[compared_tasks(predictor)[0]]
    n, start = len(person.items), predictor.context(person).shown_from
    base = present(predictor, person, target)
    rows: list[dict] = []

    def piece() -> dict:
        return {
            **base,
            "without": sorted(rows, key=lambda row: -abs(row["effect"])),
            "shown": n - start,
            "known": n,
            "window_moves": window_start(max(n - 1, 0), predictor.system.config.prompt) < start,
            "at": person.at,
            "seconds": round(time.perf_counter() - began, 3),
        }

    yield piece()
    changes = [Change(place) for place in range(n - 1, start - 1, -1)]
    for answered in _passes(predictor, person, changes, target):
        for change, changed in answered:
            film = predictor.film(int(person.items[change.place]))
            rows.append(
                {
                    "item": film.item,
                    "title": film.title,
                    "stars": float(person.ratings[change.place]),
                    **changed,
                    "effect": _number(base[first]) - _number(changed[first]),
                }
            )
        yield piece()
        if stop is not None and stop.is_set():
            return


def with_stars(predictor: Predictor, person: Person, target: int, changed: int) -> list[dict]:
    """The answers with other stars for one shown item; see `Counterfactuals.with_stars`."""
    if predictor.prepared.feedback == "likes":
        raise UserError(
            f"Histories of '{predictor.prepared.dataset}' contain films that were liked, without "
            "stars; films can only be removed."
        )
    places = np.flatnonzero(person.items == changed)
    if not len(places) or places[-1] < predictor.context(person).shown_from:
        raise UserError(
            f"“{predictor.film(changed).title}” is not among the films that the prompt shows; "
            "choose one of those."
        )
    place = int(places[-1])
    given = float(person.ratings[place])
    answers: dict[float | None, Figures] = {given: present(predictor, person, target)}
    changes = [Change(place, stars) for stars in (None, *STARS) if stars != given]
    for answered in _passes(predictor, person, changes, target):
        answers |= {change.stars: row for change, row in answered}
    return [{"stars": stars, **answers[stars]} for stars in (None, *STARS)]


def answers_without(
    predictor: Predictor, person: Person, changes: Sequence[Change], target: int
) -> list[tuple[Change, float]]:
    """The first compared task's answer after each change, by the whole model."""
    first = QUANTITIES[compared_tasks(predictor)[0]]
    return [
        (change, _number(row[first]))
        for answered in _passes(predictor, person, changes, target)
        for change, row in answered
    ]


def _passes(
    predictor: Predictor, person: Person, changes: Sequence[Change], target: int
) -> Iterator[list[tuple[Change, Figures]]]:
    """Answers for changed histories, in order, one forward pass after another."""
    parts = _computed(predictor, person, changes, target)

    def locked() -> list[tuple[Change, Figures]] | None:
        # one pass at a time: a generator may be resumed in another thread, and others wait
        with predictor.lock:
            return next(parts, None)

    yield from iter(locked, None)


@torch.inference_mode()
def _computed(
    predictor: Predictor, person: Person, changes: Sequence[Change], target: int
) -> Iterator[list[tuple[Change, Figures]]]:
    system, tasks = predictor.system, compared_tasks(predictor)
    base = predictor.context(person)
    prefix_ids = base.prefix(system.writer).ids
    by_prior = all(map(system.asks_prior_alone, tasks))
    variants, suffixes = [], []
    for change in changes:
        # the label of the changed item is removed too
        removed = [int(person.items[change.place])]
        context = predictor.context(change.of(person), removed)
        context = replace(context, shown_from=base.shown_from)
        questions = [context.question(task, target) for task in tasks]
        if by_prior:
            fused = fuse(system, context, questions[:1])
            assert fused is not None  # such tasks have a prior
            yield [(change, of_prior(system, tasks, fused))]
            continue
        variants.append((context, questions))
        suffixes.append(suffix_of(system, prefix_ids, context, questions))
    for places in portions([suffix.size for suffix in suffixes], PASS):
        fused = [fuse(system, context, questions[:1]) for context, questions in variants[places]]
        states = suffix_states(
            system, prefix_ids, suffixes[places], fused, predictor.prefixes, chunk_tokens=PASS
        )
        yield [
            (change, read(system, tasks, of_change, fused_pair))
            for change, of_change, fused_pair in zip(changes[places], states, fused, strict=True)
        ]


def _number(figure: float | None) -> float:
    """A figure of the first compared task, which is never None."""
    assert figure is not None
    return figure
