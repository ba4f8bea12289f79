"""Counterfactuals: what the answers about a person and a film would be otherwise.

    recommender.counterfactuals.leave_one_out(user="405", item="50")      each rated film removed
    recommender.counterfactuals.with_stars("172", user="405", item="50")
    recommender.counterfactuals.swap_components(user="405", item="50", other="13")
    recommender.counterfactuals.percentile(user="405", item="50")
    recommender.counterfactuals.trace_later_likes("405")

A changed history changes the prompt, the folded-in person and hence the bridges, and all of that is
computed: nothing is approximated. What was learnt from everybody's ratings stays as it is. Prompts
with one film changed agree up to that film, so each is computed from there on, several in one pass
(`Engine.score_endings`).

The window of films that the prompt shows is held: when one of them goes, no earlier film takes its
place, so that the difference is that film's alone. `Recommender` lets the window begin earlier
where a shorter history calls for it; at such lengths, which ``"window_moves"`` names, asking it
about the changed history shows further films.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from ckf_demo.backbone.engine import Suffix, portions
from ckf_demo.backbone.prefixes import shared_length
from ckf_demo.fusion.base import Fused
from ckf_demo.model.predict import Question, answer_states, fuse
from ckf_demo.model.system import COMPLETE, Ablation
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks import rating
from ckf_demo.tasks.ctr import LIKED
from ckf_demo.tasks.prompts import window_start

if TYPE_CHECKING:
    from ckf_demo.recommender import Person, Recommender

QUANTITIES = {"rating": "rating", "ctr": "probability", "ranking": "score"}
"""What each task's answer is called here: expected stars, a probability, a logit."""

STARS = (1, 2, 3, 4, 5)
PASS = 1024
"""Tokens of one forward pass, after which results come."""

SAMPLE = 100
"""Films that were not seen and that the language model rates for a percentile."""

PORTION = 25
AVERAGE_OF = 200
"""People whose bridges are averaged."""

OUTCOMES = ("kept", "moved in", "moved out", "not moved in", "no candidate")
"""What became of a film that was liked later; see `Counterfactuals.trace_later_likes`."""


@dataclass(frozen=True)
class Part:
    """A part of the system that is taken away, or replaced by somebody else's.

    ``bridges`` are W^user and W^item (1, D, D).
    """

    name: str
    label: str
    ablation: Ablation = COMPLETE
    bridges: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Change:
    """One film of a history changed: it gets ``stars``, or goes where that is None.

    ``place`` counts from the beginning of the whole history.
    """

    place: int
    stars: float | None = None


