"""Answers of a loaded checkpoint about a `Person`: ratings, clicks, candidates and rankings.

It caches prompt prefixes and answers of recently asked people.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor

from ckf_demo.backbone.precision import choose
from ckf_demo.backbone.prefixes import LIMIT, PrefixCache
from ckf_demo.collaborative.base import WORDS
from ckf_demo.collaborative.co_liked_items import CoLikedItems
from ckf_demo.collaborative.text_vectors import item_text_vectors
from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.data.store import InteractionStore
from ckf_demo.fusion.base import Fused, PairBatch
from ckf_demo.inference.people import LEARNT, People, Person
from ckf_demo.model.manifest import read_manifest, task_list
from ckf_demo.model.predict import Context, answer_states, fuse, pairs_of
from ckf_demo.model.system import System
from ckf_demo.retrieval.terms import FULFILLED
from ckf_demo.retrieval.texts import standardised
from ckf_demo.retrieval.wishes import TasteMatcher, TextMatch
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.tasks import rating
from ckf_demo.tasks.explanation import film
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.tasks.explanations.fact_claims import Known
from ckf_demo.tasks.explanations.facts import Film

NO_TOKENS, COLLABORATIVE_METHOD = "no-tokens", "collaborative"
REMEMBERED = 20_000
"""Maximal number of cached answers; each is a few numbers and a key of a few kilobytes at most."""

RATING_SHIFT, CLICK_SHIFT = 0.3, 0.6
"""What a unit of a taste's evidence adds at full strength: to the logit of each further star, and
to the logit of a like."""

UNFULFILLED = 0.5
"""An item that fulfils less than this share of the wishes is not what was asked for."""

WITHOUT_WORDS = 0.3
"""The share of candidates that are picked as if there were no taste."""


class Predictor:
    """Answers of one checkpoint.

    ``tasks`` are those that the checkpoint was trained for; ``methods`` and ``labels`` are ways to
    answer, the trained one first, and their names on the page. Adapters are switched for each
    forward pass, so one question runs at a time, under ``lock``.
    """

    def __init__(self, system: System, store: InteractionStore, manifest: dict):
        self.system, self.store, self.manifest = system, store, manifest
        self.prepared = system.prepared
        self.people = People(self.prepared, store, self.opinions)
        self.tasks = task_list(manifest)
        trained = system.fusion.name
        self.methods: tuple[str, ...] = (
            trained,
            *([NO_TOKENS] if system.fusion.fuses else []),
            *([COLLABORATIVE_METHOD] if system.fusion.prior is not None else []),
        )
        self.labels: dict[str, str] = {
            trained: system.fusion.label,
            NO_TOKENS: "Without collaborative tokens",
            COLLABORATIVE_METHOD: "Collaborative signal alone",
        }
        self.lock = RLock()
        self.forget()
        fit = self.prepared.fit
        data = self.prepared
        self._co_liked = CoLikedItems.fit(
            data.user[fit], data.item[fit], data.rating[fit], data.n_items
        )
        self.text_evidence = TextEvidence(self.prepared) if self.prepared.texts else None

    @classmethod
    def load(cls, folder: Path, device: str | None, quantization: str | None) -> "Predictor":
        """Load a checkpoint with its data and backbone; see `Recommender.load`."""
        manifest = read_manifest(folder)
        dataset = manifest["dataset"]
        store = InteractionStore.open(dataset)
        prepared = Prepared.load(prepared_path(dataset))
        if store.hash != prepared.hash:
            raise UserError(
                f"The store and the training file of '{dataset}' differ; run `ckf prepare` again."
            )
        quantization = quantization or choose(manifest["backbone"], device).chosen
        system = System.load(folder, prepared, quantization=quantization, device=device)
        return cls(system, store, manifest)

    def forget(self, prefixes: int = LIMIT) -> None:
        """Drop the kept prefixes and answers; from now on keep ``prefixes`` bytes of prefixes."""
        self.prefixes = PrefixCache(self.system.engine, prefixes)
        self._answers: LRUCache = LRUCache(REMEMBERED)

    # What the checkpoint can answer

    def method(self, name: str | None) -> str:
        """The method of that name, by default the trained one; UserError for an unknown one."""
        name = name or self.methods[0]
        if name not in self.methods:
            raise UserError(
                f"Unknown method '{name}'; this checkpoint has {', '.join(self.methods)}."
            )
        return name

    def need(self, task: str) -> None:
        """Raise a UserError when the checkpoint was not trained for a task."""
        if task not in self.tasks:
            raise UserError(
                f"The checkpoint '{self.manifest['name']}' was not trained for {task}; it knows "
                f"{', '.join(self.tasks)}."
            )

    def need_candidates(self) -> None:
        """Raise a UserError when the data contain only likes: those have no candidate stage."""
        if self.prepared.feedback == "likes":
            raise UserError(
                f"The data '{self.prepared.dataset}' contain only likes, so no candidates are "
                f"picked; ask about single {self.people.domain.things} instead."
            )

    @property
    def scored_tasks(self) -> list[str]:
        """Which of rating and CTR it was trained for."""
        return [task for task in ("rating", "ctr") if task in self.tasks]

    # Items

    def film(self, index: int) -> Film:
        """The title, year and genres of an item."""
        return film(self.prepared, index)

    def liked_together(self, first: str, second: str) -> bool:
        """Whether many people like both items (ids), by the collaborative part of the data."""
        index = self.prepared.item_index
        return self._co_liked(index[first], index[second])

    @cached_property
    def known_facts(self) -> Known:
        """What the catalogue is about, as explanations may say it."""
        return Known.of(map(self.film, range(self.prepared.n_items)))

    @cached_property
    def theme_counts(self) -> Counter[str]:
        """How many items have each theme."""
        facts = self.prepared.facts
        return Counter(tag for tags in (facts.tags if facts else ()) for tag in tags)

    @cached_property
    def text_vectors(self) -> np.ndarray:
        """The items' texts (title, year, genres) as unit vectors, float32 (I, 384)."""
        return item_text_vectors(self.prepared, str(self.system.engine.device))

    # A person, as the model sees them

    @cached_property
    def tastes(self) -> TasteMatcher:
        """Reads taste sentences in the catalogue's terms."""
        return TasteMatcher(self.prepared, str(self.system.engine.device))

    def match(self, person: Person) -> TextMatch | None:
        """The person's taste held against the catalogue; None where it changes nothing."""
        if not person.taste or not person.strength:
            return None
        return self.tastes.match(person.taste)

    def is_unwanted(self, person: Person, target: int) -> bool:
        """Whether the person's words, as constraints, ask for something else than an item."""
        match = self.match(person)
        if match is None or person.strength <= LEARNT:
            return False
        return bool(match.ruled_out[target] or match.share[target] < UNFULFILLED)

    def opinions(self, taste: str) -> list[tuple[int, float]]:
        """Items that a taste names, by index, with the stars that it says of them."""
        match = self.tastes.match(taste)
        return [] if match is None else match.opinions

    def read_taste(self, taste: str, item: str | int | None = None) -> dict[str, Any]:
        """See `Recommender.read_taste`."""
        taste = self.people.taste(taste)
        target = None if item in (None, "") else self.people.item(item)
        reading = self.tastes.reader.read(taste)
        match = self.tastes.match(taste)
        messages = [] if match is None else match.messages(self.people.domain.things)
        if taste and match is None:
            messages = ["These words say nothing about the catalogue, so they change nothing."]
        return {
            "understood": [
                {
                    "words": wish.words,
                    "kind": wish.kind,
                    "name": wish.name if wish.terms else self.prepared.titles[wish.like[0]],
                    "wanted": wish.wanted,
                    "spelt": wish.spelt,
                    "items": sum(term.count for term in wish.terms) or len(wish.like),
                    "holds": (
                        None
                        if target is None or not wish.terms
                        else bool(wish.fit[target] >= FULFILLED)
                    ),
                }
                for wish in reading.wishes
            ],
            "meaning": " ".join(filter(None, (reading.remainder, reading.unwanted_remainder))),
            "not_understood": list(reading.not_understood),
            "messages": messages,
        }

    def context(self, person: Person, forgotten: Sequence[int] = ()) -> Context:
        """The person as the model sees them; labels of ``forgotten`` items do not count."""
        match = self.match(person)
        taste = "" if match is None else person.taste
        context = Context.of(
            person.items, person.ratings, self.system.config.prompt, person.profile, taste
        )
        if match is not None:
            context = replace(context, words=self._said(person, match))
        knowledge = self.system.knowledge
        if not knowledge.uses_labels or person.user is None:
            return context
        user = self.prepared.user_index[person.user]
        labelled = knowledge.labelled(user, training=False)
        count = int(knowledge.label_counts(user, np.array([person.at]))[0])
        kept = ~np.isin(labelled.items[:count], forgotten)
        items, labels = labelled.items[:count][kept], labelled.labels[:count][kept]
        return replace(context, labelled=replace(labelled, items=items, labels=labels))

    @staticmethod
    def _said(person: Person, match: TextMatch) -> np.ndarray:
        """What the person's words say of every item, less below the learnt strength: (I, 3)."""
        return match.features * min(1.0, person.strength / LEARNT)

    @property
    def _reads_words(self) -> bool:
        """Whether the prior has learnt how far words move an answer."""
        return WORDS[0] in self.system.knowledge.feature_names

    def pairs(self, person: Person, targets: np.ndarray) -> PairBatch:
        """The person with each of several items (m,)."""
        context = self.context(person)
        return pairs_of(self.system, context, [context.question("", item) for item in targets])

    def fuse(self, person: Person, targets: np.ndarray) -> Fused:
        """Collaborative tokens and priors of the person with each of several items (m,)."""
        return self.system.fuse(self.pairs(person, targets))

    # Answers

    @torch.inference_mode()
    def ask(self, person: Person, questions: Sequence[tuple[str, int, str]]) -> list[Tensor]:
        """Answer (task, item index, method) questions about one person, in one engine call.

        Recent answers come from the cache. What the person gave an item does not count in answers
        about that item.

        Returns
        -------
        For each question what `System.read` returns: log-probabilities (5,) for a rating, a scalar
        otherwise.
        """
        rated = {item for _, item, _ in questions} & set(person.items.tolist())
        if rated:
            others = iter(self.ask(person, [q for q in questions if q[1] not in rated]))
            return [
                self.ask(person.without(q[1]), [q])[0] if q[1] in rated else next(others)
                for q in questions
            ]
        with self.lock:
            prefix = tuple(self.context(person).prefix(self.system.writer).ids)
            said = (person.taste, person.strength) if person.taste else ()
            who: tuple = (prefix, person.items.tobytes(), person.ratings.tobytes(), *said)
            if self.system.knowledge.uses_labels:
                # labels of a known user count beside the history
                who = (*who, person.user, person.at)
            keys = [(who, *question) for question in questions]
            answers = {k: self._answers[k] for k in keys if k in self._answers}
            new = list(dict.fromkeys(k for k in keys if k not in answers))
            if new:
                computed = self._answers_without_cache(person, [k[1:] for k in new])
                answers |= dict(zip(new, computed, strict=True))
                self._answers.update(answers)
        return self._shifted(person, questions, [answers[k] for k in keys])

    def _shifted(
        self, person: Person, questions: Sequence[tuple[str, int, str]], answers: list[Tensor]
    ) -> list[Tensor]:
        """Move stars and likes by what the person's taste says of each item.

        Knowledge that reads words itself has learnt how far.
        """
        match = self.match(person)
        if match is None or self._reads_words:
            return answers
        shifted = []
        for (task, item, _), answer in zip(questions, answers, strict=True):
            evidence = person.strength * float(match.evidence[item])
            if task == "rating":
                steps = torch.arange(len(answer), dtype=answer.dtype, device=answer.device)
                answer = (answer + RATING_SHIFT * evidence * steps).log_softmax(-1)
            elif task == "ctr":
                answer = answer + CLICK_SHIFT * evidence
            shifted.append(answer)
        return shifted

    def _answers_without_cache(
        self, person: Person, questions: Sequence[tuple[str, int, str]]
    ) -> list[Tensor]:
        """Answer the questions as `ask` does, without the cache; the caller holds `lock`."""
        system, trained = self.system, self.methods[0]
        context = self.context(person)
        model_questions = [
            context.question(task, item, tokens=method == trained)
            for task, item, method in questions
        ]
        fused = fuse(system, context, model_questions)
        by_prior = {task for task, *_ in questions if system.asks_prior_alone(task)}
        by_llm = [
            i
            for i, (task, _, method) in enumerate(questions)
            if method != COLLABORATIVE_METHOD and not (method == trained and task in by_prior)
        ]
        asked = [model_questions[i] for i in by_llm]
        states = iter(
            answer_states(system, context, asked, fused, pairs=by_llm, prefixes=self.prefixes)
        )
        answers = []
        for i, (task, _, method) in enumerate(questions):
            if method == COLLABORATIVE_METHOD:
                assert fused is not None  # only methods with a prior offer this one
                value = fused.prior[task][i]
                answer = value.log_softmax(-1) if task == "rating" else value
            elif method == trained and task in by_prior:
                assert fused is not None  # such tasks have a prior
                answer = system.of_prior(task, fused, [i])[0]
            else:
                pooled = fused if method == trained else None
                answer = system.read(task, next(states), pooled, [i], calibrate=method == trained)[
                    0
                ]
            answers.append(answer)
        return answers

    def predictions(
        self,
        person: Person,
        item_methods: Sequence[tuple[int, str]],
        tasks: Sequence[str] = ("rating", "ctr"),
    ) -> list[dict[str, Any]]:
        """Predict rating and CTR for each (item index, method), in one pass.

        Returns
        -------
        ``{"method", "label", "rating", "distribution", "probability"}`` for each of
        them, None for a task that is not in ``tasks`` or that the checkpoint was not trained for.
        """
        tasks = [task for task in self.scored_tasks if task in tasks]
        questions = [(task, *item_method) for item_method in item_methods for task in tasks]
        answers = iter(self.ask(person, questions))
        rows = []
        for _, method in item_methods:
            row: dict[str, Any] = {"method": method, "label": self.labels[method]}
            row |= dict.fromkeys(("rating", "distribution", "probability"))
            for task in tasks:
                answer = next(answers)
                if task == "rating":
                    row["rating"] = float(rating.expectation(answer))
                    row["distribution"] = self._distribution(answer)
                else:
                    row["probability"] = float(answer.sigmoid())
            rows.append(row)
        return rows

    def _distribution(self, answer: Tensor) -> dict[str, float]:
        """Probabilities by stars, in the steps of the data."""
        probabilities, stars = answer.exp().double().cpu().numpy(), self.prepared.stars
        if len(stars) > len(probabilities):
            probabilities = rating.in_halves(probabilities, self._frequencies)
        return {f"{star:g}": float(p) for star, p in zip(stars, probabilities, strict=True)}

    @cached_property
    def _frequencies(self) -> np.ndarray:
        """How often half a star to five, in steps of a half, was given in the training part."""
        given = self.prepared.rating[self.prepared.split == TRAIN]
        places = np.clip(np.round(given * 2), 1, 10).astype(int) - 1
        return np.bincount(places, minlength=10).astype(float)

    def average(self, target: int) -> dict[str, Any]:
        """The average of an item over all users in the training part, as a row of `predictions`."""
        stars, likes = (float(values[target]) for values in self._averages)
        return {
            "method": "average",
            "label": "Everybody's average",
            "rating": None if math.isnan(stars) else stars,
            "distribution": None,
            "probability": None if math.isnan(likes) else likes,
        }

    @cached_property
    def _averages(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean rating and share of likes per item (I,) over the training part.

        NaN for items without ratings, and for all where the data have no stars or no dislikes.
        """
        data, n = self.prepared, self.prepared.n_items
        train = data.split == TRAIN
        item, count = data.item[train], np.bincount(data.item[train], minlength=n)
        means = shares = np.full(n, np.nan)
        with np.errstate(invalid="ignore"):
            if data.feedback == "ratings":
                means = np.bincount(item, data.rating[train], minlength=n) / count
            if not data.positive_only:
                shares = np.bincount(item, data.liked[train], minlength=n) / count
        return means, shares

    # Rankings

    def catalogue_scores(self, person: Person) -> np.ndarray:
        """The candidate stage's score of every item, seen ones too: float32 (I,)."""
        scores = self.system.knowledge.candidate_scores(person.items, person.ratings)
        prior, match = self.system.fusion.prior, self.match(person)
        if match is not None and getattr(prior, "words", None) is not None:
            scores = scores + self._said(person, match) @ prior.words.detach().cpu().numpy()
        return self._with_words(person, scores, np.arange(len(scores)))

    def _with_words(self, person: Person, scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores of some items (m,), mixed with the taste's above the learnt strength.

        Items that the taste rules out or names itself get minus infinity.
        """
        match = self.match(person)
        if match is None:
            return scores
        learnt = LEARNT if self._reads_words else 0.0
        share = max(0.0, (person.strength - learnt) / (1 - learnt))
        if share:
            scores = (1 - share) * standardised(scores) + share * match.scores[items]
        return np.where(match.excluded[items], -np.inf, scores)

    def candidates(
        self, person: Person, size: int, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """Pick the best ``size`` items of the catalogue minus the history (the candidate stage).

        With a taste, part of them are picked without it (`WITHOUT_WORDS`), at the end.
        ``allowed`` is bool (I,), None for all.
        """
        excluded = np.isin(np.arange(self.prepared.n_items), person.items)
        if allowed is not None:
            excluded |= ~allowed
        match = self.match(person)
        if match is None:
            return _best(self.catalogue_scores(person), excluded, size)
        excluded |= match.excluded
        by_words = _best(self.catalogue_scores(person), excluded, size)
        others = _best(self.catalogue_scores(replace(person, taste="")), excluded, size)
        kept = by_words[: size - round(WITHOUT_WORDS * size)]
        union = np.concatenate([kept, others, by_words])
        return union[np.sort(np.unique(union, return_index=True)[1])][:size]

    def rerank(
        self, person: Person, candidates: np.ndarray, method: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Order candidates by the language model and the taste, best first, with their scores."""
        questions = [("ranking", int(item), method) for item in candidates]
        scores = torch.stack(self.ask(person, questions)).float().cpu().numpy()
        scores = self._with_words(person, scores, candidates)
        order = np.argsort(-scores, kind="stable")
        return candidates[order], scores[order]

    def filtered(
        self, genre: str | None, year_from: int | None, year_to: int | None
    ) -> np.ndarray | None:
        """Mask of the items that pass the filters, bool (I,); None without filters."""
        if not genre and year_from is None and year_to is None:
            return None
        years = self.prepared.years
        allowed = np.ones(self.prepared.n_items, dtype=bool)
        if genre:
            genres = self.store.genres()
            if genre not in genres:
                raise UserError(f"Unknown genre '{genre}'; choose one of {', '.join(genres)}.")
            allowed &= np.array([genre in g for g in self.prepared.genres])
        if year_from is not None:
            allowed &= years >= year_from
        if year_to is not None:
            allowed &= (years <= year_to) & (years > 0)
        return allowed

    def rank(
        self, person: Person, k: int, method: str, size: int, allowed: np.ndarray | None
    ) -> list[dict[str, Any]]:
        """Rank the best ``k`` of ``size`` candidates; see `Recommender.rank`."""
        candidates = self.candidates(person, size, allowed)
        if not len(candidates):
            thing = self.people.domain.thing
            raise UserError(f"No {thing} is left by these filters; widen the genre or the years.")
        ordered, scores = self.rerank(person, candidates, method)
        candidate_rank = {int(item): i for i, item in enumerate(candidates, start=1)}
        facts = self.prepared.facts or ItemFacts.empty(self.prepared.n_items)
        later: dict[str, float] = {}
        if person.user is not None and person.at is not None:
            rows = self.store.later(person.user, person.at)
            later = dict(zip(rows["item"], rows["rating"].astype(float), strict=True))
        top: list[dict[str, Any]] = []
        listed = set()
        for item, score in zip(ordered, scores, strict=True):
            entry = self.film(int(item))
            if len(top) == k or (entry.title and (entry.title, entry.year) in listed):
                # some catalogues have one item under two ids
                continue
            listed.add((entry.title, entry.year))
            rank = len(top) + 1
            top.append(
                {
                    "rank": rank,
                    "item": entry.item,
                    "title": entry.title,
                    "year": entry.year,
                    "genres": list(entry.genres),
                    "directors": list(facts.directors[item]),
                    "tags": list(facts.tags[item]),
                    "score": float(score),
                    "collaborative_rank": candidate_rank[int(item)],
                    "later_rating": later.get(entry.item),
                }
            )
        return top


def _best(scores: np.ndarray, excluded: np.ndarray, size: int) -> np.ndarray:
    """The items with the greatest scores (I,) among those that are not excluded, best first."""
    best = np.argsort(-np.where(excluded, -np.inf, scores), kind="stable")[:size]
    return best[~excluded[best]]
