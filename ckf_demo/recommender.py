"""The one object that the app, the command line and notebooks talk to.

Collaborative knowledge of a person and a film is fused into the prompt of a language model by a
bridge made for that person; the same prompt prefix then answers four questions: how many stars,
would they like it, what should they watch, and why.

    recommender = Recommender.load()
    recommender.rate(user="405", item="50")
    recommender.rank(history=[{"item": "50", "rating": 5}], k=10)
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Event, RLock
from typing import Any, cast

import numpy as np
import torch
from cachetools import LRUCache

from ckf_demo.backbone.engine import Branch, Prefix
from ckf_demo.backbone.precision import choose
from ckf_demo.backbone.prefixes import LIMIT, PrefixCache
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.collaborative.co_liked_items import CoLikedItems
from ckf_demo.collaborative.text_vectors import item_text_vectors, text_encoder
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore, moment
from ckf_demo.fusion.base import Fused, FusionMethod, PairBatch
from ckf_demo.inference.contrasts import Contrasts
from ckf_demo.inference.counterfactuals import Counterfactuals
from ckf_demo.inference.explaining import Explaining, by_facts, by_texts, words_of
from ckf_demo.model.predict import (
    Context,
    Question,
    answer_states,
    fuse,
    pairs_of,
    score_rows,
)
from ckf_demo.model.system import COMPLETE, Ablation, System, read_manifest, task_list
from ckf_demo.runtime.array_types import Indices
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.tasks import ctr, rating
from ckf_demo.tasks.domains import DOMAINS, Domain
from ckf_demo.tasks.explanations.evidence import Evidence, TextEvidence
from ckf_demo.tasks.explanations.facts import Film, fact_line, polarity_for
from ckf_demo.tasks.prompts import PrefixText, profile_text, window_start

DEFAULT_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "ml-100k"
REMEMBERED = 20_000
"""Answers that are kept, each a few numbers and a key of some kilobytes at most."""

TASTE_WEIGHT = 0.5
PROFILE_FIELDS = ("age", "gender", "occupation")
NO_TOKENS, COLLABORATIVE = "no-tokens", "collaborative"


LONGEST_TASTE, LONGEST_WORD, MOST_RATED = 300, 40, 1000
"""Characters of a taste and of a profile's words, and films of a given history."""


@dataclass(frozen=True)
class Person:
    """A person as all questions see them.

    ``items`` int64 (n,) and ``ratings`` float32 (n,) are the whole history, oldest first;
    ``profile`` and ``taste`` are prompt lines, ``user`` the id of a known user, ``at`` the moment.
    """

    items: np.ndarray
    ratings: np.ndarray
    profile: str
    taste: str
    user: str | None
    at: int | None


