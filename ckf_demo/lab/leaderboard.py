"""Every baseline, language model and blend on one part of the data, in one table.

    python -m ckf_demo.lab.leaderboard --dataset collm-ml-1m --split valid \\
        --answers ckf_demo/lab/results/answers/collm-ml-1m.safetensors \\
        --json checkpoints/collm-ml-1m/field.json

The command fits every baseline that suits the data and asks every ``--checkpoint``, on all rows and
ranking queries of the part. ``--answers`` names a file that keeps the answers: methods that are in
it are not asked again, and new ones are added. Remove the file to measure everything again.
``seconds`` are processor seconds of one baseline's fit, with the search of its settings.
"""

import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import Progress

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.baselines import BASELINES
from ckf_demo.baselines.base import Baseline, TrainingData
from ckf_demo.baselines.boosting import Boosting
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.collaborative.registry import knowledge_of
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import TEST, choosing_half
from ckf_demo.evaluation.base import (
    ALONE,
    TEXT_ONLY,
    kind_of,
    method_names,
    progress_bars,
    split_part,
)
from ckf_demo.evaluation.cached import CachedModel, checkpoint_hash
from ckf_demo.evaluation.run import checkpoint_named
from ckf_demo.fusion.ckf import CKF
from ckf_demo.fusion.registry import METHODS
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD as PRIOR
from ckf_demo.lab import blends, report
from ckf_demo.lab.answers import Answers
from ckf_demo.lab.commands import Json, Split, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import EvalInstances, ranked, user_groups
from ckf_demo.metrics.results import Kind, Results
from ckf_demo.model.system import COLLABORATIVE_FILE
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "field"
ACCEPT = "accept"
GROUPS = ("all", "cold")
"""All users, and users without training rows (`ckf_demo.metrics.protocol.user_groups`). `ACCEPT` is
the half of the users on which no blend was fitted."""

OWN, REFERENCE = CKF.name, Boosting.name
"""The method that is compared with all others, paired over users; and the one that all others are
compared with where the first has not answered."""


