"""Does the order of methods hold under other settings of the data?

Settings are the stars from which an item is liked, the users and items that are kept, the split,
and the length of the shown history. For each setting CKF is trained on a small budget and compared
with simple baselines on the same test rows. Settings are groups of the results. Their rows differ,
so only differences within a setting are paired.

`ckf_demo.lab.robustness` is the command: it sorts its variants into settings and others.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from ckf_demo.baselines.base import TrainingData
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.settings import applied
from ckf_demo.data.splits import TEST
from ckf_demo.evaluation.base import ALONE, VARIANTS, progress_bars
from ckf_demo.evaluation.cached import checkpoint_hash
from ckf_demo.evaluation.ratings import RatingMeasurement, Scope
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD
from ckf_demo.lab.trained import TrainedModel, console, shortened, some, trained
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import EvalInstances, sample_by_user
from ckf_demo.metrics.results import Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, prepared_path, replacing, write_json

SETTINGS = "settings.json"
BASE = "base"
"""The group of the base configuration's own setting."""

BASELINES = (
    *("item mean", "bias folded in", "ridge / logistic", "gradient boosting"),
    *("EASE", "popularity", "candidate stage"),
)
QUERIES = 60


def is_setting(config: RunConfig, base: RunConfig) -> bool:
    """Whether a configuration sees other data than the base, or more or less of a history."""
    same = config.data == base.data and config.prompt.window == base.prompt.window
    return not same and config.data.dataset == base.data.dataset


def measure_settings(
    base_path: Path,
    settings: list[Path],
    steps: int,
    json_path: Path | None,
    rows: int,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Train and measure under each setting; written to ``json_path`` after every one.

    Returns
    -------
    dict of the form that `ckf_demo.evaluation.run.evaluate` gives. Groups are the settings, by what
    their names have beyond the base's, and `BASE`; ``settings`` lists them, and ``trained`` says of
    each what `ckf_demo.lab.trained.trained` knows.

    Raises
    ------
    UserError
        When the data cannot be had under a setting.
    """
    base = RunConfig.load(base_path)
    whole = Prepared.load(prepared_path(base.data.dataset))
    document: dict = {
        "dataset": whole.dataset,
        "split": "test",
        "checkpoint": base_path.as_posix(),
        "steps": steps,
        "settings": [],
        "rows": [],
        "trained": {},
    }
    configs = [base, *map(RunConfig.load, settings)]
    data = [applied(whole, config.data) for config in configs]
    for prepared in data:
        if not (prepared.split == TEST).any():
            raise UserError(f"{prepared.dataset} has no test part here to measure settings on.")
    for number, (config, prepared) in enumerate(zip(configs, data, strict=True), 1):
        group = BASE if config is base else config.name.removeprefix(f"{base.name}-")
        console.print(f"Setting {number} of {len(configs)}: {group}")
        folder, document["trained"][group] = trained(shortened(config, steps), prepared)
        document["settings"].append(group)
        document["rows"] += _remembered(folder, prepared, group, rows, resamples, seed)
        write_json(json_path, document)
    return document


def _remembered(
    folder: Path, prepared: Prepared, group: str, rows: int, resamples: int, seed: int
) -> list[dict]:
    """Results under a setting, from the user's cache where they are already there."""
    identity = [checkpoint_hash(folder), prepared.hash, group, rows, resamples, seed, *BASELINES]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    path = cache_dir() / "robustness" / f"settings-{key}.json"
    if not path.exists():
        results = setting_rows(folder, prepared, group, rows, resamples, seed)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(results) + "\n")
    return json.loads(path.read_text())


def setting_rows(
    folder: Path, prepared: Prepared, group: str, rows: int, resamples: int, seed: int
) -> list[dict]:
    """Results of a trained configuration and the baselines on a sample of the test part."""
    model = TrainedModel(folder, prepared)
    tasks = model.system.config.train.tasks
    cases = EvalInstances(prepared, sample_by_user(prepared, prepared.rows(split=TEST), rows, seed))
    queries = ranking_queries(prepared, TEST) if "ranking" in tasks else []
    queries = some(queries, QUERIES, seed)
    scope = Scope(
        cases=cases,
        groups={group: np.ones(len(cases), dtype=bool)},
        truncated={},
        queries=queries,
        query_groups={group: np.ones(len(queries), dtype=bool)},
        truncated_queries={},
    )
    results = Results(bootstrap.user_weights(cases.users, prepared.n_users, resamples, seed))
    method_name = model.method
    with progress_bars() as progress:
        bar = progress.add_task(f"measuring {method_name}", total=len(cases) + len(queries))
        model.advance = lambda n: progress.advance(bar, n)
        scores = tuple(task for task in ("rating", "ctr") if task in tasks)
        results.add_scores(
            method_name, cases, scope.groups, *model.scores(cases, scores, method_name)
        )
        alone, pooled = model.orders(queries)
        model.advance = lambda n: None
        names = {VARIANTS[ALONE].format(method_name): (method_name, True)} if model.pools else {}
        if model.pools:
            names[VARIANTS[COLLABORATIVE_METHOD].format(method_name)] = COLLABORATIVE_METHOD, False
        results.kinds.update(dict.fromkeys(names, "answer"))
        for name, (method, by_itself) in names.items():
            answers = model.scores(cases, scores, method, alone=by_itself)
            results.add_scores(name, cases, scope.groups, *answers)
        if queries:
            results.add_rankings(method_name, queries, scope.query_groups, pooled)
            if model.pools:
                name = VARIANTS[ALONE].format(method_name)
                results.add_rankings(name, queries, scope.query_groups, alone)
        training = TrainingData(prepared, model.system.knowledge)
        RatingMeasurement(scope, results, progress, tasks).baselines(training, BASELINES)
    for other in dict.fromkeys(row["method"] for row in results.rows):
        if other != method_name:
            results.add_difference(method_name, other)
    return results.rows
