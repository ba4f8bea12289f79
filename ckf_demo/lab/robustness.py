"""One component changed at a time, every variant trained on the same small budget.

    python -m ckf_demo.lab.robustness --json checkpoints/collm-ml-1m/robustness.json \\
        assets/configs/ablations/collm-ml-1m.toml
    python -m ckf_demo.lab.robustness --base assets/configs/ml-100k.toml --steps 200 \\
        --json checkpoints/ml-100k/robustness.json assets/configs/ablations/ml-100k.toml

``FILE.toml#NAME`` is one variant of a file. The command trains the base configuration and every
variant for equally many sequences, and measures each task on the same validation rows, paired over
users. It compares the language model's own answers, since the pooled prior would hide what differs.
Where a base has several tasks, the pooled answers are a group of their own. On CoLLM's split the
rows are those of the accepting half of the users (`Prepared.choosing_users`); elsewhere they are a
seeded sample, and the few validation sequences that choose weights come from the same part.

Configurations with other data or another window of the history than the base have other rows.
`ckf_demo.lab.data_settings` compares them with simple baselines and writes ``settings.json`` beside
the JSON file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.settings import applied
from ckf_demo.data.splits import VALID
from ckf_demo.evaluation.base import progress_bars
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, one_line_errors
from ckf_demo.lab.data_settings import SETTINGS, is_setting, measure_settings
from ckf_demo.lab.trained import TrainedModel, console, shortened, some, trained
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import EvalInstances, sample_by_user, user_groups
from ckf_demo.metrics.results import Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

POOLED = "pooled"
"""The group of answers that are pooled with the prior."""

ROWS, QUERIES, WORDINGS = 1500, 40, 60
"""How much of a data set without an accepting half is measured: rows, ranking queries and
explanations."""


@dataclass(frozen=True)
class Scope:
    """What every variant is measured on.

    ``groups`` are those of ``cases``; ``pooled`` says whether pooled answers are measured too.
    """

    cases: EvalInstances
    groups: dict[str, np.ndarray]
    queries: list[Query]
    wordings: int
    pooled: bool

    @classmethod
    def choose(cls, prepared: Prepared, tasks: tuple[str, ...], rows: int, seed: int) -> "Scope":
        """The accepting users' rows, or about ``rows`` of the validation part."""
        selected = prepared.rows(split=VALID)
        if prepared.given_split:
            selected = selected[~prepared.choosing_users[prepared.user[selected]]]
        else:
            selected = sample_by_user(prepared, selected, rows, seed)
        cases = EvalInstances(prepared, selected)
        groups = user_groups(prepared, cases.users, cases.history_lengths, cases.items)
        ranks = "ranking" in tasks
        return cls(
            cases=cases,
            groups={n: mask for n, mask in groups.items() if n not in ("choose", "accept")},
            queries=some(ranking_queries(prepared, VALID), QUERIES, seed) if ranks else [],
            wordings=WORDINGS if "explanation" in tasks else 0,
            pooled=len(tasks) > 1,
        )


def each_variant(paths: Sequence[Path]) -> list[Path]:
    """``FILE.toml#NAME`` for every variant of files of them; other configurations as they are."""
    each = []
    for path in paths:
        configs = RunConfig.load_all(path)
        whole = "#" in str(path) or len(configs) == 1
        each += [path] if whole else [Path(f"{path}#{config.name}") for config in configs]
    return each


def variant_name(config: RunConfig, base: RunConfig) -> str:
    """What a variant's name has beyond the base's."""
    return config.name.removeprefix(f"{base.name}-")