class Counterfactuals:
    """What-if questions to a recommender; persons and films are given as to `Recommender`."""

    def __init__(self, recommender: "Recommender"):
        self._recommender = recommender

    @property
    def tasks(self) -> tuple[str, ...]:
        """Whose answers are compared: rating and CTR as far as they are known, else ranking."""
        known = self._recommender.tasks
        return tuple(t for t in ("rating", "ctr") if t in known) or tuple(
            t for t in ("ranking",) if t in known
        )

    @property
    def quantities(self) -> tuple[str, ...]:
        """The same as keys of the rows returned here; effects are of the first one."""
        return tuple(QUANTITIES[task] for task in self.tasks)

    def _asked(self) -> tuple[str, ...]:
        if not self.tasks:
            raise UserError(
                f"The checkpoint '{self._recommender.manifest['name']}' answers neither rating, "
                "ctr nor ranking, so nothing can be compared; serve one that does."
            )
        return self.tasks

    # A history with one film changed

    def leave_one_out(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        stop: Event | None = None,
    ) -> Iterator[dict]:
        """Every film that the prompt shows removed alone, latest first, as it is computed.

        Yields
        ------
        ``{"rating", "probability", "score", "without": [{"item", "title", "stars", "rating",
        "probability", "score", "effect"}], "shown", "known", "window_moves", "at", "seconds"}``:
        the answer as it is; then for each film removed so far the answer without it, the greatest
        effect first. ``effect`` is the answer as it is minus that without the film, in the first of
        `quantities`: above zero where the film speaks for the candidate. Quantities that the
        checkpoint does not know are None. ``shown`` of the ``known`` films are in the prompt. The
        first piece holds no film yet, the last one all; ``stop`` ends it early.

        Raises
        ------
        UserError
            As `Recommender.rate`; or when the checkpoint answers no task that can be compared.
        """
        began = time.perf_counter()
        r, tasks = self._recommender, self._asked()
        first = QUANTITIES[tasks[0]]
        target = r._item(item)
        person = r._someone(user, history, taste, profile, at)
        start = self._start(person)
        known = len(person.items)
        base = self._present(person, target)
        rows: list[dict] = []

        def piece() -> dict:
            return {
                **base,
                "without": sorted(rows, key=lambda row: -abs(row["effect"])),
                "shown": known - start,
                "known": known,
                "window_moves": self._start(replace(person, items=person.items[1:])) < start,
                "at": person.at,
                "seconds": round(time.perf_counter() - began, 3),
            }

        yield piece()
        changes = [Change(place) for place in range(known - 1, start - 1, -1)]
        for found in self._passes(person, changes, tasks, target):
            for change, answers in found:
                film = r.film(int(person.items[change.place]))
                rows.append(
                    {
                        "item": film.item,
                        "title": film.title,
                        "stars": float(person.ratings[change.place]),
                        **answers,
                        "effect": base[first] - answers[first],
                    }
                )
            yield piece()
            if stop is not None and stop.is_set():
                return

    def with_stars(
        self,
        changed: str,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
    ) -> list[dict]:
        """The answers if the film ``changed`` of the shown history had got one to five stars.

        Returns
        -------
        ``[{"stars", "rating", "probability", "score"}]``; the first row, with ``stars`` None, is
        for the film removed.

        Raises
        ------
        UserError
            When the film is not among those that the prompt shows, or the data hold likes alone.
        """
        r, tasks = self._recommender, self._asked()
        if r.prepared.feedback == "likes":
            raise UserError(
                f"Histories of '{r.prepared.dataset}' hold films that were liked, without stars; "
                "films can only be removed."
            )
        target, index = r._item(item), r._item(changed)
        person = r._someone(user, history, taste, profile, at)
        places = np.flatnonzero(person.items == index)
        if not len(places) or places[-1] < self._start(person):
            raise UserError(
                f"“{r.film(index).title}” is not among the films that the prompt shows; choose one "
                "of those."
            )
        place = int(places[-1])
        given = float(person.ratings[place])
        found: dict[float | None, dict[str, float | None]] = {given: self._present(person, target)}
        changes = [Change(place, stars) for stars in (None, *STARS) if stars != given]
        for part in self._passes(person, changes, tasks, target):
            found |= {change.stars: answers for change, answers in part}
        return [{"stars": stars, **found[stars]} for stars in (None, *STARS)]

    def _start(self, person: "Person") -> int:
        return window_start(len(person.items), self._recommender.system.config.prompt)

    def _present(self, person: "Person", target: int) -> dict[str, float | None]:
        """The answer as it is."""
        r, own = self._recommender, self._recommender.methods[0]
        with r._lock:
            answers = r._ask(person, [(task, target, own) for task in self.tasks])
        return _quantities(dict(zip(self.tasks, answers, strict=True)))

    def _passes(
        self, person: "Person", changes: Sequence[Change], tasks: Sequence[str], target: int
    ) -> Iterator[list[tuple[Change, dict]]]:
        """Answers for changed histories, in order, one forward pass after another."""
        parts = self._computed(person, changes, tasks, target)
        while True:
            # one pass at a time: a generator may be resumed in another thread, and others wait
            with self._recommender._lock:
                part = next(parts, None)
            if part is None:
                return
            yield part

    @torch.inference_mode()
    def _computed(
        self, person: "Person", changes: Sequence[Change], tasks: Sequence[str], target: int
    ) -> Iterator[list[tuple[Change, dict]]]:
        r = self._recommender
        system, start = r.system, self._start(person)
        text = r._prefix(person)
        with_tokens = system.fusion.uses_tokens
        people = [_changed(person, change) for change in changes]
        endings = []
        for other in people:
            ids = system.writer.prefix(
                other.items[start:], other.ratings[start:], person.profile, person.taste
            ).ids
            at = shared_length(tuple(ids), tuple(text.ids))
            branches = [
                system.writer.branch(task, target, len(ids), with_tokens=with_tokens)
                for task in tasks
            ]
            endings.append(Suffix(ids[at:], at, branches))
        for places in portions([ending.size for ending in endings], PASS):
            part = changes[places]
            fused = [
                self._fused(other, target, person.items[change.place])
                for other, change in zip(people[places], part, strict=True)
            ]
            found = self._hidden(text.ids, endings[places], fused)
            yield [
                (
                    change,
                    _quantities(
                        {
                            task: system.read(task, states, beside, [0], calibrate=True)[0]
                            for task, states in zip(tasks, own, strict=True)
                        }
                    ),
                )
                for change, own, beside in zip(part, found, fused, strict=True)
            ]

    def _fused(self, person: "Person", target: int, removed: int) -> Fused | None:
        """The changed person with the film asked about; a label of the film changed goes too."""
        r = self._recommender
        if not r.system.fusion.fuses:
            return None
        return r.system.fuse(r._pairs(person, np.array([target]), (int(removed),)))

    def _hidden(
        self, ids: list[int], endings: Sequence[Suffix], fused: Sequence[Fused | None]
    ) -> list[list[Tensor]]:
        """For each ending the last hidden state (1, H) of each of its branches, in one pass."""
        r = self._recommender
        system, engine = r.system, r.system.engine
        if system.fusion.changes_weights:
            # each pair has weights of its own, so whole prompts stand side by side
            branches = [
                replace(b, ids=[*ending.ids, *b.ids], at=ending.at)
                for ending in endings
                for b in ending.branches
            ]
            counts = torch.tensor([len(ending.branches) for ending in endings])
            of_pairs = [f.updates for f in cast(Sequence[Fused], fused)]
            updates = {
                name: (
                    torch.cat([u[name][0] for u in of_pairs]).repeat_interleave(counts, dim=0),
                    b,
                )
                for name, (_, b) in of_pairs[0].items()
            }
            states = iter(engine.separate(ids, branches, updates))
            return [[next(states) for _ in ending.branches] for ending in endings]
        slots = [
            [system.slot(own, 0) if b.slots else None for b in ending.branches]
            for ending, own in zip(endings, fused, strict=True)
        ]
        parts = engine.score_endings(r._prefixes(ids), endings, slots, chunk_tokens=PASS)
        return [answers for part in parts for answers in part]

    # Parts of the system swapped or switched off

    @property
    def has_bridges(self) -> bool:
        """Whether people have bridges of their own, which can be swapped."""
        return self._recommender.system.fusion.has_personal_bridges

    @property
    def missing(self) -> list[str]:
        """Parts that `switched` leaves out, because the checkpoint has none: nouns."""
        lora, fusion = self._recommender.system.lora.config, self._recommender.system.fusion
        there = {
            "personal bridges": fusion.has_personal_bridges,
            "collaborative tokens": fusion.uses_tokens,
            "shared adapter": bool(lora.shared_targets),
            "task adapters": bool(lora.task_targets),
            "collaborative prior": fusion.prior is not None,
        }
        return [name for name, found in there.items() if not found]

    def swap_components(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        other: str | None = None,
        stop: Event | None = None,
    ) -> Iterator[dict]:
        """The answers with one part of the system swapped or switched off, the rest as it is.

        ``other`` is a known user whose bridges, at their default moment, stand in the place of the
        person's. An adapter that is off is off in the whole prompt. Calibration is held.

        Yields
        ------
        ``{"part", "label", "rating", "probability", "score"}``, first the answer as it is; only for
        parts that the checkpoint has. ``stop`` ends it early.

        Raises
        ------
        UserError
            When ``other`` is unknown, or given though there are no bridges to swap.
        """
        r, tasks = self._recommender, self._asked()
        target = r._item(item)
        person = r._someone(user, history, taste, profile, at)
        parts = self._parts(None if other in (None, "") else str(other))
        yield {"part": "own", "label": "As it is", **self._present(person, target)}
        for part in parts:
            if stop is not None and stop.is_set():
                return
            with r._lock:
                answers = self._under(part, person, target, tasks)
            yield {"part": part.name, "label": part.label, **answers}

    def _parts(self, other: str | None) -> list[Part]:
        """What can be swapped or switched off."""
        system = self._recommender.system
        fusion, lora = system.fusion, system.lora.config
        parts = []
        if other is not None:
            bridges = self.bridges_of(other)
            parts.append(Part("other bridges", f"Bridges of user {other}", bridges=bridges))
        if self.has_bridges:
            bridges, n = self._average_bridges
            parts.append(Part("average bridges", f"Average bridges (n = {n})", bridges=bridges))
            identity = Ablation(user_bridge=False, item_bridge=False)
            parts.append(Part("no bridges", "No bridges (identity)", identity))
        if fusion.fuses:
            label = "Collaborative tokens off" if fusion.uses_tokens else "Weight updates off"
            parts.append(Part("no tokens", label, Ablation(tokens=False)))
        if lora.shared_targets:
            parts.append(Part("no shared", "Shared adapter off", Ablation(shared_adapter=False)))
        if lora.task_targets:
            parts.append(Part("no task", "Task adapter off", Ablation(task_adapter=False)))
        if fusion.prior is not None:
            parts.append(Part("no prior", "Collaborative prior off", Ablation(prior=False)))
        return parts

    @torch.inference_mode()
    @torch.inference_mode()
    def bridges_of(self, other: str, at: int | None = None) -> tuple[Tensor, Tensor]:
        """W^user and W^item, each (1, D, D), of a known user at a moment, or at their default one.

        Raises
        ------
        UserError
            When nobody has that id, or the method has no personal bridges.
        """
        r = self._recommender
        if not self.has_bridges:
            raise UserError(
                f"{r.system.fusion.label} has no personal bridges, so those of user {other} cannot "
                "stand in; leave the other user out."
            )
        return r.system.fusion.bridges(r._pairs(r._someone(other, at=at), np.array([0])))

    @cached_property
    @torch.inference_mode()
    def _average_bridges(self) -> tuple[tuple[Tensor, Tensor], int]:
        """The mean W^user and W^item of people with a history at the split time, and how many."""
        system, data = self._recommender.system, self._recommender.prepared
        histories = []
        for user in np.random.default_rng(0).permutation(data.n_users):
            rows = data.history.rows_of(int(user))
            rows = rows[data.timestamp[rows] < data.split_time]
            if len(rows) and len(histories) < AVERAGE_OF:
                histories.append(rows)
        found = [
            system.fusion.bridges(
                system.pairs(
                    data.item[rows], data.rating[rows], np.array([len(rows)]), np.array([0])
                )
            )
            for rows in histories
        ]
        users, items = (torch.cat(side).mean(0, keepdim=True) for side in zip(*found, strict=True))
        return (users, items), len(found)

    @torch.inference_mode()
    def _under(
        self, part: Part, person: "Person", target: int, tasks: Sequence[str]
    ) -> dict[str, float | None]:
        r, ablation = self._recommender, part.ablation
        system, n = r.system, len(person.items)
        context, labels = r._context(person)
        questions = [Question(task, target, n, labels=labels) for task in tasks]
        fused = fuse(system, context, questions[:1], ablation, part.bridges)
        hidden = answer_states(
            system,
            context,
            questions,
            fused,
            ablation,
            pairs=[0] * len(tasks),
            prefixes=r._prefixes,
        )
        beside = fused if ablation.prior else None
        return _quantities(
            {
                task: system.read(task, states, beside, [0], calibrate=True)[0]
                for task, states in zip(tasks, hidden, strict=True)
            }
        )

    # Where the film stands among those that were not seen

    def percentile(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        stop: Event | None = None,
    ) -> Iterator[list[dict]]:
        """The film's percentile in the person's catalogue: among films that they have not seen.

        The candidate stage and the collaborative prior score the whole catalogue; the full answer,
        with the language model, a fixed sample of `SAMPLE` films, a part at a time.

        Yields
        ------
        All rows so far: ``[{"by", "quantity", "value", "percentile", "low", "high", "n",
        "sampled"}]``. ``by`` is ``"candidates"`` (their order's score), ``"prior"`` or ``"own"``.
        ``percentile`` in 0–1 is the share of ``n`` films that score lower; ``low`` and ``high``
        bound it at 95 % (Wilson) where they are a sample, else they are equal to it. ``stop`` ends
        it early.
        """
        r, task = self._recommender, self._asked()[0]
        own = r.methods[0]
        target = r._item(item)
        person = r._someone(user, history, taste, profile, at)
        others = np.setdiff1d(np.arange(r.prepared.n_items), [*person.items, target])
        rows = []
        if r.prepared.feedback == "ratings":
            rows.append(_standing("candidates", "score", r._choice(person), target, others))
        if r.system.fusion.prior is not None and task in ("rating", "ctr"):
            scores = self._prior(person, task)
            rows.append(_standing("prior", QUANTITIES[task], scores, target, others))
        yield rows
        value = self._present(person, target)[QUANTITIES[task]]
        order = np.random.default_rng(0).permutation(r.prepared.n_items)
        sample = order[np.isin(order, others)][:SAMPLE]
        scores = np.full(r.prepared.n_items, np.nan)
        scores[target] = value
        for first in range(0, len(sample), PORTION):
            if stop is not None and stop.is_set():
                return
            part = sample[first : first + PORTION]
            with r._lock:
                answers = r._ask(person, [(task, int(i), own) for i in part])
            scores[part] = [_quantities({task: a})[QUANTITIES[task]] for a in answers]
            asked = sample[: first + PORTION]
            yield [*rows, _standing("own", QUANTITIES[task], scores, target, asked, sampled=True)]

    @torch.inference_mode()
    def _prior(self, person: "Person", task: str) -> np.ndarray:
        """What the collaborative prior says of every item, float64 (I,)."""
        r = self._recommender
        prior = r._fuse(person, np.arange(r.prepared.n_items)).prior[task]
        if task == "rating":
            return rating.expectation(prior.log_softmax(-1)).double().cpu().numpy()
        return prior.sigmoid().double().cpu().numpy()

    # Where a top list lost what was liked later

    def trace_later_likes(self, user: str, at: int | None = None, k: int = 10) -> dict:
        """Each film that a known user liked later, and which stage lost it from the top ``k``.

        Returns
        -------
        ``{"films": [{"item", "title", "rating", "collaborative_rank", "rank", "outcome"}], "k",
        "candidates", "catalogue", "outcomes": {outcome: number}, "in_top_by_collaborative", "at"}``
        in the collaborative order. ``rank`` is the place after re-ranking, None for films that are
        no candidates. ``outcome`` is ``"kept"`` or ``"moved in"`` for films in the top ``k``, and
        ``"no candidate"``, ``"moved out"`` (by re-ranking) or ``"not moved in"`` for others.

        Raises
        ------
        UserError
            When the user is unknown, the data hold likes alone, or the checkpoint does not rank.
        """
        r = self._recommender
        if user in (None, ""):
            raise UserError("What was liked later is known of users of the data set alone.")
        r._need("ranking")
        k = r._whole(k, "k")
        pool = r.candidates(user=user, at=at)
        person = r._someone(user, at=at)
        catalogue = r._candidates(person, r.prepared.n_items)
        place = {int(i): n for n, i in enumerate(catalogue, start=1)}
        with r._lock:
            ordered, _ = r._order(person, catalogue[: len(pool)], r.methods[0])
        rank = {int(i): n for n, i in enumerate(ordered, start=1)}
        assert person.user is not None and person.at is not None  # one of the data's users
        later = r.store.later(person.user, person.at)
        later = later[later["rating"] >= LIKED]
        films: list[dict[str, Any]] = []
        for item, stars in zip(later["item"], later["rating"], strict=True):
            index = r.prepared.item_index[item]
            if index not in place:
                continue
            films.append(
                {
                    "item": item,
                    "title": r.film(index).title,
                    "rating": float(stars),
                    "collaborative_rank": place[index],
                    "rank": rank.get(index),
                    "outcome": _outcome(place[index], rank.get(index), k),
                }
            )
        return {
            "films": sorted(films, key=lambda film: film["collaborative_rank"]),
            "k": k,
            "candidates": len(pool),
            "catalogue": len(catalogue),
            "outcomes": {name: sum(f["outcome"] == name for f in films) for name in OUTCOMES},
            "in_top_by_collaborative": sum(f["collaborative_rank"] <= k for f in films),
            "at": person.at,
        }


