"""Compares all methods for one data set on the same questions.

A served checkpoint may have siblings in the same folder: checkpoints for the same data and backbone
with another fusion method. `MethodComparison` finds them by their manifests and loads each at its
first use, over the one backbone in memory. It also asks the baselines, which have no language model
and are fitted at their first use.
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
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.manifest import checked_manifest, read_manifest, task_list
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.fitted_baselines import FittedBaselines
from ckf_demo.serving.hosting import with_gpu_on_demand

ORDERING = ("ranking", "ctr")
"""Tasks whose scores order candidates, the preferred task first."""

SIBLINGS_PREFIXES = 64 * 2**20
"""Bytes of prefixes that each method keeps; the served one has its own limit."""

DAMAGE = (UserError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""The errors that reading a damaged manifest may raise."""


@dataclass(frozen=True)
class _Method:
    """What is registered of a method, and the tasks that it was trained or is fitted for."""

    name: str
    label: str
    tasks: tuple[str, ...]
    summary: str

    @property
    def orders_by(self) -> str | None:
        """The task by which it orders candidates; None if it has neither."""
        return next((task for task in ORDERING if task in self.tasks), None)


@dataclass(frozen=True)
class TrainedMethod(_Method):
    """A fusion method with its checkpoint.

    ``paper`` is an arXiv number, or empty, and ``checkpoint`` the name of the folder. The number of
    trainable parameters and the minutes of training are None if the manifest lacks them.
    """

    paper: str
    checkpoint: str
    parameters: int | None
    minutes: float | None


@dataclass(frozen=True)
class FittedBaseline(_Method):
    """A method without a language model, fitted at its first use; ``needs`` are as registered."""

    needs: tuple[str, ...]