def measure(
    dataset: str,
    split: str,
    checkpoints: Sequence[Path] = (),
    answers_path: Path | None = None,
    json_path: Path | None = None,
    names: Sequence[str] | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Ask the methods that have not answered yet, and put all answers and blends in one table.

    Parameters
    ----------
    checkpoints
        Folders of language models.
    answers_path
        A file of answers, to begin with and to add to.
    names
        The baselines that are wanted, None for all that suit the data.

    Returns
    -------
    dict with ``rows`` of the form that `Results` gives, and for each baseline under ``fitted`` its
    ``seconds`` and the ``settings`` that were chosen.

    Raises
    ------
    UserError
        For an unknown split or baseline, a data set that was not prepared or has no checkpoint,
        whose collaborative tables some baselines need, a checkpoint for something else, and
        answers about something else.
    """
    part = split_part(split)
    if unknown := [name for name in names or () if name not in BASELINES]:
        raise UserError(f"Unknown baseline {unknown[0]!r}; choose among {', '.join(BASELINES)}.")
    prepared = Prepared.load(prepared_path(dataset))
    cases = EvalInstances(prepared, prepared.rows(split=part))
    ranks = prepared.feedback == "ratings"
    queries = ranking_queries(prepared, part) if ranks else []
    answers = _earlier(answers_path, prepared, split)
    suitable = {
        name: kind
        for name, kind in BASELINES.items()
        if prepared.feedback in kind.feedback and (names is None or name in names)
    }
    missing = {name: kind for name, kind in suitable.items() if name not in answers.notes}
    with progress_bars() as progress:
        if missing:
            folder = checkpoint_named(dataset)
            knowledge = knowledge_of(prepared).load(folder / COLLABORATIVE_FILE, prepared)
            training = TrainingData(prepared, knowledge)
            bar = progress.add_task("baselines", total=len(missing))
            for name, kind in missing.items():
                progress.update(bar, description=name)
                _ask_baseline(answers, name, kind, training, cases, queries)
                _keep(answers, answers_path)
                progress.advance(bar)
        for folder in map(Path, checkpoints):
            _ask_checkpoint(answers, folder, dataset, cases, queries, progress)
            _keep(answers, answers_path)
    document = {
        "analysis": ANALYSIS,
        "dataset": dataset,
        "split": split,
        "checkpoint": f"checkpoints/{dataset}",
        "fitted": {name: answers.notes[name] for name in answers.methods if name in BASELINES},
        "rows": tabulated(answers, cases, queries, resamples, seed),
    }
    write_json(json_path, document)
    return document


def _earlier(path: Path | None, prepared: Prepared, split: str) -> Answers:
    """The answers at ``path``, none where there is no file; UserError for those of other data."""
    data = prepared.hash if split_part(split) == TEST else prepared.training_hash
    if path is None or not Path(path).exists():
        return Answers(prepared.dataset, split, data)
    answers = Answers.load(Path(path))
    part = answers.dataset, answers.split
    if part != (prepared.dataset, split):
        raise UserError(
            f"{path} is of the {part[1]} part of {part[0]}, and not of the {split} part of "
            f"{prepared.dataset}; name another file."
        )
    if answers.data != data:
        raise UserError(
            f"{path} is about other interactions than the prepared {prepared.dataset}; remove it "
            "or name another file."
        )
    return answers


def _keep(answers: Answers, path: Path | None) -> None:
    if path is not None:
        answers.save(path)


def _ask_baseline(
    answers: Answers,
    name: str,
    kind: type[Baseline],
    training: TrainingData,
    cases: EvalInstances,
    queries: list[Query],
) -> None:
    """Fit a baseline and keep its answers: ratings, scores of clicks, and rankings."""
    began = time.process_time()
    baseline = kind()
    baseline.fit(training)
    note = {
        "seconds": round(time.process_time() - began, 1),
        "settings": in_words(getattr(baseline, "chosen", None)),
    }
    rating = click = lists = None
    if {"rating", "ctr"} & set(baseline.tasks):
        scores = baseline.score(cases)
        rating = scores.rating if cases.prepared.feedback == "ratings" else None
        click = scores.ctr
    if queries and "ranking" in baseline.tasks:
        lists = [ranked(baseline.rank(q.items, q.ratings), q.seen, CANDIDATES) for q in queries]
    answers.add(name, note, rating, click, lists)


def _ask_checkpoint(
    answers: Answers,
    folder: Path,
    dataset: str,
    cases: EvalInstances,
    queries: list[Query],
    progress: Progress,
) -> None:
    """Keep a checkpoint's answers, unless the same files have answered before.

    With a prior these are the pooled answer, the language model's own and the prior's.
    """
    note = {"checkpoint": checkpoint_hash(folder)}
    if any(earlier == note for earlier in answers.notes.values()):
        return
    recommender = Recommender.load(folder, quantization=dense_precision())
    if recommender.prepared.dataset != dataset:
        raise UserError(
            f"{folder} was trained on {recommender.prepared.dataset}, and not on {dataset}; name "
            "a checkpoint for that."
        )
    method_name = recommender.methods[0]
    # another seed of a method answers beside it
    suffix = recommender.manifest["name"].removeprefix(dataset).removeprefix("-")
    seed = f", {suffix}" if suffix.startswith("seed-") else ""
    tasks = tuple(task for task in ("rating", "ctr") if task in recommender.tasks)
    named = method_names(recommender)
    for method, name in (
        (m, f"{n}{seed}") for m, n in named.items() if m in (method_name, ALONE, PRIOR)
    ):
        lists = queries if "ranking" in recommender.tasks and method != ALONE else []
        total = len(cases) * bool(tasks) + len(lists)
        bar = progress.add_task(name, total=total)
        model = CachedModel(recommender, folder, lambda n, bar=bar: progress.advance(bar, n))
        rating = click = orders = None
        asked = method_name if method == ALONE else method
        if tasks:
            rating, click = model.scores(cases, tasks, asked, alone=method == ALONE)
        if lists:
            orders = model.rankings(lists, method, CANDIDATES)
        answers.add(name, note, rating, click, orders)


def tabulated(
    answers: Answers, cases: EvalInstances, queries: list[Query], resamples: int, seed: int
) -> list[dict]:
    """The rows of the table: answers of all methods, blends, and differences."""
    prepared = cases.prepared
    all_groups = user_groups(prepared, cases.users, cases.history_lengths, cases.items)
    half = choosing_half(prepared.user_ids)
    chosen = prepared.choosing_users if prepared.given_split else half
    accept = ~chosen[cases.users]
    groups = {name: all_groups[name] for name in GROUPS if name in all_groups} | {ACCEPT: accept}
    measured = Results(bootstrap.user_weights(cases.users, prepared.n_users, resamples, seed))
    everybody = {"all": np.ones(len(queries), dtype=bool)}
    for name in answers.methods:
        measured.kinds[name] = _kind(name)
        _add(measured, name, answers.ratings.get(name), answers.clicks.get(name), cases, groups)
        if name in answers.lists:
            measured.add_rankings(name, queries, everybody, answers.ranked(name))
    mixed = blends.members(answers)
    for name, members in mixed.items():
        measured.kinds[name] = "blend"
        rating, click = _blended(answers, members, cases, ~accept)
        _add(measured, name, rating, click, cases, {ACCEPT: accept})
    for name in (*answers.methods, *mixed):
        pair = (OWN, name) if OWN in answers.notes else (name, REFERENCE)
        if pair[0] != pair[1]:
            measured.add_difference(*pair)
    for name in answers.methods:
        if name in (*METHODS, TEXT_ONLY) and name != OWN:
            measured.add_difference(blends.ALONE, name)
    for seed in (name.removeprefix(OWN) for name in answers.methods if name.startswith(f"{OWN},")):
        for other in (REFERENCE, f"{blends.PRIOR}{seed}"):
            measured.add_difference(f"{OWN}{seed}", other)
    best = _best(measured, answers)
    for name, members in mixed.items():
        for other in (REFERENCE, *best) if name == blends.ALL else members:
            measured.add_difference(name, other)
    return measured.rows


def _add(
    measured: Results,
    name: str,
    rating: np.ndarray | None,
    click: np.ndarray | None,
    cases: EvalInstances,
    groups: dict[str, np.ndarray],
) -> None:
    measured.add_scores(name, cases, groups, rating, None)
    for group, mask in groups.items():
        if click is not None and mask.any():
            users, labels = cases.users[mask], cases.labels[mask]
            measured.add_order(name, group, users, labels, click[mask])


def _kind(name: str) -> Kind:
    if ", seed-" in name:
        return "seed"
    return "answer" if name in (blends.ALONE, blends.PRIOR) else kind_of(name)


def _blended(
    answers: Answers, members: Sequence[str], cases: EvalInstances, fit: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Ratings and clicks of a blend, each of the members that give them."""
    rating = click = None
    both = [name for name in members if name in answers.ratings]
    if len(both) > 1:
        rating = blends.blend_ratings(answers, both, cases.ratings, fit)
    both = [name for name in members if name in answers.clicks]
    if len(both) > 1:
        click = blends.blend_clicks(answers, both, cases.labels, cases.users, fit)
    return rating, click


def _best(measured: Results, answers: Answers) -> list[str]:
    """The single method with the greatest AUC over all, unless it is the reference."""
    values = {
        row["method"]: row["value"]
        for row in measured.rows
        if (row["task"], row["metric"], row["group"]) == ("ctr", "auc", "all")
        and row["method"] in answers.clicks
    }
    best = max(values, key=values.__getitem__, default=REFERENCE)
    return [] if best == REFERENCE else [best]


def in_words(setting: object) -> str:
    """A chosen setting as ``32, 0.2`` or ``ctr: labels, 2; ranking: 0.8``; empty for None."""
    if setting is None:
        return ""
    if is_dataclass(setting) and not isinstance(setting, type):
        return ", ".join(
            f"{own.name} {in_words(getattr(setting, own.name))}" for own in fields(setting)
        )
    if isinstance(setting, dict):
        return "; ".join(f"{task}: {in_words(own)}" for task, own in setting.items())
    if isinstance(setting, tuple):
        return ", ".join(
            f"({in_words(own)})" if isinstance(own, tuple) or is_dataclass(own) else in_words(own)
            for own in setting
        )
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


@one_line_errors
def main(
    dataset: Annotated[str, typer.Option(help="A prepared data set.")],
    split: Split = "valid",
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A trained language model; repeatable.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers to begin with and to add to.")
    ] = None,
    json_path: Json = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A baseline by name; repeatable. All without any.")
    ] = None,
) -> None:
    """Every baseline, language models and blends of them under one table."""
    report.show(measure(dataset, split, checkpoint or (), answers, json_path, only))


if __name__ == "__main__":
    typer.run(main)