class Recommender:
    """Answers about any user, known or described, with a trained checkpoint.

    Every question takes a person: ``user``, an id of the data set; or a description by ``history``
    (``[{"item", "rating"}]``), ``taste`` (a sentence) and ``profile`` (age, gender, occupation). A
    known user may be given further films. ``at`` (seconds since 1970) is the moment of a question:
    of a known user only what they had rated strictly before it is used.
    """

    def __init__(self, system: System, store: InteractionStore, manifest: dict, folder: Path):
        self.system, self.store, self.manifest, self.checkpoint = system, store, manifest, folder
        self.prepared = system.prepared
        self.tasks = task_list(manifest)
        own = system.fusion.name
        self.methods: tuple[str, ...] = (
            own,
            *([NO_TOKENS] if system.fusion.fuses else []),
            *([COLLABORATIVE] if system.fusion.prior is not None else []),
        )
        self.labels: dict[str, str] = {
            own: system.fusion.label,
            NO_TOKENS: "Without collaborative tokens",
            COLLABORATIVE: "Collaborative signal alone",
        }
        # adapters are switched per forward pass, so one question runs at a time
        self._lock = RLock()
        self.forget()
        fit = self.prepared.fit
        self._fans = CoLikedItems.fit(
            self.prepared.user[fit],
            self.prepared.item[fit],
            self.prepared.rating[fit],
            self.prepared.n_items,
        )
        self._writings = TextEvidence(self.prepared) if self.prepared.texts else None

    @classmethod
    def load(
        cls,
        checkpoint: str | Path = DEFAULT_CHECKPOINT,
        *,
        device: str | None = None,
        quantization: str | None = None,
    ) -> "Recommender":
        """Load a checkpoint with its data and backbone.

        Parameters
        ----------
        device
            ``"cuda"``, ``"cpu"``, or None for the best at hand.
        quantization
            One of those of `load_backbone`; None for the fastest way to hold the 4-bit numbers on
            this machine, which is measured once.

        Raises
        ------
        UserError
            When the data was not prepared, or the checkpoint is missing, damaged or does not
            belong to the data or the backbone.
        """
        folder = Path(checkpoint)
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
        return cls(system, store, manifest, folder)

    def forget(self, prefixes: int = LIMIT) -> None:
        """Drop what is remembered of people who were asked about: prefixes and answers.

        From now on at most ``prefixes`` bytes of prefixes are kept.
        """
        self._prefixes = PrefixCache(self.system.engine, prefixes)
        self._answers: LRUCache = LRUCache(REMEMBERED)

    def warm_up(self) -> None:
        """Do now what the first explanation would otherwise wait for: seconds on two cores."""
        if "explanation" in self.tasks:
            with self._lock:
                self.system.engine.decoder("explanation")

    # People and films

    def _item(self, item: object) -> int:
        index = self.prepared.item_index.get(str(item)) if item not in (None, "") else None
        if index is None:
            thing = self.domain.thing
            given = f"No {thing} was given" if item in (None, "") else f"Unknown {thing} '{item}'"
            raise UserError(f"{given}; search for one by title to get its id.")
        return index

    def _someone(
        self,
        user: str | int | None = None,
        history: Sequence[Mapping] | None = None,
        taste: str | None = None,
        profile: Mapping | None = None,
        at: int | None = None,
    ) -> Person:
        user = None if user in (None, "") else str(user)
        taste = _line("taste", taste, LONGEST_TASTE)
        profile = self._profile(profile)
        if len(history or ()) > MOST_RATED:
            raise UserError(
                f"A history of {len(history):,} {self.domain.things} is too long; give the last "
                f"{MOST_RATED:,}."
            )
        at = None if at is None else moment(at)
        if user is None and not (history or taste or any(profile.values())):
            raise UserError(
                f"Nobody is described: give a user id, or {self.domain.things} with stars, a taste "
                "or a profile."
            )
        items: list[int] = []
        ratings: list[float] = []
        if user is not None:
            known = self.store.user(user)
            at = self.store.default_at(user) if at is None else at
            rows = self.store.history(user, at)
            if self.prepared.feedback == "likes":
                rows = rows[rows["rating"] > 0]
            items += [self.prepared.item_index[i] for i in rows["item"]]
            ratings += rows["rating"].tolist()
            profile = {k: profile[k] or known[k] for k in PROFILE_FIELDS}
        for entry in history or ():
            if not isinstance(entry, Mapping) or "item" not in entry or "rating" not in entry:
                raise UserError(
                    f"{entry!r} is no history entry; give item and rating for each "
                    f"{self.domain.thing}."
                )
            item, stars = self._item(entry["item"]), self._stars(entry["rating"])
            if self.prepared.feedback == "likes" and stars < ctr.LIKED:
                # histories of this data hold likes alone, and nothing was learnt from others
                continue
            if item in items:
                # a newer opinion replaces the older one
                place = items.index(item)
                del items[place], ratings[place]
            items.append(item)
            ratings.append(stars)
        return Person(
            np.array(items, np.int64),
            np.array(ratings, np.float32),
            profile_text(profile),
            taste,
            user,
            at,
        )

    @staticmethod
    def _stars(value: Any) -> float:
        try:
            stars = float(value)
        except (TypeError, ValueError):
            stars = math.nan
        if not 1 <= stars <= 5:
            raise UserError(f"A rating of {value!r} is outside 1 to 5; give one to five stars.")
        return stars

    @staticmethod
    def _profile(profile: Mapping | None) -> dict:
        given = {k: v for k, v in (profile or {}).items() if v not in (None, "")}
        unknown = set(given) - set(PROFILE_FIELDS)
        if unknown:
            raise UserError(
                f"Unknown profile field '{sorted(unknown)[0]}'; "
                f"known are {', '.join(PROFILE_FIELDS)}."
            )
        age = given.get("age")
        if age is not None:
            try:
                given["age"] = int(age)
            except (TypeError, ValueError) as error:
                raise UserError(f"An age of {age!r} is no whole number of years.") from error
            if not 1 <= given["age"] <= 120:
                raise UserError(f"An age of {age} is outside 1 to 120 years.")
        for name in set(given) - {"age"}:
            given[name] = _line(name, given[name], LONGEST_WORD)
        return {k: given.get(k) for k in PROFILE_FIELDS}

    def person(self, user=None, history=None, taste=None, profile=None, at=None) -> Person:
        """The person of a question, with the whole history that is known of them."""
        return self._someone(user, history, taste, profile, at)

    def place(self, item: str | int) -> int:
        """The index of an item id among the data's items."""
        return self._item(item)

    def default_at(self, user: str) -> int:
        """The moment of questions about a known user, unless one is given: seconds since 1970."""
        return self.store.default_at(str(user))

    def search_items(self, query: str, limit: int = 10) -> list[dict]:
        """Films by title: ``[{"item", "title", "year", "genres"}]``, best match first."""
        found = self.store.search_items(query, limit=limit)
        return _records(found[["item", "title", "year", "genres"]])

    def history(self, user: str, at: int | None = None) -> list[dict]:
        """What a known user had rated before a moment, oldest first."""
        at = self.store.default_at(str(user)) if at is None else moment(at)
        rows = self.store.history(str(user), at)
        return _records(rows[["item", "title", "rating", "timestamp"]])

    @property
    def domain(self) -> Domain:
        """What the data set's items and people are called."""
        return DOMAINS[self.prepared.domain]

    def film(self, index: int) -> Film:
        data = self.prepared
        return Film(
            data.item_ids[index],
            data.titles[index],
            int(data.years[index]) or None,
            tuple(data.genres[index]),
        )

    def liked_together(self, first: str, second: str) -> bool:
        """Whether two films have many fans in common, by the collaborative part of the data."""
        index = self.prepared.item_index
        return self._fans(index[first], index[second])

    # Prompts

    def _prefix(self, person: Person, *, with_tokens: bool = True) -> PrefixText:
        return self._context(person)[0].prefix(self.system.writer, with_tokens=with_tokens)

    def _method(self, method: str | None) -> str:
        method = method or self.methods[0]
        if method not in self.methods:
            raise UserError(
                f"Unknown method '{method}'; this checkpoint has {', '.join(self.methods)}."
            )
        return method

    def _need(self, task: str) -> None:
        if task not in self.tasks:
            raise UserError(
                f"The checkpoint '{self.manifest['name']}' was not trained for {task}; it knows "
                f"{', '.join(self.tasks)}."
            )

    def _context(self, person: Person, forgotten: Sequence[int] = ()) -> tuple[Context, int]:
        """The person as the model sees them, and how many labels count.

        Labels of ``forgotten`` items do not.
        """
        knowledge, labelled, count = self.system.knowledge, None, 0
        if knowledge.uses_labels and person.user is not None:
            user = self.prepared.user_index[person.user]
            labelled = knowledge.labelled(user, training=False)
            count = int(knowledge.label_counts(user, np.array([person.at]))[0])
            if len(forgotten):
                kept = ~np.isin(labelled.items, forgotten)
                count = int(kept[:count].sum())
                items, labels = labelled.items[kept], labelled.labels[kept]
                labelled = replace(labelled, items=items, labels=labels)
        context = Context.of(
            person.items, person.ratings, self.system.config.prompt, person.profile, person.taste
        )
        return replace(context, labelled=labelled), count

    def _pairs(
        self, person: Person, targets: np.ndarray, forgotten: Sequence[int] = ()
    ) -> PairBatch:
        """The person with each of several items; labels of ``forgotten`` items do not count."""
        context, labels = self._context(person, forgotten)
        n = len(person.items)
        questions = [Question("", int(item), n, labels=labels) for item in targets]
        return pairs_of(self.system, context, questions)

    def _fuse(self, person: Person, targets: np.ndarray) -> Fused:
        return self.system.fuse(self._pairs(person, targets))

    @torch.inference_mode()
    def _ask(self, person: Person, questions: Sequence[tuple[str, int, str]]) -> list[torch.Tensor]:
        """Answers to (task, item, method) questions about one person, in one engine call.

        Each is as `System.read` returns it: (5,) for a rating, a scalar otherwise. What was asked
        lately about the same person is remembered.
        """
        text = self._prefix(person)
        who = (tuple(text.ids), person.items.tobytes(), person.ratings.tobytes())
        if self.system.knowledge.uses_labels:
            # labels of a known user are known beside the history
            who = (*who, person.user, person.at)
        keys = [(who, *question) for question in questions]
        new = list(dict.fromkeys(k for k in keys if k not in self._answers))
        answers = {k: self._answers[k] for k in keys if k in self._answers}
        if new:
            found = self._compute(person, text, [k[1:] for k in new])
            answers |= dict(zip(new, found, strict=True))
            self._answers.update(answers)
        return [answers[k] for k in keys]

    def _compute(
        self, person: Person, text: PrefixText, questions: Sequence[tuple[str, int, str]]
    ) -> list[torch.Tensor]:
        """Answers to questions that were not asked before; each method with its own prompts."""
        own = self.methods[0]
        context, labels = self._context(person)
        n = len(person.items)
        asked = [
            Question(task, item, n, labels=labels, tokens=method == own)
            for task, item, method in questions
        ]
        fused = fuse(self.system, context, asked)
        out: list[torch.Tensor | None] = [None] * len(questions)
        rest = [i for i, (_, _, method) in enumerate(questions) if method != COLLABORATIVE]
        found = answer_states(
            self.system,
            context,
            [asked[i] for i in rest],
            fused,
            pairs=rest,
            prefixes=self._prefixes,
        )
        hidden = dict(zip(rest, found, strict=True))
        for i, states in hidden.items():
            task, _, method = questions[i]
            uses = fused if method == own else None
            out[i] = self.system.read(task, states, uses, [i], calibrate=method == own)[0]
        for i, (task, _, method) in enumerate(questions):
            if method == COLLABORATIVE:
                assert fused is not None  # only methods with a prior offer this one
                value = fused.prior[task][i]
                out[i] = value.log_softmax(-1) if task == "rating" else value
        return cast(list[torch.Tensor], out)

    # The four tasks

    def rate(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, method=None
    ) -> dict:
        """How many stars: expectation and distribution over one to five."""
        began = time.perf_counter()
        self._need("rating")
        method, target = self._method(method), self._item(item)
        person = self._someone(user, history, taste, profile, at)
        with self._lock:
            answer = self._ask(person, [("rating", target, method)])[0]
        return {**_stars_answer(answer), "at": person.at, "seconds": _since(began)}

    def click(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, method=None
    ) -> dict:
        """Would they like it: the probability of four stars or more, given that they watch it."""
        began = time.perf_counter()
        self._need("ctr")
        method, target = self._method(method), self._item(item)
        person = self._someone(user, history, taste, profile, at)
        with self._lock:
            answer = self._ask(person, [("ctr", target, method)])[0]
        return {
            "probability": float(answer.sigmoid()),
            "at": person.at,
            "seconds": _since(began),
        }

    def compare(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None
    ) -> list[dict]:
        """Rating and CTR by every method beside everybody's average, in one pass.

        Returns
        -------
        ``[{"method", "label", "rating", "distribution", "probability"}]``; the average has no
        distribution, and no values for a film that nobody rated in the training part.
        """
        target = self._item(item)
        person = self._someone(user, history, taste, profile, at)
        asked = [t for t in ("rating", "ctr") if t in self.tasks]
        questions = [(task, target, method) for method in self.methods for task in asked]
        with self._lock:
            answers = self._ask(person, questions)
        rows: dict[str, dict[str, Any]] = {
            m: {
                "method": m,
                "label": self.labels[m],
                "rating": None,
                "distribution": None,
                "probability": None,
            }
            for m in self.methods
        }
        for (task, _, method), answer in zip(questions, answers, strict=True):
            if task == "rating":
                rows[method] |= _stars_answer(answer)
            else:
                rows[method]["probability"] = float(answer.sigmoid())
        return [*rows.values(), self.everybody(item)]

    def predict(
        self,
        items: Sequence[str],
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        first: int | None = None,
        methods: Sequence[str] | None = None,
    ) -> list[dict]:
        """Rating and CTR of several films by several methods, in one pass.

        Parameters
        ----------
        first
            Only so many ratings of the history count, the oldest; None for all. Nobody need be
            described then: a stranger without a history is answered too.
        methods
            Of this checkpoint; None for all.

        Returns
        -------
        ``[{"item", "method", "rating", "probability"}]``, film by film; None for a task that the
        checkpoint does not know.
        """
        person = self._beginning(self._anyone(user, history, taste, profile, at), first)
        chosen = [self._method(m) for m in (self.methods if methods is None else methods)]
        asked = [t for t in ("rating", "ctr") if t in self.tasks]
        pairs = [(item, method) for item in items for method in chosen]
        questions = [(task, self._item(item), m) for item, m in pairs for task in asked]
        with self._lock:
            answers = iter(self._ask(person, questions))
        out = []
        for item, method in pairs:
            row: dict[str, Any] = {"item": str(item), "method": method}
            row |= {"rating": None, "probability": None}
            for task in asked:
                answer = next(answers)
                if task == "rating":
                    row["rating"] = float(rating.expectation(answer))
                else:
                    row["probability"] = float(answer.sigmoid())
            out.append(row)
        return out

    @torch.inference_mode()
    def bridge_distance(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        first: int | None = None,
    ) -> float | None:
        """How far the personal bridge is from a newcomer's, about whom nothing is known.

        See `FusionMethod.bridge_distance`; None for methods without personal bridges. ``first`` is
        as in `predict`.
        """
        if not self.system.fusion.fuses:
            return None
        person = self._beginning(self._anyone(user, history, taste, profile, at), first)
        # the bridge depends on the person alone; any film makes a pair
        with self._lock:
            found = self.system.fusion.bridge_distance(self._pairs(person, np.array([0])))
        return None if found is None else float(found[0])

    def _beginning(self, person: Person, first: int | None) -> Person:
        """The person with only the first ratings of their history; None for all of it."""
        if first is None:
            return person
        first = self._whole(first, "first", least=0)
        # without an id: what the training part says of a user is more than these ratings
        return replace(
            person, items=person.items[:first], ratings=person.ratings[:first], user=None
        )

    def everybody(self, item) -> dict:
        """What everybody said of a film in the training part, as a row of `compare`."""
        target, (means, shares) = self._item(item), self._averages
        return {
            "method": "average",
            "label": "Everybody's average",
            "rating": None if math.isnan(means[target]) else float(means[target]),
            "distribution": None,
            "probability": None if math.isnan(shares[target]) else float(shares[target]),
        }

    @cached_property
    def _averages(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean rating and share of likes per item over the training part.

        NaN without ratings; means are NaN where the data hold likes, shares where nobody says no.
        """
        train = self.prepared.split == 0
        item, stars = self.prepared.item[train], self.prepared.rating[train]
        n = self.prepared.n_items
        count = np.bincount(item, minlength=n)
        with np.errstate(invalid="ignore"):
            means = np.bincount(item, stars, minlength=n) / count
            shares = np.bincount(item, self.prepared.liked[train], minlength=n) / count
        if self.prepared.feedback == "likes":
            means = np.full(n, np.nan)
        if self.prepared.positive_only:
            shares = np.full(n, np.nan)
        return means, shares

    def _choice(self, person: Person) -> np.ndarray:
        """What the candidate stage thinks of every item, seen ones too: float32 (I,)."""
        scores = self.system.knowledge.candidate_scores(person.items, person.ratings)
        if person.taste:
            scores = scores + TASTE_WEIGHT * self._taste_similarity(person.taste)
        return scores

    def _candidates(
        self, person: Person, size: int, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """The candidate stage: the best ``size`` items of the whole catalogue minus the history."""
        scores = self._choice(person)
        scores[person.items] = -np.inf
        if allowed is not None:
            scores[~allowed] = -np.inf
        best = np.argsort(-scores, kind="stable")[:size]
        return best[np.isfinite(scores[best])]

    def _order(
        self, person: Person, candidates: np.ndarray, method: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Candidates re-ranked by the language model, with their scores, best first."""
        questions = [("ranking", int(c), method) for c in candidates]
        scores = torch.stack(self._ask(person, questions)).float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        return candidates[order], scores[order]

    def rank(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        k: int = 10,
        at=None,
        method=None,
        genre: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        candidates: int = CANDIDATES,
    ) -> list[dict]:
        """The ``k`` films to watch next.

        The collaborative model picks ``candidates`` from the whole catalogue minus the history,
        within the filters; the language model orders them.

        Returns
        -------
        ``[{"rank", "item", "title", "year", "genres", "score", "collaborative_rank",
        "later_rating"}]``: the score is a logit comparable within one list, and the later rating
        is what a known user gave at or after ``at``, if anything.
        """
        self._need("ranking")
        method = self._method(method)
        k = self._whole(k, "k")
        person = self._someone(user, history, taste, profile, at)
        allowed = self._allowed(genre, year_from, year_to)
        pool = self._candidates(person, max(k, candidates), allowed)
        if not len(pool):
            raise UserError(
                f"No {self.domain.thing} is left by these filters; widen the genre or the years."
            )
        with self._lock:
            ordered, scores = self._order(person, pool, method)
        place = {int(c): i + 1 for i, c in enumerate(pool)}
        later: dict[str, float] = {}
        if person.user is not None and person.at is not None:
            rows = self.store.later(person.user, person.at)
            later = dict(zip(rows["item"], rows["rating"].astype(float), strict=True))
        out = []
        for rank, (item, score) in enumerate(zip(ordered[:k], scores[:k], strict=True), start=1):
            film = self.film(int(item))
            out.append(
                {
                    "rank": rank,
                    "item": film.item,
                    "title": film.title,
                    "year": film.year,
                    "genres": list(film.genres),
                    "score": float(score),
                    "collaborative_rank": place[int(item)],
                    "later_rating": later.get(film.item),
                }
            )
        return out

    @staticmethod
    def _whole(value: object, name: str, least: int = 1) -> int:
        if not isinstance(value, int | float) or not least <= value <= 100 or value != int(value):
            raise UserError(f"{name} = {value!r} is no whole number from {least} to 100.")
        return int(value)

    def _allowed(
        self, genre: str | None, year_from: int | None, year_to: int | None
    ) -> np.ndarray | None:
        if not genre and year_from is None and year_to is None:
            return None
        years = self.prepared.years
        allowed = np.ones(self.prepared.n_items, dtype=bool)
        if genre:
            known = self.store.genres()
            if genre not in known:
                raise UserError(f"Unknown genre '{genre}'; choose one of {', '.join(known)}.")
            allowed &= np.array([genre in g for g in self.prepared.genres])
        if year_from is not None:
            allowed &= years >= year_from
        if year_to is not None:
            allowed &= (years <= year_to) & (years > 0)
        return allowed

    def explain(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        method=None,
        stop: Event | None = None,
        summaries: bool = False,
        bridges_of: str | None = None,
    ) -> Iterator[dict]:
        """Why it would suit them, or not: one to three sentences, as they are written.

        The rating is predicted first and sets the tone. Ties between the film and the shown history
        are looked up in the data and stand in the prompt, so that the model words facts. Then each
        sentence is held against the data (`tasks.explanations.verified`): from the first one that
        they do not bear out the text is written once more, and what is not borne out then is left
        out. Where people wrote about items, what they wrote stands in the prompt instead, each word
        is held against it (`tasks.explanations.grounding`), and the second draft is made of words
        that are known. ``summaries`` lets what somebody summed up of texts count as well, the one
        that is to be predicted perhaps among them. ``bridges_of`` names a known user whose bridges,
        at their default moment, carry the collaborative tokens in the place of the person's own.

        Yields
        ------
        ``{"text"}`` so far; the last one is ``{"text", "evidence": [{"item", "title"}],
        "polarity", "rating", "at", "seconds", "first_words_seconds", "draft", "sentences":
        [{"text", "evidence"}], "regenerated", "dropped"}``, with evidence as in
        `inference.explaining.Judged`, and no rating where the checkpoint knows none. The last two
        count sentences of the first draft that were written again, and of the second that were left
        out.
        ``stop`` ends it early.
        """
        began = time.perf_counter()
        self._need("explanation")
        method, target = self._method(method), self._item(item)
        if method == COLLABORATIVE:
            raise UserError("The collaborative signal alone writes no explanations; choose ckf.")
        person = self._someone(user, history, taste, profile, at)
        first = None
        with self._lock:
            bridges = None
            if bridges_of:
                bridges = self.counterfactuals.bridges_of(bridges_of)
            asked = person, target, method, summaries, bridges
            explaining, stars, named = self._explaining(*asked)
        for text in explaining.written(stop):
            first = first or _since(began)
            yield {"text": text}
        text = explaining.text
        yield {
            "text": text,
            "evidence": [own for own in named if own["title"] in text],
            "polarity": "positive" if stars is None else polarity_for(stars),
            "rating": stars,
            "at": person.at,
            "seconds": _since(began),
            "first_words_seconds": first,
            "draft": explaining.draft,
            "sentences": explaining.sentences,
            "regenerated": explaining.regenerated,
            "dropped": explaining.dropped,
        }

    def _explaining(
        self,
        person: Person,
        target: int,
        method: str,
        summaries: bool,
        bridges: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[Explaining, float | None, list[dict]]:
        """An explanation that is not written yet, the rating behind it where the checkpoint knows
        ratings, and things of the history that it may name: ``[{"item", "title"}]``."""
        stars = None
        if "rating" in self.tasks or self._writings is None:
            stars = float(rating.expectation(self._ask(person, [("rating", target, method)])[0]))
        line, evidence = self._said(person, target, stars, summaries)
        asked = self._explanation_branch(person, target, line, method, bridges)
        if evidence is None:
            assert stars is not None  # what is composed of facts begins with a rating
            films = self._facts(person, target, stars)[1]
            named = [{"item": f.item, "title": f.title} for f in films]
            judge = by_facts(self, person, target, stars)
            return Explaining(self, *asked, judge), stars, named
        named = [
            {"item": self.prepared.item_ids[own.item], "title": own.title}
            for own in evidence.together
        ]
        explaining = Explaining(
            self,
            *asked,
            by_texts(self, person, target, evidence),
            closing=evidence.closing(self.prepared.titles[target]),
            words=words_of(self, target, evidence),
        )
        return explaining, stars, named

    def _said(
        self, person: Person, target: int, stars: float | None, summaries: bool = False
    ) -> tuple[str, Evidence | None]:
        """What is known of a pair, as it stands in the prompt, and as evidence where there are
        texts."""
        if self._writings is None:
            assert stars is not None  # what is composed of facts begins with a rating
            return self._facts(person, target, stars)[0], None
        index = None if person.user is None else self.prepared.user_index[person.user]
        evidence = self._writings.gather(
            person.items, target, stars=stars, user=index, before=person.at, summaries=summaries
        )
        return evidence.line, evidence

    def _facts(self, person: Person, target: int, stars: float) -> tuple[str, list[Film]]:
        start = window_start(len(person.items), self.system.config.prompt)
        shown = [
            (self.film(int(i)), float(r))
            for i, r in zip(person.items[start:], person.ratings[start:], strict=True)
        ]
        return fact_line(shown, self.film(target), stars, self.liked_together, person.taste)

    @torch.inference_mode()
    def _explanation_branch(
        self,
        person: Person,
        target: int,
        facts: str,
        method: str,
        bridges: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[Prefix, Branch, torch.Tensor | None]:
        with_tokens = self.system.fusion.uses_tokens and method == self.methods[0]
        text = self._prefix(person, with_tokens=with_tokens)
        prefix = self._prefixes(text.ids)
        branch = self.system.writer.branch(
            "explanation", target, prefix.length, with_tokens=with_tokens, facts=facts
        )
        slots = None
        if with_tokens:
            pairs = self._pairs(person, np.array([target]))
            slots = self.system.slot(self.system.fuse(pairs, bridges=bridges), 0)
        return prefix, branch, slots

    def prompt(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        task: str = "rating",
        at=None,
        method=None,
    ) -> list[dict]:
        """The prompt as the model gets it: ``[{"text", "kind"}]`` with kind ``text``,
        ``user_token``, ``item_token`` or ``answer`` (where the answer is read)."""
        self._need(task)
        method, target = self._method(method), self._item(item)
        if method == COLLABORATIVE:
            raise UserError("The collaborative signal alone answers without a prompt.")
        with_tokens = self.system.fusion.uses_tokens and method == self.methods[0]
        person = self._someone(user, history, taste, profile, at)
        text = self._prefix(person, with_tokens=with_tokens)
        facts = ""
        if task == "explanation":
            stars = None
            if "rating" in self.tasks or self._writings is None:
                with self._lock:
                    answer = self._ask(person, [("rating", target, method)])[0]
                stars = float(rating.expectation(answer))
            facts, _ = self._said(person, target, stars)
        pieces = self.system.writer.pieces(task, target, with_tokens=with_tokens, facts=facts)
        out = [{"text": "", "kind": "text"}]
        for piece, kind in [*self._spelled(text.ids), *pieces, ("", "answer")]:
            if kind == "text" and out[-1]["kind"] == "text":
                out[-1]["text"] += piece
            else:
                out.append({"text": piece, "kind": kind})
        return out

    def _spelled(self, ids: list[int]) -> Iterator[tuple[str, str]]:
        """Prompt ids as (text, kind): words, and the tokens of history items between them."""
        for kind, run in groupby(ids, key=lambda i: "text" if i >= 0 else "item_token"):
            if kind == "text":
                yield self.system.writer.decode(list(run)), kind
            else:
                yield from (("<item>", kind) for _ in run)

    def candidates(
        self, user=None, history=None, taste=None, profile=None, at=None, size: int = CANDIDATES
    ) -> list[str]:
        """What the candidate stage picks from the whole catalogue minus the history.

        Returns
        -------
        Up to ``size`` item ids, best first.

        Raises
        ------
        UserError
            When the data hold likes alone: nothing is learnt there about choosing.
        """
        if self.prepared.feedback == "likes":
            raise UserError(
                f"The data '{self.prepared.dataset}' hold likes alone, without a stage that picks "
                f"candidates; ask about single {self.domain.things} instead."
            )
        size = self._whole(size, "size")
        pool = self._candidates(self._someone(user, history, taste, profile, at), size)
        return [self.prepared.item_ids[i] for i in pool]

    def order(
        self,
        candidates: Sequence[str],
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        by: str = "ranking",
    ) -> list[float]:
        """Scores of given candidates, in their order: logits, comparable within one list.

        ``by`` is the task that scores them, ``"ranking"`` or ``"ctr"``.

        Raises
        ------
        UserError
            When the checkpoint was not trained for that task, or a candidate is unknown.
        """
        if by not in ("ranking", "ctr"):
            raise UserError(f"Candidates cannot be ordered by {by!r}; choose ranking or ctr.")
        self._need(by)
        person = self._someone(user, history, taste, profile, at)
        questions = [(by, self._item(item), self.methods[0]) for item in candidates]
        with self._lock:
            return [float(score) for score in self._ask(person, questions)]

    @cached_property
    def counterfactuals(self) -> Counterfactuals:
        """What the answers would be otherwise: another history, another person's bridge, parts
        switched off."""
        return Counterfactuals(self)

    @cached_property
    def contrasts(self) -> Contrasts:
        """Explanations side by side: another item, or through another person's bridges."""
        return Contrasts(self)

    # Embedding spaces

    @property
    def item_order(self) -> list[str]:
        """Item ids in the order of `item_vectors`."""
        return self.prepared.item_ids

    @property
    def spaces(self) -> tuple[str, ...]:
        """The embedding spaces at hand; those of tokens only where prompts hold such tokens."""
        tokens = ("llm", "untrained") if self.system.fusion.uses_tokens else ()
        return ("collaborative", *tokens, "text")

    @torch.inference_mode()
    def item_vectors(
        self, space: str, user=None, history=None, taste=None, profile=None, at=None
    ) -> np.ndarray:
        """The catalogue in one embedding space: float32 (I, dim).

        ``collaborative`` is E_V, ``text`` MiniLM over title, year and genres; ``llm`` are the item
        tokens after this person's bridge, or after an average newcomer's when nobody is given, and
        ``untrained`` the same tokens before training.
        """
        self._space(space)
        if space == "collaborative":
            return self.system.knowledge.item_table
        if space == "text":
            return self._text_vectors
        person = self._anyone(user, history, taste, profile, at)
        pairs = self._pairs(person, np.arange(self.prepared.n_items))
        return self._fusion_of(space)(pairs).item_tokens.float().cpu().numpy()

    def _space(self, space: str) -> None:
        if space not in self.spaces:
            raise UserError(f"Unknown space '{space}'; choose one of {', '.join(self.spaces)}.")

    def _fusion_of(self, space: str) -> FusionMethod:
        return self._untrained if space == "untrained" else self.system.fusion

    @cached_property
    def _untrained(self) -> FusionMethod:
        return self.system.untrained_fusion()

    def _anyone(self, user, history, taste, profile, at) -> Person:
        if user in (None, "") and not history and not taste and not profile:
            nothing = np.array([], np.int64)
            return Person(nothing, nothing.astype(np.float32), "", "", None, None)
        return self._someone(user, history, taste, profile, at)

    @torch.inference_mode()
    def person_vector(
        self, space: str, user=None, history=None, taste=None, profile=None, at=None
    ) -> np.ndarray | None:
        """The person in one space, float32 (dim,): e_u, or their user token; None in text space."""
        self._space(space)
        if space == "text":
            return None
        return self._person_vector(space, self._anyone(user, history, taste, profile, at))

    def _person_vector(self, space: str, person: Person) -> np.ndarray:
        pairs = self._pairs(person, np.array([0]))
        vectors = pairs.users
        if space != "collaborative":
            vectors = self._fusion_of(space)(pairs).user_tokens
        return vectors[0].float().cpu().numpy()

    @torch.inference_mode()
    def user_vectors(
        self, space: str, progress: Callable[[int], None] | None = None
    ) -> np.ndarray | None:
        """All users of the data at their default moments, in the data's order, in one space:
        float32 (U, dim); None in text space. ``progress`` is called with the users done so far."""
        self._space(space)
        if space == "text":
            return None
        data, vectors = self.prepared, []
        moments = self.store.users()["at"].to_numpy()
        for number, (user, at) in enumerate(zip(data.user_ids, moments, strict=True)):
            rows = data.history.rows_of(number)
            rows = rows[data.timestamp[rows] < at]
            items, ratings = data.item[rows].astype(np.int64), data.rating[rows]
            person = Person(items, ratings, "", "", user, int(at))
            vectors.append(self._person_vector(space, person))
            if progress is not None:
                progress(number + 1)
        return np.stack(vectors)

    @cached_property
    def _text_encoder(self):
        return text_encoder(str(self.system.engine.device))

    @cached_property
    def _text_vectors(self) -> np.ndarray:
        return item_text_vectors(self.prepared, str(self.system.engine.device))

    def _taste_similarity(self, taste: str) -> np.ndarray:
        """How close each film's text is to a taste, in standard deviations over the catalogue."""
        similarity = self._text_vectors @ self._text_encoder.encode(
            taste, normalize_embeddings=True
        )
        return ((similarity - similarity.mean()) / similarity.std()).astype(np.float32)

    # Many at once, for evaluation

    def score_rows(
        self,
        rows: np.ndarray,
        k: int | None = None,
        tasks: Sequence[str] = ("rating", "ctr"),
        method: str | None = None,
        progress: Callable[[int], None] | None = None,
        ablation: Ablation = COMPLETE,
    ) -> dict[str, np.ndarray]:
        """Probabilities for interactions of the data; see `ckf_demo.model.predict.score_rows`."""
        method = self._method(method)
        if method == NO_TOKENS:
            ablation = replace(ablation, tokens=False, prior=False)
        with self._lock:
            return score_rows(
                self.system,
                rows,
                k=k,
                tasks=tasks,
                prior_only=method == COLLABORATIVE,
                progress=progress,
                ablation=ablation,
            )

    def rank_users(
        self,
        users: Indices,
        at: Indices,
        k_candidates: int = CANDIDATES,
        method: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[np.ndarray]:
        """Candidates of known users (by index) at given moments, best first: item indices."""
        method = self._method(method)
        out = []
        for user, when in zip(users, at, strict=True):
            person = self._someone(self.prepared.user_ids[user], at=int(when))
            with self._lock:
                pool = self._candidates(person, k_candidates)
                out.append(self._order(person, pool, method)[0])
            if progress is not None:
                progress(1)
        return out


def _stars_answer(log_probabilities: torch.Tensor) -> dict:
    probabilities = log_probabilities.exp().tolist()
    return {
        "rating": float(rating.expectation(log_probabilities)),
        "distribution": {str(i + 1): p for i, p in enumerate(probabilities)},
    }


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)


def _line(name: str, text: object, longest: int) -> str:
    """A text of a visitor's as one line of printable characters; nothing of it opens another line.

    Raises
    ------
    UserError
        When it is no text, or too long.
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise UserError(f"A {name} of {text!r} is no text; give words.")
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) > longest:
        raise UserError(f"The {name} has {len(plain):,} characters; say it in at most {longest:,}.")
    return plain


def _records(frame) -> list[dict]:
    """Rows of a frame as plain Python values, None where something is missing."""
    records = []
    for row in frame.to_dict("records"):
        record: dict[str, Any] = {}
        for key, value in row.items():
            if isinstance(value, list | tuple | np.ndarray):
                record[key] = [str(v) for v in value]
            elif value is None or value != value or str(value) == "<NA>":
                record[key] = None
            else:
                record[key] = value.item() if hasattr(value, "item") else value
        records.append(record)
    return records
