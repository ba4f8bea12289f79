"""Every method at hand for one data set, side by side.

A served checkpoint has siblings beside it: the same data and the same backbone, another way of
fusing collaborative knowledge. A shelf knows them by their manifests, loads each when it is first
asked, over the one backbone in memory, and puts the same questions to all of them; and to the
baselines, which have no language model and are fitted when they are first asked.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

from ckf_demo.backbone.sharing import sharing_of
from ckf_demo.baselines import CandidateStage
from ckf_demo.fusion.registry import METHODS, get_method
from ckf_demo.model.system import System, checked_manifest, read_manifest, task_list
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.fitted_baselines import FittedBaselines
from ckf_demo.serving.hosting import with_gpu_on_demand

ORDERING = ("ranking", "ctr")
"""Tasks whose scores put candidates in order, the better one first."""

SIBLINGS_PREFIXES = 64 * 2**20
"""Bytes of prefixes that each method but the served one keeps."""

DAMAGE = (UserError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a damaged manifest may end in."""


@dataclass(frozen=True)
class TrainedMethod:
    """A method with the checkpoint that answers for it.

    Attributes
    ----------
    name, label, paper, summary
        As registered; ``paper`` is an arXiv number, empty for none.
    tasks
        What it was trained for.
    checkpoint
        Its folder's name.
    parameters
        Trainable parameters; None where the manifest does not say.
    minutes
        Of training; None where the manifest does not say.
    """

    name: str
    label: str
    paper: str
    summary: str
    tasks: tuple[str, ...]
    checkpoint: str
    parameters: int | None
    minutes: float | None

    @property
    def orders_by(self) -> str | None:
        """The task by which it orders candidates; None when it was trained for neither."""
        return _orders_by(self.tasks)


@dataclass(frozen=True)
class FittedBaseline:
    """A method without a language model, fitted where it is asked.

    ``name``, ``summary``, ``needs`` and ``tasks`` are those that it is registered with.
    """

    name: str
    summary: str
    needs: tuple[str, ...]
    tasks: tuple[str, ...]

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name

    @property
    def orders_by(self) -> str | None:
        """The task by which it orders candidates; None when it answers neither."""
        return _orders_by(self.tasks)


def _orders_by(tasks: Sequence[str]) -> str | None:
    return next((task for task in ORDERING if task in tasks), None)


