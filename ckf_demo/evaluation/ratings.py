"""The protocol for data with ratings: every method on the same rows with the same histories."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.baselines import BASELINES
from ckf_demo.baselines.base import Baseline, TrainingData
from ckf_demo.baselines.calibration import calibration_of
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.evaluation.base import (
    ALONE,
    TEXT_ONLY,
    VARIANTS,
    Measured,
    Predictions,
    Settings,
    kind_of,
    method_names,
    relative_name,
    split_part,
)
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.evaluation.explanation_quality import choose_rows, measure_explanations
from ckf_demo.fusion.registry import METHODS
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import (
    TRUNCATIONS,
    EvalInstances,
    ranked,
    sample_by_user,
    truncation_name,
    user_groups,
)
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender

IN_SHORT = ("no-tokens",)
"""Measured on rating and CTR with whole histories only, since the language model takes long."""


@dataclass(frozen=True)
class Scope:
    """What is measured: the same for every method."""

    cases: EvalInstances
    """The target rows with whole histories."""
    groups: dict[str, np.ndarray]
    """Their named groups."""
    truncated: dict[str, EvalInstances]
    """The rows of a sample with the history cut to k, by group name."""
    queries: list[Query]
    """The ranking queries with whole histories."""
    query_groups: dict[str, np.ndarray]
    truncated_queries: dict[str, list[Query]]

    @classmethod
    def choose(cls, prepared: Prepared, settings: Settings, *, ranks: bool) -> "Scope":
        """The rows of a part, and some of them with cut histories; queries if ``ranks``."""
        split, seed = split_part(settings.split), settings.seed
        rows = sample_by_user(prepared, prepared.rows(split=split), settings.limit, seed)
        cases = EvalInstances(prepared, rows)
        size = settings.sample
        sampled = sample_by_user(prepared, rows, size, seed) if size else rows[:0]
        cuts = TRUNCATIONS if size else ()
        queries = {k: ranking_queries(prepared, split, k) if ranks else [] for k in TRUNCATIONS}
        kept = slice(settings.share(len(queries[None])))
        whole = queries[None][kept]
        users = np.array([q.user for q in whole], dtype=int)
        lengths = np.array([len(q.items) for q in whole], dtype=int)
        return cls(
            cases=cases,
            groups=user_groups(prepared, cases.users, cases.history_lengths, cases.items),
            truncated={truncation_name(k): EvalInstances(prepared, sampled, k) for k in cuts},
            queries=whole,
            query_groups=user_groups(prepared, users, lengths),
            truncated_queries={truncation_name(k): queries[k][kept] for k in cuts if k is not None},
        )

    def cuts(self) -> Iterator[tuple[EvalInstances, dict[str, np.ndarray]]]:
        """Rows with cut histories, and the one group of them all."""
        for group, cases in self.truncated.items():
            yield cases, {group: np.ones(len(cases), dtype=bool)}


@dataclass(frozen=True)
class RatingMeasurement:
    """Adds what methods answer in ``tasks`` to ``results``, and to ``predictions`` if there are."""

    scope: Scope
    results: Results
    progress: Progress
    tasks: Sequence[str]
    predictions: Predictions | None = None

    def baselines(self, training: TrainingData, names: Collection[str] | None = None) -> None:
        """Fit baselines of these names, all for None, and add their results.

        CTR scores are calibrated on the validation part.
        """
        suitable = {
            name: kind
            for name, kind in BASELINES.items()
            if (names is None or name in names)
            and set(kind.tasks) & set(self.tasks)
            and training.prepared.feedback in kind.feedback
        }
        bar = self.progress.add_task("baselines", total=len(suitable))
        for name, kind in suitable.items():
            self.progress.update(bar, description=f"baselines: {name}")
            baseline = kind()
            baseline.fit(training)
            self.results.kinds[name] = "baseline"
            if {"rating", "ctr"} & set(baseline.tasks) & set(self.tasks):
                self._add_baseline(name, baseline, training)
            if "ranking" in baseline.tasks and "ranking" in self.tasks:
                measured = [(self.scope.queries, self.scope.query_groups)]
                for group, queries in self.scope.truncated_queries.items():
                    measured.append((queries, {group: np.ones(len(queries), dtype=bool)}))
                for queries, groups in measured:
                    scores = [baseline.rank(q.items, q.ratings) for q in queries]
                    pairs = zip(scores, queries, strict=True)
                    lists = [ranked(score, q.seen, CANDIDATES) for score, q in pairs]
                    self.results.add_rankings(name, queries, groups, lists)
            self.progress.console.print(f"measured: {name}")
            self.progress.advance(bar)

    def model(self, recommender: Recommender, folder: Path, names: dict[str, str]) -> None:
        """Add a checkpoint's results; ``names`` are its methods to measure, and their names."""
        answered = [task for task in self.tasks if task in recommender.tasks]
        tasks = tuple(task for task in ("rating", "ctr") if task in answered)
        scope, results = self.scope, self.results
        for method, name in names.items():
            ranks = "ranking" in answered and method not in (*IN_SHORT, ALONE)
            lm_only = method == ALONE
            asked = recommender.methods[0] if lm_only else method
            # the language model takes long, and no page shows its own answers to cut histories
            asks = method in (*IN_SHORT, ALONE) or name == TEXT_ONLY
            cuts = [] if asks else list(scope.cuts())
            rows = len(scope.cases) + sum(len(c) for c, _ in cuts if c.k is not None)
            total = rows * bool(tasks) + len(scope.queries) * ranks
            bar = self.progress.add_task(name, total=total)
            model = CachedModel(
                recommender, folder, lambda n, bar=bar: self.progress.advance(bar, n)
            )
            if tasks:
                rating, click = model.scores(scope.cases, tasks, asked, alone=lm_only)
                self._add(name, scope.cases, rating, click)
                for cases, everything in cuts:
                    if cases.k is None:
                        sampled = np.isin(scope.cases.rows, cases.rows)
                        cut = [x if x is None else x[sampled] for x in (rating, click)]
                    else:
                        cut = model.scores(cases, tasks, asked, alone=lm_only)
                    results.add_scores(name, cases, everything, *cut)
            if ranks:
                rankings = model.rankings(scope.queries, method, CANDIDATES)
                results.add_rankings(name, scope.queries, scope.query_groups, rankings)
            self.progress.console.print(f"measured: {name}")

    def explanations(
        self, name: str, recommender: Recommender, folder: Path, rows: np.ndarray
    ) -> None:
        """Measure the explanations of a checkpoint that gives any."""
        if len(rows) and "explanation" in recommender.tasks:
            bar = self.progress.add_task(f"{name}: explanations", total=len(rows))
            model = CachedModel(recommender, folder, lambda n: self.progress.advance(bar, n))
            measure_explanations(name, model, rows, self.results)

    def _add(
        self, name: str, cases: EvalInstances, rating: np.ndarray | None, click: np.ndarray | None
    ) -> None:
        """Add answers to all rows with whole histories."""
        self.results.add_scores(name, cases, self.scope.groups, rating, click)
        if self.predictions is not None:
            self.predictions.add(name, "rating", cases.ratings, rating)
            self.predictions.add(name, "ctr", cases.labels, click)

    def _add_baseline(self, name: str, baseline: Baseline, training: TrainingData) -> None:
        calibrate = calibration_of(baseline, training)

        def answers(cases: EvalInstances) -> tuple[np.ndarray | None, np.ndarray | None]:
            scores = baseline.score(cases)
            rating = scores.rating if "rating" in self.tasks else None
            return rating, calibrate(scores.ctr) if "ctr" in self.tasks else None

        self._add(name, self.scope.cases, *answers(self.scope.cases))
        for cases, everything in self.scope.cuts():
            self.results.add_scores(name, cases, everything, *answers(cases))


