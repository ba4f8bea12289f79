"""The one object that the app, the command line and notebooks talk to.

A map that is generated for each person, the bridge, carries collaborative vectors into prompt
tokens of a language model. The same prompt prefix then answers four questions: how many stars,
would they like it, what should they watch, and why.

    recommender = Recommender.load()
    recommender.rate(user="405", item="50")
    recommender.rank(history=[{"item": "50", "rating": 5}], k=10)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Unpack

import numpy as np

from ckf_demo.backbone.prefixes import LIMIT
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.inference import explaining
from ckf_demo.inference.contrasts import Contrasts
from ckf_demo.inference.counterfactuals import Counterfactuals
from ckf_demo.inference.people import Described, Person, whole
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD, NO_TOKENS, Predictor
from ckf_demo.inference.vectors import EmbeddingSpaces
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import COMPLETE, Ablation
from ckf_demo.runtime.array_types import Indices
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.domains import Domain
from ckf_demo.tasks.explanations.facts import Film

DEFAULT_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "ml-100k"


class Recommender:
    """Answers about any user, known or described, with a trained checkpoint.

    Every question takes the person as the keywords of `Described`: ``user``, or ``history``,
    ``taste`` and ``profile``, and the moment ``at``. ``item`` is an item's id. ``method`` is one
    of `methods`, by default the trained one. ``counterfactuals`` are answers under changes, and
    ``contrasts`` explanations side by side. ``spaces`` are names of embedding spaces (see
    `EmbeddingSpaces`), and ``item_order`` the item ids in the order of `item_vectors`.
    """

    def __init__(self, predictor: Predictor, checkpoint: Path):
        self.predictor, self.checkpoint = predictor, checkpoint
        self.system, self.store = predictor.system, predictor.store
        self.manifest, self.prepared = predictor.manifest, predictor.prepared
        self.tasks, self.methods, self.labels = predictor.tasks, predictor.methods, predictor.labels
        self.counterfactuals, self.contrasts = Counterfactuals(predictor), Contrasts(self)
        self._vectors = EmbeddingSpaces(predictor)
        self.spaces, self.item_order = self._vectors.names, self.prepared.item_ids

    @classmethod
    def load(
        cls,
        checkpoint: str | Path = DEFAULT_CHECKPOINT,
        *,
        device: str | None = None,
        quantization: str | None = None,
    ) -> "Recommender":
        """Load a checkpoint with its data and backbone.

        ``device`` is ``"cuda"``, ``"cpu"``, or None for the best one available; ``quantization``
        one of those of `load_backbone`, or None for the fastest 4-bit format on this machine, which
        is measured once. UserError when the data was not prepared, or the checkpoint is missing,
        damaged or does not belong to the data or the backbone.
        """
        folder = Path(checkpoint)
        return cls(Predictor.load(folder, device, quantization), folder)

    def forget(self, prefixes: int = LIMIT) -> None:
        """Drop the cached prefixes and answers; from now on keep ``prefixes`` bytes of prefixes."""
        self.predictor.forget(prefixes)

    def take_over(self) -> bool:
        """Serve what the checkpoint's folder holds by now, without loading anything else.

        Returns whether it holds other weights than those that are served. Answers to come are by
        the new ones. UserError as `System.take_over`.
        """
        if read_manifest(self.checkpoint) == self.manifest:
            return False
        with self.predictor.lock:
            self.manifest = self.predictor.manifest = self.system.take_over(self.checkpoint)
            self.predictor.forget()
        return True

    @property
    def by_prior(self) -> frozenset[str]:
        """Tasks whose answers are the collaborative prior's alone."""
        return frozenset(task for task in self.tasks if self.system.asks_prior_alone(task))

    def warm_up(self) -> None:
        """Prepare the explanation decoder, which takes seconds on two cores."""
        if "explanation" in self.tasks:
            with self.predictor.lock:
                self.system.engine.decoder("explanation")

    # People and items

    def person(self, **person: Unpack[Described]) -> Person:
        """The described person, with the whole history that is known of them."""
        return self.predictor.people.read_person(**person)

    def place(self, item: str | int) -> int:
        """The index of the item with an id, as rows of `item_vectors` are numbered."""
        return self.predictor.people.item(item)

    def default_at(self, user: str) -> int:
        """The default moment of questions about a known user: seconds since 1970."""
        return self.store.default_at(str(user))

    def search_items(self, query: str, limit: int = 10) -> list[dict]:
        """Search items by title, people or tags, misspelt ones too, the best match first.

        Returns
        -------
        ``[{"item", "title", "year", "genres", "directors", "tags"}]``
        """
        return self.predictor.people.search_items(query, limit)

    def read_taste(self, taste: str, item: str | int | None = None) -> dict:
        """Say how a taste sentence is understood, and what of it holds for an item.

        Returns
        -------
        ``{"understood": [{"words", "kind", "name", "wanted", "spelt", "items", "holds"}],
        "meaning", "not_understood", "messages"}``: names with how many items have them, words that
        are compared by meaning, words without any, and what the catalogue cannot fulfil. ``holds``
        says whether the item has what is named; None without an item, and for a likeness.
        """
        return self.predictor.read_taste(taste, item)

    def match_ratings(self, ratings: bytes | str | list, scale: int | None = None) -> dict:
        """Find the items of somebody's own ratings: a file's bytes, a text, or a list of objects.

        See `ckf_demo.data.rating_rows.read_ratings` for what is read, and
        `ckf_demo.retrieval.own_ratings.as_answer` for what is returned.
        """
        return self.predictor.people.own_ratings(ratings, scale)

    def history(self, user: str, at: int | None = None) -> list[dict]:
        """The ratings of a known user before a moment, oldest first."""
        return self.predictor.people.history(str(user), at)

    @property
    def domain(self) -> Domain:
        """The words for the data set's items and people."""
        return self.predictor.people.domain

    def film(self, index: int) -> Film:
        """The title, year and genres of the item with an index."""
        return self.predictor.film(index)

    def liked_together(self, first: str, second: str) -> bool:
        """Whether many people like both items, by the collaborative part of the data."""
        return self.predictor.liked_together(first, second)

    # The four tasks

    def rate(self, item=None, method: str | None = None, **person: Unpack[Described]) -> dict:
        """Predict stars: ``{"rating", "distribution", "at", "seconds"}``, expected and by star."""
        answer = self._answer("rating", item, method, person)
        return {key: answer[key] for key in ("rating", "distribution", "at", "seconds")}

    def click(self, item=None, method: str | None = None, **person: Unpack[Described]) -> dict:
        """Predict a like (four stars or more): ``{"probability", "at", "seconds"}``."""
        answer = self._answer("ctr", item, method, person)
        return {key: answer[key] for key in ("probability", "at", "seconds")}

    def _answer(self, task: str, item: object, method: str | None, described: Described) -> dict:
        began = time.perf_counter()
        self.predictor.need(task)
        pair = self.place(item), self.predictor.method(method)
        person = self.person(**described)
        (row,) = self.predictor.predictions(person, [pair], [task])
        return {**row, "at": person.at, "seconds": explaining.since(began)}

    def rank(
        self,
        k: int = 10,
        method: str | None = None,
        genre: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        candidates: int = CANDIDATES,
        **person: Unpack[Described],
    ) -> list[dict]:
        """Recommend ``k`` items.

        The collaborative model picks ``candidates`` from the whole catalogue minus the history,
        within the filters; the language model orders them.

        Returns
        -------
        ``[{"rank", "item", "title", "year", "genres", "directors", "tags", "score",
        "collaborative_rank", "later_rating"}]``: the score is a logit comparable within one list,
        and the later rating is the one that a known user gave at or after ``at``, or None.
        """
        predictor = self.predictor
        predictor.need("ranking")
        method, k = predictor.method(method), whole(k, "k")
        described = self.person(**person)
        allowed = predictor.filtered(genre, year_from, year_to)
        return predictor.rank(described, k, method, max(k, candidates), allowed)

    def explain(
        self,
        item=None,
        method: str | None = None,
        stop: Event | None = None,
        summaries: bool = False,
        bridges_of: str | None = None,
        again: int = 0,
        **person: Unpack[Described],
    ) -> Iterator[dict]:
        """Explain in a few sentences, as they are written, why the item suits them or not.

        First the effect of each shown rating, of the words, the profile and the item's general
        level is computed. The text cites the greatest of them in the direction of the verdict, with
        their amounts, and says what the item is. The language model words what it is given of this;
        each sentence is checked against the data (`tasks.explanations.verified`), and a composed
        one takes its place where two drafts fail. Where people wrote about items, the prompt has
        their texts instead, each word is checked against them (`tasks.explanations.grounding`), and
        the second draft uses only their words. With ``summaries`` these count as well; one may
        summarise the text to be predicted. ``again`` is how often the same was explained before:
        another number gives other words for the same causes. ``bridges_of`` is a known user whose
        bridges, at their default moment, replace the person's.

        Yields
        ------
        ``{"text"}`` so far; the last one is ``{"text", "evidence": [{"item", "title"}],
        "causes": [{"kind", "item", "title", "stars", "effect", "cited"}], "polarity", "rating",
        "at", "seconds", "first_words_seconds", "draft", "sentences": [{"text", "evidence"}],
        "regenerated", "dropped"}``, with evidence as in `inference.explaining.Judged`, and no
        rating where the checkpoint predicts none. The last two count rewritten sentences of the
        first draft and dropped ones of the second. ``stop`` ends it early.
        """
        self.predictor.need("explanation")
        name, target = self.predictor.method(method), self.place(item)
        yield from explaining.explain(
            self.predictor,
            self.person(**person),
            target,
            name,
            stop=stop,
            summaries=summaries,
            again=whole(again, "again", least=0),
            bridges=self.counterfactuals.bridges_of(bridges_of) if bridges_of else None,
        )

    # Several items or methods at once

    def compare(self, item=None, **person: Unpack[Described]) -> list[dict]:
        """Predict rating and CTR by every method in one pass, and add the average of all users.

        Returns
        -------
        ``[{"method", "label", "rating", "distribution", "probability"}]``; the average has no
        distribution, and no values for an item without ratings in the training part.
        """
        target = self.place(item)
        pairs = [(target, method) for method in self.methods]
        rows = self.predictor.predictions(self.person(**person), pairs)
        return [*rows, self.everybody(item)]

    def everybody(self, item) -> dict:
        """The average of all users in the training part, as a row of `compare`."""
        return self.predictor.average(self.place(item))

    def predict(
        self,
        items: Sequence[str],
        first: int | None = None,
        methods: Sequence[str] | None = None,
        **person: Unpack[Described],
    ) -> list[dict]:
        """Predict rating and CTR of several items by several methods, in one pass.

        A person without any description is allowed; of their ratings only the oldest ``first`` are
        used, all for None. ``methods`` are all of this checkpoint for None.

        Returns
        -------
        ``[{"item", "method", "rating", "probability"}]``, item by item; None for a task that the
        checkpoint was not trained for.
        """
        described = self.predictor.people.anyone(**person).first(first)
        names = [self.predictor.method(m) for m in (self.methods if methods is None else methods)]
        pairs = [(item, name) for item in items for name in names]
        rows = self.predictor.predictions(described, [(self.place(i), name) for i, name in pairs])
        keys = ("method", "rating", "probability")
        return [
            {"item": str(item), **{key: row[key] for key in keys}}
            for (item, _), row in zip(pairs, rows, strict=True)
        ]

    def bridge_distance(
        self, first: int | None = None, **person: Unpack[Described]
    ) -> float | None:
        """The distance between the personal bridge and that of a person without a history.

        See `FusionMethod.bridge_distance`; None for methods without personal bridges. ``first`` is
        as in `predict`.
        """
        described = self.predictor.people.anyone(**person).first(first)
        return self.counterfactuals.bridge_distance(described)

    def prompt(
        self,
        item=None,
        task: str = "rating",
        method: str | None = None,
        **person: Unpack[Described],
    ) -> list[dict]:
        """The prompt that the model gets: ``[{"text", "kind"}]`` with kind ``text``,
        ``user_token``, ``item_token`` or ``answer`` (where the answer is read)."""
        self.predictor.need(task)
        name, target = self.predictor.method(method), self.place(item)
        return explaining.prompt_pieces(self.predictor, self.person(**person), target, task, name)

    def candidates(self, size: int = CANDIDATES, **person: Unpack[Described]) -> list[str]:
        """The candidate stage's items from the whole catalogue minus the history.

        Up to ``size`` item ids, best first; UserError for data that contain only likes.
        """
        self.predictor.need_candidates()
        pool = self.predictor.candidates(self.person(**person), whole(size, "size"))
        return [self.prepared.item_ids[i] for i in pool]

    def score_candidates(
        self, candidates: Sequence[str], by: str = "ranking", **person: Unpack[Described]
    ) -> list[float]:
        """Score given candidates, in their order: logits, comparable within one list.

        ``by`` is the task that scores them, ``"ranking"`` or ``"ctr"``; UserError when the
        checkpoint was not trained for it, or a candidate is unknown.
        """
        if by not in ("ranking", "ctr"):
            raise UserError(f"Candidates cannot be ordered by {by!r}; choose ranking or ctr.")
        self.predictor.need(by)
        described = self.person(**person)
        questions = [(by, self.place(item), self.methods[0]) for item in candidates]
        return [float(score) for score in self.predictor.ask(described, questions)]

    # Embedding spaces

    def item_vectors(self, space: str, **person: Unpack[Described]) -> np.ndarray:
        """The catalogue in one embedding space: float32 (I, dim).

        Tokens of the prompt are those of the person, or of an average newcomer.
        """
        return self._vectors.items(space, self.predictor.people.anyone(**person))

    def person_vector(self, space: str, **person: Unpack[Described]) -> np.ndarray | None:
        """The person in one space, float32 (dim,): e_u, or their user token; None in text space."""
        return self._vectors.person(space, self.predictor.people.anyone(**person))

    def user_vectors(
        self, space: str, progress: Callable[[int], None] | None = None
    ) -> np.ndarray | None:
        """All users of the data at their default moments, float32 (U, dim); None in text space.

        ``progress`` is called with the number of users done so far.
        """
        return self._vectors.users(space, progress)

    # Many at once, for evaluation

    def score_rows(
        self,
        rows: np.ndarray,
        k: int | None = None,
        tasks: Sequence[str] = ("rating", "ctr"),
        method: str | None = None,
        progress: Callable[[int], None] | None = None,
        ablation: Ablation = COMPLETE,
        alone: bool = True,
    ) -> dict[str, np.ndarray]:
        """Probabilities for interactions of the data; see `ckf_demo.model.predict.score_rows`."""
        method = self.predictor.method(method)
        if method == NO_TOKENS:
            ablation = replace(ablation, tokens=False, prior=False)
        with self.predictor.lock:
            return score_rows(
                self.system,
                rows,
                k=k,
                tasks=tasks,
                prior_only=method == COLLABORATIVE_METHOD,
                progress=progress,
                ablation=ablation,
                alone=alone,
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
        self.predictor.need("ranking")
        method = self.predictor.method(method)
        rankings = []
        for user, when in zip(users, at, strict=True):
            person = self.person(user=self.prepared.user_ids[user], at=int(when))
            pool = self.predictor.candidates(person, k_candidates)
            rankings.append(self.predictor.rerank(person, pool, method)[0])
            if progress is not None:
                progress(1)
        return rankings