class MethodComparison:
    """The methods at hand for the data of a served recommender.

    Attributes
    ----------
    problems
        What is wrong with checkpoints that were passed over, one sentence each.
    fitted
        The baselines that suit the data.
    """

    def __init__(self, recommender: Recommender):
        self.served = recommender
        self.problems: list[str] = []
        self.fitted = FittedBaselines(recommender)
        self._lock = threading.Lock()
        name = recommender.methods[0]
        self._loaded = {name: recommender}
        self._folders = {name: recommender.checkpoint}
        self._methods = {
            name: _described(name, recommender.tasks, recommender.checkpoint, recommender.manifest)
        }
        self._find()

    def _find(self) -> None:
        """Look through the folders beside the served one, those with short names first."""
        served = self.served.checkpoint.resolve()
        folders = [path.parent for path in served.parent.glob("*/manifest.json")]
        for folder in sorted(folders, key=lambda path: (len(path.name), path.name)):
            if folder == served:
                continue
            # whatever is wrong with a sibling, the others can be asked
            try:
                manifest = read_manifest(folder)
                if not self._belongs(manifest) or manifest["method"] in self._methods:
                    continue
                checked_manifest(folder, self.served.prepared)
                name = manifest["method"]
                found = _described(name, task_list(manifest), folder, manifest)
            except DAMAGE as error:
                said = str(error) if isinstance(error, UserError) else f"its manifest: {error!r}"
                self.problems.append(f"{folder.name} was passed over: {said}")
                continue
            self._methods[name], self._folders[name] = found, folder

    def _belongs(self, manifest: dict) -> bool:
        own = self.served.manifest
        return all(manifest[key] == own[key] for key in ("dataset", "backbone"))

    @property
    def methods(self) -> list[TrainedMethod]:
        """What can be asked, the served one first and the others as they are registered.

        Nothing is loaded for it.
        """
        served, *others = self._methods.values()
        order = list(METHODS)
        return [served, *sorted(others, key=lambda method: order.index(method.name))]

    @property
    def baselines(self) -> list[FittedBaseline]:
        """What can be asked besides, without a language model, as they are registered.

        The candidate stage is none of them: it stands beside every list anyway.
        """
        return [
            FittedBaseline(name, kind.summary, kind.needs, kind.tasks)
            for name, kind in self.fitted.kinds.items()
            if kind is not CandidateStage
        ]

    def get(self, name: str) -> Recommender:
        """The recommender of a method, loaded at the first call.

        It shares the served one's backbone, store and data.

        Raises
        ------
        UserError
            When there is no such method here, or its checkpoint does not fit.
        """
        if name not in self._methods:
            raise self._unknown(name)
        with self._lock:
            if name not in self._loaded:
                loaded = self._load(self._folders[name])
                loaded.forget(SIBLINGS_PREFIXES)
                self._loaded[name] = with_gpu_on_demand(loaded)
            return self._loaded[name]

    def _load(self, folder: Path) -> Recommender:
        served, model = self.served, self.served.system.engine.model
        sharing = sharing_of(model)
        if sharing is None:
            return Recommender.load(folder, device=model.device.type)
        system = System.load(
            folder, served.prepared, quantization=sharing.quantization, device=sharing.device
        )
        return Recommender(system, served.store, read_manifest(folder), folder)

    def _known(self, names: Sequence[str]) -> list[TrainedMethod | FittedBaseline]:
        if not names:
            raise UserError(f"No method is chosen; choose from {', '.join(self._methods)}.")
        known = self._methods | {baseline.name: baseline for baseline in self.baselines}
        for name in names:
            if name not in known:
                raise self._unknown(name)
        return [known[name] for name in dict.fromkeys(names)]

    def _unknown(self, name: str) -> UserError:
        return UserError(
            f"No method '{name}' is at hand for this data; there are {', '.join(self._methods)}, "
            f"and without a language model {', '.join(each.name for each in self.baselines)}."
        )

    def compare_item(
        self,
        methods: Sequence[str] | None = None,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
    ) -> Iterator[dict]:
        """Rating and CTR of one film by several methods.

        ``methods`` are names of ``methods`` and ``baselines``; None for all with a language model.

        Yields
        ------
        ``{"method", "label", "rating", "distribution", "probability", "seconds"}`` as each method
        is done, with None for a task it was not trained for, and None ``seconds`` where it was for
        neither; at the end everybody's average. ``seconds`` leave loading out; what was asked
        lately is remembered.
        """
        person = {"user": user, "history": history, "taste": taste, "profile": profile, "at": at}
        for method in self._known(self._names(methods)):
            row: dict[str, Any] = {
                "method": method.name,
                "label": method.label,
                "rating": None,
                "distribution": None,
                "probability": None,
                "seconds": None,
            }
            if isinstance(method, FittedBaseline):
                yield row | self._opinion(method.name, item, person)
                continue
            recommender = self.get(method.name)
            for task, ask in (("rating", recommender.rate), ("ctr", recommender.click)):
                if task in method.tasks:
                    answer = ask(**person, item=item)
                    seconds = (row["seconds"] or 0.0) + answer["seconds"]
                    row |= {key: value for key, value in answer.items() if key in row}
                    row["seconds"] = round(seconds, 3)
            yield row
        yield {**self.served.everybody(item), "seconds": None}

    def compare_list(
        self,
        methods: Sequence[str] | None = None,
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        k: int = 10,
        candidates: int = 20,
    ) -> Iterator[dict]:
        """The same candidates ordered by several methods, named as in `compare_item`.

        The candidate stage of the served recommender picks them. A method orders them by its
        ranking task or else by CTR.

        Yields
        ------
        ``{"method", "label", "orders_by", "seconds", "items": [{"item", "title", "year", "score",
        "rank", "collaborative_rank"}]}`` as each method is done, its best film first; without items
        where it was trained for neither task. At the end ``{"agreement": [{"methods": (a, b),
        "kendall_tau", "shared", "k"}]}`` for every two that ordered something: Kendall's τ over the
        candidates (None where it is not defined) and how many of the top ``k`` they share.

        Raises
        ------
        UserError
            When a method is unknown, or the data have no candidate stage.
        """
        person = {"user": user, "history": history, "taste": taste, "profile": profile, "at": at}
        chosen = self._known(self._names(methods))
        pool = self.served.candidates(**person, size=max(k, candidates))
        films = {item: self.served.store.item(item) for item in pool}
        scores: dict[str, list[float]] = {}
        for method in chosen:
            row: dict[str, Any] = {
                "method": method.name,
                "label": method.label,
                "orders_by": method.orders_by,
                "seconds": None,
                "items": [],
            }
            if method.orders_by is not None:
                if isinstance(method, FittedBaseline):
                    self.fitted.fit(method.name)
                    began = time.perf_counter()
                    found = self.fitted.scores(method.name, method.orders_by, pool, **person)
                else:
                    recommender = self.get(method.name)
                    began = time.perf_counter()
                    found = recommender.order(pool, **person, by=method.orders_by)
                row["seconds"] = round(time.perf_counter() - began, 3)
                scores[method.name] = found
                row["items"] = [
                    {
                        "item": pool[place],
                        "title": films[pool[place]]["title"],
                        "year": films[pool[place]]["year"],
                        "score": found[place],
                        "rank": rank,
                        "collaborative_rank": place + 1,
                    }
                    for rank, place in enumerate(_best_first(found), start=1)
                ]
            yield row
        yield {
            "agreement": [
                agreement(one, other, scores[one], scores[other], k)
                for one, other in combinations(scores, 2)
            ]
        }

    def _opinion(self, name: str, item, person: dict) -> dict[str, Any]:
        """A baseline's part of a row of `compare_item`."""
        self.fitted.fit(name)
        began = time.perf_counter()
        rating, probability = self.fitted.opinion(name, item, **person)
        if rating is None and probability is None:
            return {}
        seconds = round(time.perf_counter() - began, 3)
        return {"rating": rating, "probability": probability, "seconds": seconds}

    def _names(self, methods: Sequence[str] | None) -> Sequence[str]:
        return list(self._methods) if methods is None else methods


def agreement(
    one: str, other: str, scores: Sequence[float], others: Sequence[float], k: int
) -> dict:
    """How alike two methods order the same candidates.

    ``scores`` and ``others`` (n,) are theirs; the result is as in `MethodComparison.compare_list`.
    """
    tau = float(kendalltau(scores, others).statistic)
    shared = set(_best_first(scores)[:k]) & set(_best_first(others)[:k])
    return {
        "methods": (one, other),
        "kendall_tau": None if tau != tau else tau,
        "shared": len(shared),
        "k": min(k, len(scores)),
    }


def _best_first(scores: Sequence[float]) -> list[int]:
    """Places by score, the earlier one first among equals."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])


def _described(name: str, tasks: Sequence[str], folder: Path, manifest: dict) -> TrainedMethod:
    method, training = get_method(name), manifest.get("training", {})
    return TrainedMethod(
        name=name,
        label=method.label,
        paper=method.paper,
        summary=method.summary,
        tasks=tuple(tasks),
        checkpoint=folder.name,
        parameters=training.get("parameters"),
        minutes=training.get("minutes"),
    )