def measure(
    base_path: Path,
    variants: list[Path],
    steps: int,
    json_path: Path | None,
    rows: int = ROWS,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Train and measure; written to ``json_path`` after every variant.

    Returns
    -------
    dict of the form that `ckf_demo.evaluation.run.evaluate` gives, with ``steps`` and for each
    method under ``trained`` what `trained` knows of it.

    Raises
    ------
    UserError
        When a variant is for other data than the base, or has no task in common with it.
    """
    base = RunConfig.load(base_path)
    configs = [base, *(RunConfig.load(path) for path in variants)]
    for path, config in zip([base_path, *variants], configs, strict=True):
        if config.data != base.data or not set(config.train.tasks) & set(base.train.tasks):
            raise UserError(
                f"{path} must be for {', '.join(base.train.tasks)} on {base.data.dataset}, as "
                f"{base_path} is."
            )
    prepared = applied(Prepared.load(prepared_path(base.data.dataset)), base.data)
    scope = Scope.choose(prepared, base.train.tasks, rows, seed)
    results = Results(bootstrap.user_weights(scope.cases.users, prepared.n_users, resamples, seed))
    base_name = base.fusion.method
    document = {
        "dataset": prepared.dataset,
        "split": "valid",
        "checkpoint": base_path.as_posix(),
        "steps": steps,
        "rows": results.rows,
        "trained": {},
    }
    for number, config in enumerate(configs, 1):
        name = base_name if config is base else variant_name(config, base)
        console.print(f"{number} of {len(configs)}: {name}")
        if config is not base:
            results.kinds[name] = "component"
        folder, document["trained"][name] = trained(shortened(config, steps), prepared)
        add_variant(name, TrainedModel(folder, prepared), base, scope, results)
        if name != base_name:
            results.add_difference(base_name, name)
        write_json(json_path, document)
    return document


def add_variant(
    name: str, model: TrainedModel, base: RunConfig, scope: Scope, results: Results
) -> None:
    """Add the answers of a trained configuration in the tasks that the base has too."""
    known = [task for task in model.system.config.train.tasks if task in base.train.tasks]
    scores = tuple(task for task in ("rating", "ctr") if task in known)
    queries = scope.queries if "ranking" in known else []
    wordings = scope.wordings if "explanation" in known else 0
    everything = {POOLED: scope.groups["all"]}
    with progress_bars() as progress:
        total = len(scope.cases) * bool(scores) + len(queries) + wordings
        bar = progress.add_task(f"measuring {name}", total=total)
        model.advance = lambda n: progress.advance(bar, n)
        if scores:
            own = model.scores(scope.cases, scores, model.method, alone=model.pools)
            results.add_scores(name, scope.cases, scope.groups, *own)
            if scope.pooled:
                model.advance = lambda n: None
                pooled = model.scores(scope.cases, scores, model.method)
                results.add_scores(name, scope.cases, everything, *pooled)
                model.advance = lambda n: progress.advance(bar, n)
        if queries:
            alone, pooled = model.orders(queries)
            mask = np.ones(len(queries), dtype=bool)
            results.add_rankings(name, queries, {"all": mask}, alone)
            results.add_rankings(name, queries, {POOLED: mask}, pooled)
        if wordings:
            users, sequences = model.wordings(base, wordings)
            losses = model.wording_losses(sequences)
            results.add_mean((name, "explanation", "loss", "all"), users, losses)


@one_line_errors
def main(
    variants: Annotated[
        list[Path],
        typer.Argument(help="Files of variants, or FILE#NAME."),
    ],
    base: Annotated[Path, typer.Option()] = Path("assets/configs/collm-ml-1m-aligned.toml"),
    steps: Annotated[int, typer.Option(min=1, help="Sequences per run.")] = 300,
    rows: Annotated[int, typer.Option(min=1, help="About so many rows are measured.")] = ROWS,
    json_path: Json = None,
) -> None:
    """Each configuration trained on the same budget and measured on the same rows."""
    base_config = RunConfig.load(base)
    paths = each_variant(variants)
    settings = [path for path in paths if is_setting(RunConfig.load(path), base_config)]
    others = [path for path in paths if path not in settings]
    if others or not settings:
        report.show(measure(base, others, steps, json_path, rows))
    if settings:
        place = json_path and json_path.with_name(SETTINGS)
        report.show(measure_settings(base, settings, steps, place, rows))


if __name__ == "__main__":
    typer.run(main)
