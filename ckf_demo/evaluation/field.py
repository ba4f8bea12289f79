"""The whole field on one part of the data: every baseline, and language models from their results.

    python -m ckf_demo.evaluation.field --dataset collm-ml-1m --split valid \\
        --results checkpoints/collm-ml-1m/results.json \\
        --json docs/methods/measured/field-collm-ml-1m.json

fits every baseline that suits the data, anew, and measures it on all rows and ranking queries of
the part. The language models' rows come from what ``ckf evaluate`` stored about the same part, so
that nothing is asked again; several files may be named. ``seconds`` are those of one baseline's
fit, with the search of its settings, on the processor.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from ckf_demo.collaborative.registry import KNOWLEDGE
from ckf_demo.data.prepared import Prepared
from ckf_demo.errors import UserError
from ckf_demo.evaluation import bootstrap, report
from ckf_demo.evaluation.baselines import BASELINES
from ckf_demo.evaluation.baselines.base import Baseline, Material
from ckf_demo.evaluation.baselines.boosting import Boosting
from ckf_demo.evaluation.protocol import Cases, ranked, user_groups
from ckf_demo.evaluation.results import Results
from ckf_demo.evaluation.run import CANDIDATES, SPLITS, checkpoint_named
from ckf_demo.paths import prepared_path, replacing
from ckf_demo.queries import Query, ranking_queries
from ckf_demo.system import COLLABORATIVE

ANALYSIS = "field"
GROUPS = ("all", "accept", "cold")
"""Everybody; the half that nothing was chosen on; people without training rows. See
`ckf_demo.evaluation.protocol.user_groups`."""

REFERENCE = Boosting.name
"""What every baseline is held against, paired over users."""


def measure(
    dataset: str,
    split: str,
    results: Sequence[Path] = (),
    json_path: Path | None = None,
    names: Sequence[str] = (),
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Measure all baselines of a data set, or those named, and write them to ``json_path``.

    Returns
    -------
    dict with ``rows`` of the form that `Results` gives, and for each baseline under ``fitted`` its
    ``seconds`` and the ``settings`` that were chosen.

    Raises
    ------
    UserError
        For an unknown split or baseline, a data set that was not prepared or has no checkpoint,
        whose collaborative tables some baselines stand on, and results of something else.
    """
    if split not in SPLITS:
        raise UserError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    if unknown := [name for name in names if name not in BASELINES]:
        raise UserError(f"Unknown baseline {unknown[0]!r}; choose among {', '.join(BASELINES)}.")
    prepared = Prepared.load(prepared_path(dataset))
    folder = checkpoint_named(dataset)
    knowledge = KNOWLEDGE[prepared.feedback].load(folder / COLLABORATIVE, prepared)
    material = Material(prepared, knowledge)
    cases = Cases(prepared, prepared.rows(split=SPLITS[split]))
    ranks = prepared.feedback == "ratings"
    queries = ranking_queries(prepared, SPLITS[split]) if ranks else []
    known = user_groups(prepared, cases.users, cases.history_lengths, cases.items)
    groups = {name: known[name] for name in GROUPS if name in known}
    measured = Results(bootstrap.user_weights(cases.users, prepared.n_users, resamples, seed))
    found: dict = {"analysis": ANALYSIS, "dataset": dataset, "split": split, "fitted": {}}
    suitable = {
        name: kind
        for name, kind in BASELINES.items()
        if prepared.feedback in kind.feedback and (not names or name in names)
    }
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("baselines", total=len(suitable))
        for name, kind in suitable.items():
            progress.update(bar, description=name)
            began = time.process_time()
            baseline = kind()
            baseline.fit(material)
            found["fitted"][name] = {
                "seconds": round(time.process_time() - began, 1),
                "settings": said(getattr(baseline, "chosen", None)),
            }
            _add(measured, name, baseline, cases, groups, queries)
            progress.advance(bar)
    for name in suitable:
        if name != REFERENCE:
            measured.add_difference(name, REFERENCE)
    found["rows"] = _of_models(results, found, measured.rows) + measured.rows
    if json_path is not None:
        with replacing(Path(json_path)) as temporary:
            temporary.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return found


def said(setting: object) -> str:
    """A chosen setting as ``32, 0.2`` or ``ctr: labels, 2; ranking: 0.8``; empty for None."""
    if setting is None:
        return ""
    if is_dataclass(setting) and not isinstance(setting, type):
        return ", ".join(
            f"{own.name} {said(getattr(setting, own.name))}" for own in fields(setting)
        )
    if isinstance(setting, dict):
        return "; ".join(f"{task}: {said(own)}" for task, own in setting.items())
    if isinstance(setting, tuple):
        return ", ".join(
            f"({said(own)})" if isinstance(own, tuple) or is_dataclass(own) else said(own)
            for own in setting
        )
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def _add(
    measured: Results,
    name: str,
    baseline: Baseline,
    cases: Cases,
    groups: dict[str, np.ndarray],
    queries: list[Query],
) -> None:
    """Add what a fitted baseline answers: ratings, the order of clicks, and rankings."""
    if {"rating", "ctr"} & set(baseline.tasks):
        scores = baseline.score(cases)
        if cases.prepared.feedback == "ratings":
            measured.add_scores(name, cases, groups, scores.rating, None)
        if scores.ctr is not None:
            for group, mask in groups.items():
                measured.add_order(
                    name, group, cases.users[mask], cases.labels[mask], scores.ctr[mask]
                )
    if queries and "ranking" in baseline.tasks:
        lists = [ranked(baseline.rank(q.items, q.ratings), q.seen, CANDIDATES) for q in queries]
        measured.add_rankings(name, queries, {"all": np.ones(len(queries), dtype=bool)}, lists)


def _of_models(paths: Sequence[Path], found: dict, measured: list[dict]) -> list[dict]:
    """Rows of what is no baseline in stored results, each method once.

    Raises
    ------
    UserError
        When a file is missing, damaged, of another data set or part, or of other rows.
    """
    sizes = {(r["task"], r["metric"], r["group"]): r["n"] for r in measured}
    rows: dict[tuple[str, str, str, str], dict] = {}
    for path in map(Path, paths):
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            where = stored["dataset"], stored["split"]
            known = stored["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} holds no results ({error}); name a file that `ckf evaluate --json` wrote."
            ) from error
        if where != (found["dataset"], found["split"]):
            raise UserError(
                f"{path} is of the {where[1]} part of {where[0]}, and not of the {found['split']} "
                f"part of {found['dataset']}; name results of the same."
            )
        for row in known:
            key = row["task"], row["metric"], row["group"]
            name = row["method"]
            if key not in sizes or " - " in name or name in BASELINES:
                continue
            if row["n"] != sizes[key]:
                raise UserError(
                    f"{path} has {row['n']} rows of {name} for {' '.join(key)}, where there are "
                    f"{sizes[key]}; evaluate it without a limit."
                )
            rows.setdefault((name, *key), row)
    return list(rows.values())


def main(
    dataset: Annotated[str, typer.Option(help="A prepared data set.")],
    split: Annotated[str, typer.Option(help="valid or test.")] = "valid",
    results: Annotated[
        list[Path] | None, typer.Option(help="Stored results of language models; repeatable.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A baseline by name; repeatable. All without any.")
    ] = None,
) -> None:
    """Every baseline and stored results of language models under one table."""
    try:
        found = measure(dataset, split, results or (), json_path, only or ())
    except UserError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    report.show(found)


if __name__ == "__main__":
    typer.run(main)