def _changed(person: "Person", change: Change) -> "Person":
    """The person with one film of the history changed."""
    if change.stars is None:
        items, ratings = (np.delete(a, change.place) for a in (person.items, person.ratings))
        return replace(person, items=items, ratings=ratings)
    ratings = person.ratings.copy()
    ratings[change.place] = change.stars
    return replace(person, ratings=ratings)


def _quantities(answers: dict[str, Tensor]) -> dict[str, float | None]:
    """Answers by task, as `System.read` returns them, as figures under the names of QUANTITIES."""
    figures: dict[str, float | None] = dict.fromkeys(QUANTITIES.values())
    for task, answer in answers.items():
        if task == "rating":
            answer = rating.expectation(answer)
        elif task == "ctr":
            answer = answer.sigmoid()
        figures[QUANTITIES[task]] = float(answer)
    return figures


def _standing(
    by: str,
    quantity: str,
    scores: np.ndarray,
    target: int,
    others: np.ndarray,
    *,
    sampled: bool = False,
) -> dict:
    """One row of `Counterfactuals.percentile` from scores (I,) and the films compared with."""
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


def _outcome(place: int, rank: int | None, k: int) -> str:
    if rank is None:
        return "no candidate"
    if rank <= k:
        return "kept" if place <= k else "moved in"
    return "moved out" if place <= k else "not moved in"