def measure(
    recommender: Recommender, folder: Path, settings: Settings, progress: Progress
) -> Measured:
    """Measure a checkpoint, its text-only and single-task relatives, and all baselines.

    A folder of the checkpoint's name with ``-text`` at its end, if there is one, is measured as
    ``text-only``.
    """
    prepared = recommender.prepared
    tasks = [task for task in settings.tasks if task in recommender.tasks]
    scope = Scope.choose(prepared, settings, ranks="ranking" in tasks)
    cases, seed = scope.cases, settings.seed
    results = Results(
        bootstrap.user_weights(cases.users, prepared.n_users, settings.resamples, seed)
    )
    predictions = Predictions(prepared, cases.users, cases.items)
    measurement = RatingMeasurement(scope, results, progress, tasks, predictions)

    names = method_names(recommender)
    if not settings.without_tokens:
        names.pop("no-tokens", None)
    own, *variants = names.values()
    results.kinds.update(dict.fromkeys(variants, "answer"))
    measurement.baselines(TrainingData(prepared, recommender.system.knowledge), settings.baselines)
    measurement.model(recommender, folder, names)
    # `ckf_demo.lab.reference_explanations` measures explanations of data whose users wrote texts
    explains = "explanation" in tasks and not prepared.texts
    explained = choose_rows(cases, settings.share(settings.explanations) if explains else 0, seed)
    measurement.explanations(own, recommender, folder, explained)
    relatives = []
    text = folder.with_name(f"{folder.name}-text")
    for place in [*([text] if text.is_dir() else []), *map(Path, settings.single_task)]:
        relative = Recommender.load(place, quantization=dense_precision())
        name = TEXT_ONLY if place == text else relative_name(recommender, relative)
        relatives.append(name)
        results.kinds[name] = kind_of(name)
        measurement.model(relative, place, {relative.methods[0]: name})
        if place != text:
            measurement.explanations(name, relative, place, explained)
    for other in [*relatives, *variants, *BASELINES]:
        results.add_difference(own, other)
    # what the tokens bring to the words, without any prior, and beside methods that have none
    if ALONE in names:
        for other in relatives:
            if other == TEXT_ONLY or other in METHODS:
                results.add_difference(names[ALONE], other)
    errors = predictions.worst(own, VARIANTS["collaborative"].format(own))
    return Measured(results, predictions, tasks, errors)
