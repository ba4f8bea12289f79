"""`evaluate`: measure a checkpoint and every baseline on the same rows with the same histories."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.backbone.loading import dense_precision, prepare_backbone
from ckf_demo.baselines import BASELINES
from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.baselines.calibration import calibration_of
from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.sources import source, source_of
from ckf_demo.data.splits import TEST, VALID
from ckf_demo.evaluation import report
from ckf_demo.evaluation import sampled_negatives as choices
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
from ckf_demo.model.system import read_manifest
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, replacing, store_path, write_json
from ckf_demo.tasks.registry import TASKS

SPLITS = {"valid": VALID, "test": TEST}
CANDIDATES = 100
"""Items that the candidate stage hands to the re-ranker."""

ALONE = "alone"
VARIANTS = {
    ALONE: "{}'s language model alone",
    "no-tokens": "{} without tokens",
    "collaborative": "{}'s collaborative prior",
}
"""Methods of a recommender beside its own, and their names in the results.

`ALONE` is the answer with collaborative tokens before it is pooled with the prior; it comes from
the same pass.
"""

IN_SHORT = ("no-tokens",)
"""Measured on rating and CTR with whole histories only, since the language model takes long."""

TEXT_ONLY = "text-only"
WORST = 50
"""How many rows of each task are listed as the most wrong ones."""


@dataclass(frozen=True)
class Scope:
    """What is measured: the same for every method.

    ``cases`` are the target rows with whole histories, ``groups`` their named groups. ``truncated``
    are the rows of a sample with the history cut to k, by group name. ``queries`` are the ranking
    queries with whole histories, ``query_groups`` their groups.
    """

    cases: EvalInstances
    groups: dict[str, np.ndarray]
    truncated: dict[str, EvalInstances]
    queries: list[Query]
    query_groups: dict[str, np.ndarray]
    truncated_queries: dict[str, list[Query]]

    @classmethod
    def choose(
        cls,
        prepared: Prepared,
        split: int,
        limit: int | None,
        sample: int,
        seed: int,
        *,
        ranks: bool,
    ) -> "Scope":
        """The rows of a part (at most about ``limit``) and ``sample`` of them for cut histories.

        With a ``sample`` of 0 no history is cut; without ``ranks`` there are no ranking queries.
        """
        rows = sample_by_user(prepared, prepared.rows(split=split), limit, seed)
        cases = EvalInstances(prepared, rows)
        sampled = sample_by_user(prepared, rows, sample, seed) if sample else rows[:0]
        cuts = TRUNCATIONS if sample else ()
        queries = {k: ranking_queries(prepared, split, k) if ranks else [] for k in TRUNCATIONS}
        kept = slice(None)
        if limit is not None:
            kept = slice(max(1, limit // 10))
        whole = queries[None][kept]
        lengths = np.array([len(q.items) for q in whole], dtype=int)
        return cls(
            cases=cases,
            groups=user_groups(prepared, cases.users, cases.history_lengths, cases.items),
            truncated={truncation_name(k): EvalInstances(prepared, sampled, k) for k in cuts},
            queries=whole,
            query_groups=user_groups(
                prepared, np.array([q.user for q in whole], dtype=int), lengths
            ),
            truncated_queries={truncation_name(k): queries[k][kept] for k in cuts if k is not None},
        )


def evaluate(
    checkpoint: Path | str,
    data_dir: Path | str | None = None,
    split: str = "test",
    json_path: Path | str | None = None,
    predictions_path: Path | str | None = None,
    limit: int | None = None,
    *,
    single_task: Sequence[Path | str] = (),
    sample: int = 2000,
    explanations: int = 150,
    without_tokens: bool = True,
    tasks: Sequence[str] = tuple(TASKS),
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Measure a checkpoint, its text-only and single-task relatives, and all baselines.

    Answers of the language model are kept in the user's cache, so that a second run (or one after
    an interruption) goes on where the first one stopped.

    Parameters
    ----------
    checkpoint
        Folder of the checkpoint. A folder of the same name with ``-text`` at its end, if there is
        one, is measured as ``text-only``.
    data_dir
        Folder with the raw data that the checkpoint was trained on; where the data come with
        their split, it may hold a test part that was not known before.
    split
        ``"valid"`` or ``"test"``.
    json_path, predictions_path
        Where the results and the scored rows are written, if anywhere.
    limit
        For a quick look: about so many rows (a seeded sample of every user's), and a tenth as many
        ranking queries and explanations.
    single_task
        Other checkpoints for the same data: of one task, measured as ``CKF-S <task>``, other
        methods or ablations, measured by what their names have beyond the checkpoint's.
    sample
        Rows that the language model is asked about again with histories cut to k = 0, 1, 3, 10;
        baselines are measured on the very same rows. 0 for none.
    explanations
        (User, item) pairs that are explained; 0 for none.
    without_tokens
        Whether the language model is asked once more without its collaborative tokens.
    tasks
        What is measured, as far as the checkpoint answers it. Results of other tasks that
        ``json_path`` already holds are kept, for a checkpoint of which one task's adapter alone
        was trained anew.

    Returns
    -------
    dict ``{"dataset", "split", "checkpoint", "rows": [{"method", "task", "metric", "group",
    "value", "low", "high", "n"}], "errors": [{"task", "user", "item", "label", "score",
    "prior"}]}``; groups are those of `protocol.user_groups` and ``k=…`` for histories cut to the
    last k interactions, errors are those of `Predictions.worst`.

    Raises
    ------
    UserError
        For an unknown split, or a checkpoint or data that are missing or do not fit each other.
    """
    if split not in SPLITS:
        raise UserError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise UserError(f"Unknown task {unknown[0]!r}; choose among {', '.join(TASKS)}.")
    if json_path is not None:
        # before minutes are spent
        _earlier(Path(json_path))
    checkpoint = Path(checkpoint)
    held = dense_precision()
    if data_dir is not None:
        manifest = read_manifest(checkpoint)
        _import(Path(data_dir), manifest["dataset"])
        prepare_backbone(manifest["backbone"])
    recommender = Recommender.load(checkpoint, quantization=held)
    prepared = recommender.prepared
    tasks = [task for task in tasks if task in recommender.tasks]
    if prepared.positive_only:
        return _of_choices(
            recommender,
            checkpoint,
            split,
            json_path,
            predictions_path,
            limit,
            single_task,
            resamples,
            seed,
        )
    scope = Scope.choose(prepared, SPLITS[split], limit, sample, seed, ranks="ranking" in tasks)
    weights = bootstrap.user_weights(scope.cases.users, prepared.n_users, resamples, seed)
    results, predictions = Results(weights), Predictions(scope.cases)

    console = Console(stderr=True)
    names = method_names(recommender)
    if not without_tokens:
        names.pop("no-tokens", None)
    own, *variants = names.values()
    alone = names.get(ALONE, own)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        material = TrainingData(prepared, recommender.system.knowledge)
        measure_baselines(material, scope, results, predictions, progress, tasks)
        measure = partial(
            measure_model,
            scope=scope,
            results=results,
            predictions=predictions,
            progress=progress,
            asked_for=tasks,
        )
        measure(recommender, checkpoint, names=names)
        if "explanation" not in tasks or prepared.texts:
            # texts that people wrote are measured by `ckf_demo.lab.reference_explanations`
            explanations = 0
        size = explanations if limit is None else min(explanations, max(1, limit // 10))
        explained = choose_rows(scope.cases, size, seed)
        explain(own, recommender, checkpoint, explained, results, progress)
        relatives = []
        text = checkpoint.with_name(f"{checkpoint.name}-text")
        if text.is_dir():
            relative, relatives = Recommender.load(text, quantization=held), [TEXT_ONLY]
            names = {relative.methods[0]: TEXT_ONLY}
            measure(relative, text, names=names)
        for folder in map(Path, single_task):
            relative = Recommender.load(folder, quantization=held)
            relatives.append(_relative_name(recommender, relative))
            names = {relative.methods[0]: relatives[-1]}
            measure(relative, folder, names=names)
            explain(relatives[-1], relative, folder, explained, results, progress)
    for other in [*relatives, *variants, *BASELINES]:
        results.add_difference(own, other)
    # what the tokens bring to the words, without any prior, and beside methods that have none
    for other in relatives if alone != own else ():
        if other == TEXT_ONLY or other in METHODS:
            results.add_difference(alone, other)

    found = {
        "dataset": prepared.dataset,
        "split": split,
        "checkpoint": checkpoint.as_posix(),
        "rows": results.rows,
        "errors": predictions.worst(own, VARIANTS["collaborative"].format(own)),
    }
    _take_others(found, {} if json_path is None else _earlier(Path(json_path)), tasks)
    write_json(json_path, found)
    if predictions_path is not None:
        with replacing(Path(predictions_path)) as temporary:
            predictions.frame().to_parquet(temporary, index=False)
    report.show(found)
    return found


def _of_choices(
    recommender: Recommender,
    checkpoint: Path,
    split: str,
    json_path: Path | str | None,
    predictions_path: Path | str | None,
    limit: int | None,
    single_task: Sequence[Path | str],
    resamples: int,
    seed: int,
) -> dict:
    """`evaluate` where nobody says no; see `ckf_demo.evaluation.sampled_negatives`.

    Raises
    ------
    UserError
        For another checkpoint that does not answer clicks, or of other data.
    """
    singles = {}
    for folder in map(Path, single_task):
        relative = Recommender.load(folder, quantization=dense_precision())
        same = relative.prepared.dataset == recommender.prepared.dataset
        if not same or "ctr" not in relative.tasks:
            raise UserError(
                f"{folder} answers no clicks of {recommender.prepared.dataset}; name a checkpoint "
                "that does, or measure its texts with ckf_demo.lab.reference_explanations."
            )
        singles[_relative_name(recommender, relative)] = relative
    with Progress(console=Console(stderr=True)) as progress:
        results, frame = choices.measure(
            recommender,
            checkpoint,
            SPLITS[split],
            progress,
            singles=singles,
            limit=limit,
            candidates=CANDIDATES,
            resamples=resamples,
            seed=seed,
        )
    found = {
        "dataset": recommender.prepared.dataset,
        "split": split,
        "checkpoint": checkpoint.as_posix(),
        "rows": results.rows,
        "errors": [],
    }
    write_json(json_path, found)
    if predictions_path is not None:
        with replacing(Path(predictions_path)) as temporary:
            frame.to_parquet(temporary, index=False)
    report.show(found)
    return found


def _earlier(path: Path) -> dict:
    """The results at ``path``, empty without any; UserError when they are damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if isinstance(found, dict):
            return found
        reason = "it holds no object"
    except ValueError as error:
        reason = str(error)
    raise UserError(
        f"{path}, whose results of other tasks should stay, is damaged ({reason}); remove it or "
        "name another file with --json."
    )


def _take_others(found: dict, old: dict, tasks: Sequence[str]) -> None:
    """Add what earlier results of the same hold of other tasks; all in order of methods."""
    if any(old.get(key) != found[key] for key in ("dataset", "split", "checkpoint")):
        old = {"rows": []}
    rows = [r for r in old["rows"] if r["task"] not in tasks] + found["rows"]
    order = {m: i for i, m in enumerate(dict.fromkeys(r["method"] for r in old["rows"] + rows))}
    found["rows"] = sorted(rows, key=lambda row: order[row["method"]])
    found["errors"] = [e for e in old.get("errors", []) if e["task"] not in tasks] + found["errors"]


class Predictions:
    """Every scored row of every method, in the data's order.

    ``label`` is the true rating in the rating task and liked or not (1 or 0) in the CTR task;
    ``score`` is the predicted rating or the probability.
    """

    def __init__(self, cases: EvalInstances):
        self.cases = cases
        self._parts: list[pd.DataFrame] = []

    def add(self, method: str, rating: np.ndarray | None, probability: np.ndarray | None) -> None:
        """Add the answers of a method to the whole scope; ``None`` for a task it lacks."""
        p, cases = self.cases.prepared, self.cases
        for task, label, score in (
            ("rating", cases.ratings, rating),
            ("ctr", cases.labels, probability),
        ):
            if score is not None:
                self._parts.append(
                    pd.DataFrame(
                        {
                            "user": np.array(p.user_ids, dtype=object)[cases.users],
                            "item": np.array(p.item_ids, dtype=object)[cases.items],
                            "label": np.asarray(label, dtype=np.float32),
                            "method": method,
                            "score": np.asarray(score, dtype=np.float32),
                            "task": task,
                        }
                    )
                )

    def worst(self, method: str, beside: str, size: int = WORST) -> list[dict]:
        """The rows of each task in which a method was most wrong, at most one for each user.

        ``prior`` is the score of ``beside`` for the same row, None where it was not measured.
        """
        if not self._parts:
            return []
        frame = self.frame()
        rows = []
        for task in frame["task"].unique():
            own = frame[(frame["task"] == task) & (frame["method"] == method)]
            other = frame[(frame["task"] == task) & (frame["method"] == beside)]
            own = own.assign(
                wrong=(own["score"] - own["label"]).abs(),
                prior=other["score"].to_numpy() if len(other) else None,
            )
            own = own.sort_values("wrong", ascending=False, kind="stable")
            for row in own.drop_duplicates("user").head(size).itertuples():
                prior = None if row.prior is None else round(float(row.prior), 4)
                rows.append(
                    {
                        "task": task,
                        "user": row.user,
                        "item": row.item,
                        "label": float(row.label),
                        "score": round(float(row.score), 4),
                        "prior": prior,
                    }
                )
        return rows

    def frame(self) -> pd.DataFrame:
        """All parts below each other, ordered by task and method as they were added."""
        return pd.concat(self._parts, ignore_index=True)


def measure_baselines(
    material: TrainingData,
    scope: Scope,
    results: Results,
    predictions: Predictions,
    progress: Progress,
    asked_for: Sequence[str],
    names: Collection[str] | None = None,
) -> None:
    """Fit every baseline and add its results; CTR scores are calibrated on the validation part.

    ``names`` are those of the baselines that are wanted, None for all.
    """
    suitable = {
        name: kind
        for name, kind in BASELINES.items()
        if (names is None or name in names)
        and set(kind.tasks) & set(asked_for)
        and material.prepared.feedback in kind.feedback
    }
    bar = progress.add_task("baselines", total=len(suitable))
    for name, kind in suitable.items():
        progress.update(bar, description=f"baselines: {name}")
        baseline = kind()
        baseline.fit(material)
        if {"rating", "ctr"} & set(baseline.tasks) & set(asked_for):
            calibrate = calibration_of(baseline, material)
            rating, probability = _asked(baseline.score(scope.cases), calibrate, asked_for)
            results.add_scores(name, scope.cases, scope.groups, rating, probability)
            predictions.add(name, rating, probability)
            for group, cases in scope.truncated.items():
                everything = {group: np.ones(len(cases), dtype=bool)}
                answers = _asked(baseline.score(cases), calibrate, asked_for)
                results.add_scores(name, cases, everything, *answers)
        if "ranking" in baseline.tasks and "ranking" in asked_for:
            rankings = _rankings(baseline, scope.queries)
            results.add_rankings(name, scope.queries, scope.query_groups, rankings)
            for group, queries in scope.truncated_queries.items():
                everything = {group: np.ones(len(queries), dtype=bool)}
                results.add_rankings(name, queries, everything, _rankings(baseline, queries))
        progress.console.print(f"measured: {name}")
        progress.advance(bar)


def measure_model(
    recommender: Recommender,
    folder: Path,
    scope: Scope,
    names: dict[str, str],
    results: Results,
    predictions: Predictions,
    progress: Progress,
    asked_for: Sequence[str],
) -> None:
    """Add the results of a checkpoint, in the tasks that are asked for.

    Parameters
    ----------
    names
        Methods of the recommender to measure, and their names in the results.
    """
    known = [task for task in asked_for if task in recommender.tasks]
    tasks = tuple(task for task in ("rating", "ctr") if task in known)
    for method, name in names.items():
        ranks = "ranking" in known and method not in (*IN_SHORT, ALONE)
        asked: dict[str, Any] = {
            "method": recommender.methods[0] if method == ALONE else method,
            "alone": method == ALONE,
        }
        truncated = {} if method in IN_SHORT else scope.truncated
        rows = len(scope.cases) + sum(len(c) for c in truncated.values() if c.k is not None)
        bar = progress.add_task(name, total=rows * bool(tasks) + len(scope.queries) * ranks)
        model = CachedModel(recommender, folder, lambda n, bar=bar: progress.advance(bar, n))
        if tasks:
            rating, probability = model.scores(scope.cases, tasks, **asked)
            results.add_scores(name, scope.cases, scope.groups, rating, probability)
            predictions.add(name, rating, probability)
            for group, cases in truncated.items():
                if cases.k is None:
                    sampled = np.isin(scope.cases.rows, cases.rows)
                    cut = [x if x is None else x[sampled] for x in (rating, probability)]
                else:
                    cut = model.scores(cases, tasks, **asked)
                results.add_scores(name, cases, {group: np.ones(len(cases), dtype=bool)}, *cut)
        if ranks:
            rankings = model.rankings(scope.queries, method, CANDIDATES)
            results.add_rankings(name, scope.queries, scope.query_groups, rankings)
        progress.console.print(f"measured: {name}")


def explain(
    name: str,
    recommender: Recommender,
    folder: Path,
    rows: np.ndarray,
    results: Results,
    progress: Progress,
) -> None:
    """Add what is found in the explanations of a checkpoint that gives any."""
    if len(rows) and "explanation" in recommender.tasks:
        bar = progress.add_task(f"{name}: explanations", total=len(rows))
        model = CachedModel(recommender, folder, lambda n: progress.advance(bar, n))
        measure_explanations(name, model, rows, results)


def _asked(
    scores: Scores, calibrate: Callable, tasks: Sequence[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Rating and calibrated CTR of a baseline, each None when it is not asked for."""
    rating = scores.rating if "rating" in tasks else None
    return rating, calibrate(scores.ctr) if "ctr" in tasks else None


def _rankings(baseline: Baseline, queries: list[Query]) -> list[np.ndarray]:
    return [ranked(baseline.rank(q.items, q.ratings), q.seen, CANDIDATES) for q in queries]


def _relative_name(recommender: Recommender, relative: Recommender) -> str:
    """``CKF-S ctr`` for fewer tasks than the checkpoint's, otherwise what the name adds."""
    same = relative.methods[0] == recommender.methods[0]
    if same and len(relative.tasks) < len(recommender.tasks):
        return f"CKF-S {'+'.join(relative.tasks)}"
    return relative.manifest["name"].removeprefix(f"{recommender.manifest['name']}-")


def method_names(recommender: Recommender) -> dict[str, str]:
    """A checkpoint's methods and what they are called in the results."""
    method, *others = recommender.methods
    own = TEXT_ONLY if method == "text" else method
    others = [ALONE, *others] if "collaborative" in others else others
    return {method: own} | {other: VARIANTS[other].format(own) for other in others}


def checkpoint_for(data_dir: Path | None) -> Path:
    """The project's own checkpoint for the data in a folder, or the default one without any.

    Raises
    ------
    UserError
        When the folder holds no known data, or data that no checkpoint was trained on.
    """
    if data_dir is None:
        return DEFAULT_CHECKPOINT
    return checkpoint_named(source_of(Path(data_dir)).name)


def checkpoint_named(dataset: str) -> Path:
    """The project's own checkpoint for a data set; UserError without one."""
    folder = DEFAULT_CHECKPOINT.with_name(dataset)
    if not folder.is_dir():
        raise UserError(
            f"There is no checkpoint for {source(dataset).label}; train one and name it with "
            "--checkpoint."
        )
    return folder


def _import(folder: Path, dataset: str) -> None:
    """Take the data in a folder, which must be a data set's; its test part may be new.

    Raises
    ------
    UserError
        When the folder holds something else.
    """
    origin = source_of(folder)
    if origin.name != dataset:
        raise UserError(
            f"{folder} holds {origin.label}, and the checkpoint was trained on "
            f"{source(dataset).label}; name a checkpoint for it with --checkpoint."
        )
    if not store_path(dataset).exists():
        prepare(dataset, folder)
        return
    given = Prepared.from_raw(origin.read(folder), dataset)
    if given.hash != Prepared.load(prepared_path(dataset)).hash:
        if not given.given_split:
            raise UserError(
                f"{folder} holds other interactions than were prepared for {origin.label}; train "
                "a checkpoint on it, or leave the data folder out."
            )
        prepare(dataset, folder)
