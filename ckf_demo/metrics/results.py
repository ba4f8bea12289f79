"""Measured values with their intervals, and differences between methods on the same resamples."""

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np

from ckf_demo.data.ranking_queries import Query
from ckf_demo.metrics import bootstrap, metrics
from ckf_demo.metrics.protocol import EvalInstances

RATING_METRICS = ("rmse", "mae")
ORDER_METRICS, PROBABILITY_METRICS = ("auc", "uauc"), ("log_loss", "ece")

Key = tuple[str, str, str, str]
"""Method, task, metric, group."""

Kind = Literal["method", "answer", "component", "baseline", "blend", "seed", "difference"]
"""What a row measures: a method; another of its answers, such as its language model's alone; the
method with one component changed; a baseline; a blend; another seed; or a paired difference."""


class ResultRow(TypedDict):
    """One measured value with its 95 % interval over users; None where it is undefined.

    ``method`` is the name of what was measured. For a difference ``first`` and ``other`` are the
    methods whose values are subtracted, and both are empty otherwise. ``n`` counts rows, users or
    queries.
    """

    method: str
    kind: Kind
    first: str
    other: str
    task: str
    metric: str
    group: str
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass
class Results:
    """Rows in the order in which they are added.

    ``weights`` float (resamples, n_users) are the draws that all rows share. ``kinds`` says what
    the measured methods are; one that is not in it is a method.
    """

    weights: np.ndarray
    kinds: dict[str, Kind] = field(default_factory=dict)
    rows: list[ResultRow] = field(default_factory=list)
    _replicates: dict[Key, np.ndarray] = field(default_factory=dict, repr=False)
    _values: dict[Key, tuple[float, int]] = field(default_factory=dict, repr=False)

    def add(self, key: Key, value: float, n: int, replicates: np.ndarray | None = None) -> None:
        """Add one value over ``n`` rows (or users, queries), with its value in each resample.

        A value that is no mean over users has no ``replicates`` and no interval.
        """
        if replicates is None:
            replicates = np.full(len(self.weights), np.nan)
        self._replicates[key] = replicates
        self._values[key] = value, n
        self._append(key, value, n, replicates, self.kinds.get(key[0], "method"))

    def add_mean(self, key: Key, users: np.ndarray, values: np.ndarray) -> None:
        """Add the mean of a value (n,) of rows with their user's index (n,); nothing without rows.

        For a bool value that is the share of rows in which something holds.
        """
        if len(values):
            values = np.asarray(values, dtype=np.float64)
            replicates = bootstrap.mean(users, values, self.weights)
            self.add(key, float(values.mean()), len(values), replicates)

    def add_difference(self, method: str, other: str) -> None:
        """Add ``method - other`` for every metric and group in which both were measured alike.

        Both must have been measured on equally many rows, which are then the same rows.
        """
        for key, (value, n) in list(self._values.items()):
            same = (other, *key[1:])
            if key[0] == method and same in self._values and self._values[same][1] == n:
                self._append(
                    (f"{method} - {other}", *key[1:]),
                    value - self._values[same][0],
                    n,
                    self._replicates[key] - self._replicates[same],
                    "difference",
                    (method, other),
                )

    def add_scores(
        self,
        method: str,
        cases: EvalInstances,
        groups: dict[str, np.ndarray],
        rating: np.ndarray | None,
        probability: np.ndarray | None,
    ) -> None:
        """Add the rating and CTR metrics of a method in each group of rows, bool (n,), with any.

        ``rating`` (n,) is in stars; it and ``probability`` (n,) are None for a task not answered.
        """
        for group, mask in groups.items():
            if not mask.any():
                continue
            users = cases.users[mask]
            measured = []
            if rating is not None:
                truth, predicted = cases.ratings[mask], rating[mask]
                measured += [("rating", name, truth, predicted) for name in RATING_METRICS]
            if probability is not None:
                labels, p = cases.labels[mask], probability[mask]
                self.add_order(method, group, users, labels, p)
                measured += [("ctr", name, labels, p) for name in PROBABILITY_METRICS]
            for task, name, truth, predicted in measured:
                value = getattr(metrics, name)(truth, predicted)
                replicates = getattr(bootstrap, name)(users, truth, predicted, self.weights)
                self.add((method, task, name, group), value, len(truth), replicates)

    def add_order(
        self, method: str, group: str, users: np.ndarray, labels: np.ndarray, scores: np.ndarray
    ) -> None:
        """Add the CTR metrics for which scores (n,) need be no probabilities."""
        kept, _ = metrics.user_aucs(users, labels, scores)
        values = metrics.auc(labels, scores), metrics.uauc(users, labels, scores)
        for name, value, n in zip(ORDER_METRICS, values, (len(labels), len(kept)), strict=True):
            replicates = getattr(bootstrap, name)(users, labels, scores, self.weights)
            self.add((method, "ctr", name, group), value, n, replicates)

    def add_rankings(
        self,
        method: str,
        queries: list[Query],
        groups: dict[str, np.ndarray],
        rankings: list[np.ndarray],
    ) -> None:
        """Add the ranking metrics of a method in each group.

        ``rankings`` hold the candidates of each query (item indices), best first.
        """
        users = np.array([q.user for q in queries])
        pairs = list(zip(rankings, queries, strict=True))
        ndcg = np.array([metrics.ndcg_at_10(r[:10], q.relevant) for r, q in pairs])
        recall = np.array([metrics.recall_at_10(r[:10], q.relevant) for r, q in pairs])
        lost = np.array([metrics.lost_by_candidates(r, q.relevant) for r, q in pairs], float)
        wanted = np.array([len(q.relevant) for q in queries], float)
        for group, mask in groups.items():
            if not mask.any():
                continue
            u, n = users[mask], int(mask.sum())
            self.add_mean((method, "ranking", "ndcg@10", group), u, ndcg[mask])
            self.add_mean((method, "ranking", "recall@10", group), u, recall[mask])
            self.add(
                (method, "ranking", "candidate_loss", group),
                float(lost[mask].sum() / wanted[mask].sum()),
                n,
                bootstrap.ratio(u, lost[mask], wanted[mask], self.weights),
            )

    def _append(
        self,
        key: Key,
        value: float,
        n: int,
        replicates: np.ndarray,
        kind: Kind,
        pair: tuple[str, str] = ("", ""),
    ) -> None:
        low, high = bootstrap.interval(replicates)
        method, task, metric, group = key
        self.rows.append(
            ResultRow(
                method=method,
                kind=kind,
                first=pair[0],
                other=pair[1],
                task=task,
                metric=metric,
                group=group,
                value=_number(value),
                low=_number(low),
                high=_number(high),
                n=int(n),
            )
        )


def _number(value: float) -> float | None:
    """JSON has no NaN: an undefined value is null."""
    return round(float(value), 6) if np.isfinite(value) else None