class MethodComparison:
    """The methods that are available for the data of a served recommender.

    ``problems`` say why checkpoints were passed over, one sentence each; ``fitted`` are the
    baselines that suit the data.
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
        """Search the folders beside the served one, in the order of the length of their names."""
        served = self.served.checkpoint.resolve()
        folders = [path.parent for path in served.parent.glob("*/manifest.json")]
        for folder in sorted(folders, key=lambda path: (len(path.name), path.name)):
            if folder == served:
                continue
            # a damaged sibling must not keep the others away
            try:
                manifest = read_manifest(folder)
                if not self._belongs(manifest) or manifest["method"] in self._methods:
                    continue
                checked_manifest(folder, self.served.prepared)
                name = manifest["method"]
                method = _described(name, task_list(manifest), folder, manifest)
            except DAMAGE as error:
                reason = str(error) if isinstance(error, UserError) else f"its manifest: {error!r}"
                self.problems.append(f"{folder.name} was passed over: {reason}")
                continue
            self._methods[name], self._folders[name] = method, folder

    def _belongs(self, manifest: dict) -> bool:
        served = self.served.manifest
        return all(manifest[key] == served[key] for key in ("dataset", "backbone"))

    @property
    def methods(self) -> list[TrainedMethod]:
        """The available fusion methods, the served one first, the others in registered order."""
        served, *others = self._methods.values()
        order = list(METHODS)
        return [served, *sorted(others, key=lambda method: order.index(method.name))]

    @property
    def baselines(self) -> list[FittedBaseline]:
        """The available baselines, in registered order.

        The candidate stage is left out, since every list shows its order anyway.
        """
        return [
            FittedBaseline(name, name, kind.tasks, kind.summary, kind.needs)
            for name, kind in self.fitted.kinds.items()
            if kind is not CandidateStage
        ]

    def get(self, name: str) -> Recommender:
        """The recommender of a method, loaded at the first call over the served one's backbone.

        UserError when the method is not available, or its checkpoint does not fit.
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
        return Recommender(Predictor(system, served.store, read_manifest(folder)), folder)

    def _named(self, names: Sequence[str] | None) -> list[TrainedMethod | FittedBaseline]:
        """The methods with these names; all ``methods`` for None."""
        names = list(self._methods) if names is None else names
        if not names:
            raise UserError(f"No method is chosen; choose from {', '.join(self._methods)}.")
        available = self._methods | {baseline.name: baseline for baseline in self.baselines}
        for name in names:
            if name not in available:
                raise self._unknown(name)
        return [available[name] for name in dict.fromkeys(names)]

    def _unknown(self, name: str) -> UserError:
        return UserError(
            f"No method '{name}' is at hand for this data; there are {', '.join(self._methods)}, "
            f"and without a language model {', '.join(each.name for each in self.baselines)}."
        )

    def compare_item(
        self, methods: Sequence[str] | None = None, item=None, **person
    ) -> Iterator[dict]:
        """Rating and CTR of one item by several methods.

        ``methods`` holds names of ``methods`` and ``baselines``; None means all ``methods``.
        ``person`` is as `Recommender` takes it.

        Yields
        ------
        ``{"method", "label", "rating", "distribution", "probability", "seconds"}`` as each method
        is done, in the end for the average of all users. Tasks that a method was not trained for
        are None; ``seconds``, which exclude loading, are None if it was trained for neither.
        """
        for method in self._named(methods):
            row: dict[str, Any] = {"method": method.name, "label": method.label}
            row |= dict.fromkeys(("rating", "distribution", "probability", "seconds"))
            if isinstance(method, FittedBaseline):
                self.fitted.fit(method.name)
                began = time.perf_counter()
                rating, probability = self.fitted.opinion(method.name, item, **person)
                if (rating, probability) != (None, None):
                    row |= {"rating": rating, "probability": probability}
                    row["seconds"] = round(time.perf_counter() - began, 3)
                yield row
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
        self, methods: Sequence[str] | None = None, k: int = 10, candidates: int = 20, **person
    ) -> Iterator[dict]:
        """The same candidates ordered by several methods, with arguments as in `compare_item`.

        The candidates come from the candidate stage of the served recommender. A method orders them
        by its ranking task, or else by CTR.

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
        compared = self._named(methods)
        pool = self.served.candidates(**person, size=max(k, candidates))
        films = [self.served.store.item(item) for item in pool]
        scores: dict[str, list[float]] = {}
        for method in compared:
            name, by = method.name, method.orders_by
            row: dict[str, Any] = {"method": name, "label": method.label, "orders_by": by}
            row |= {"seconds": None, "items": []}
            if by is not None:
                if isinstance(method, FittedBaseline):
                    self.fitted.fit(name)
                    began = time.perf_counter()
                    scores[name] = self.fitted.scores(name, by, pool, **person)
                else:
                    recommender = self.get(name)
                    began = time.perf_counter()
                    scores[name] = recommender.score_candidates(pool, **person, by=by)
                row["seconds"] = round(time.perf_counter() - began, 3)
                row["items"] = [
                    {
                        "item": pool[i],
                        "title": films[i]["title"],
                        "year": films[i]["year"],
                        "score": scores[name][i],
                        "rank": rank,
                        "collaborative_rank": i + 1,
                    }
                    for rank, i in enumerate(_best_first(scores[name]), start=1)
                ]
            yield row
        pairs = combinations(scores, 2)
        yield {"agreement": [agreement(a, b, scores[a], scores[b], k) for a, b in pairs]}


def agreement(
    one: str, other: str, scores: Sequence[float], others: Sequence[float], k: int
) -> dict:
    """Agreement of two orders by scores (n,), as in `MethodComparison.compare_list`."""
    tau = float(kendalltau(scores, others).statistic)
    shared = set(_best_first(scores)[:k]) & set(_best_first(others)[:k])
    return {
        "methods": (one, other),
        "kendall_tau": None if tau != tau else tau,
        "shared": len(shared),
        "k": min(k, len(scores)),
    }


def _best_first(scores: Sequence[float]) -> list[int]:
    """Positions by falling score; equal scores keep their order."""
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
