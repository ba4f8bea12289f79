"""Hyperparameters of a configuration, searched on validation within a stated budget.

    ckf tune --config assets/configs/ml-100k.toml --config assets/configs/ml-100k-collm.toml \\
        --trials 6 --steps 100

Every configuration has the same budget: so many trials of so many packed sequences each. The first
trial is the file's own setting, so that a search can only tell whether another one is better; the
others come from a seeded tree-structured Parzen estimator. What counts is the loss of the language
model's own answer on the validation sequences by which training chooses its weights: with a given
split those of the users to choose on, never those to accept on, and never the test part.

Trials stay in the user's cache as `trained` leaves them, so a search that was interrupted goes on
with the same seed, and one with more trials begins with those that are there.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.settings import applied
from ckf_demo.fusion.registry import get_method
from ckf_demo.lab.trained import console, shortened, trained
from ckf_demo.model.manifest import MANIFEST, read_manifest
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "search"

FACTOR = 4.0
"""How far a rate may be from the file's own, either way."""

HIGHEST = {"dropout": 0.3, "hide_title": 0.8, "weight_decay": 0.1}
"""Up to where the others are searched, from 0; further where the file's own value is higher."""

DRAWN_FIRST = 3
"""So many trials, the file's own among them, before the estimator looks at losses."""

Row = dict[str, dict[str, float] | float | None]
"""A trial: its ``setting`` by dotted names, its ``loss`` (None where it diverged), ``minutes``."""


def tune(
    config_paths: Sequence[Path],
    trials: int,
    steps: int,
    json_path: Path | None = None,
    seed: int = 0,
) -> dict:
    """Search each configuration, and show what was found.

    ``json_path`` is written after every trial.

    Parameters
    ----------
    trials, steps
        The budget of each: settings that are tried, at least 1, and packed sequences of every one.
    seed
        Of the settings that are drawn; trainings keep the configuration's own.

    Returns
    -------
    {"analysis", "trials", "steps", "seed", "searches"}: of each configuration {"config", "name",
    "rows", "best"}, where ``rows`` are `Row` in the order of the trials, the file's own setting
    first, and ``best`` is one of them.

    Raises
    ------
    UserError
        When a configuration or its data cannot be read, or nothing in it is trained; before any
        trial.
    """
    configs = [RunConfig.load(path) for path in config_paths]
    spaces = [searched(config) for config in configs]
    data = [applied(Prepared.load(prepared_path(c.data.dataset)), c.data) for c in configs]
    console.print(f"Budget: {trials} trials of {steps} packed sequences each; seed {seed}.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    document = {
        "analysis": ANALYSIS,
        "trials": trials,
        "steps": steps,
        "seed": seed,
        "searches": [],
    }

    for path, config, space, prepared in zip(config_paths, configs, spaces, data, strict=True):
        search = {"config": path.as_posix(), "name": config.name, "rows": []}
        document["searches"].append(search)
        for row in _trials(config, space, prepared, document):
            search["rows"].append(row)
            search["best"] = min(search["rows"], key=_value)
            write_json(json_path, document)
        _show(search, config, steps)
    return document


def _trials(
    config: RunConfig, space: dict[str, FloatDistribution], prepared: Prepared, budget: dict
) -> Iterator[Row]:
    """The trials of one configuration, each as soon as it is measured."""
    sampler = optuna.samplers.TPESampler(seed=budget["seed"], n_startup_trials=DRAWN_FIRST)
    study = optuna.create_study(sampler=sampler)
    own = setting_of(config, space)
    study.enqueue_trial(own)
    distributions: dict[str, BaseDistribution] = {**space}
    trials = budget["trials"]
    for number in range(1, trials + 1):
        trial = study.ask(distributions)
        # three digits, so that what is printed can be put into a file and is what was tried
        setting = own if number == 1 else {k: float(f"{v:.3g}") for k, v in trial.params.items()}
        console.print(f"{config.name}, trial {number} of {trials}: {_words(setting)}")
        row = measured(with_setting(config, setting), setting, budget["steps"], prepared)
        study.tell(trial, _value(row))
        yield row


def searched(config: RunConfig) -> dict[str, FloatDistribution]:
    """What is searched, by dotted names of the configuration.

    A rate only where it moves something: the adapters' where there are any that are not held, the
    fusion's where the method learns one; a rate of 0 stays. Dropout likewise.

    Raises
    ------
    UserError
        For an unknown method, and when nothing is trained.
    """
    method, lora, train = get_method(config.fusion.method), config.lora, config.train
    adapts = bool(lora.shared_targets or lora.task_targets)
    learns = (lora.full or adapts) and not train.adapters_from
    # what is spelled was fitted beforehand
    fuses = (method.uses_tokens or method.changes_weights) and not method.alphabet
    wanted = {
        "train.adapter_rate": learns and train.adapter_rate > 0,
        "train.fusion_rate": fuses and train.fusion_rate > 0,
        "lora.dropout": learns and not lora.full,
        "fusion.dropout": method.uses_dropout,
        # only they ask about films that may go unnamed
        "train.hide_title": bool({"rating", "ctr"} & set(train.tasks)),
        "train.weight_decay": True,
    }
    if not (wanted["train.adapter_rate"] or wanted["train.fusion_rate"]):
        raise UserError(
            f"Nothing is trained in '{config.name}': it has neither adapters nor a fusion that "
            "learn; choose another configuration."
        )
    space = {}
    for name, own in setting_of(config, (name for name, on in wanted.items() if on)).items():
        field = name.split(".")[1]
        if field in HIGHEST:
            space[name] = FloatDistribution(0.0, max(HIGHEST[field], own))
        else:
            space[name] = FloatDistribution(own / FACTOR, own * FACTOR, log=True)
    return space


def setting_of(config: RunConfig, names: Iterable[str]) -> dict[str, float]:
    """The values that a configuration has under dotted names."""
    parts = {name: name.split(".") for name in names}
    return {name: getattr(getattr(config, part), field) for name, (part, field) in parts.items()}


def with_setting(config: RunConfig, setting: dict[str, float]) -> RunConfig:
    """The configuration with other values under dotted names."""
    for name, value in setting.items():
        section, field = name.split(".")
        part = getattr(config, section).model_copy(update={field: value})
        config = config.model_copy(update={section: part})
    return config


def measured(config: RunConfig, setting: dict[str, float], steps: int, prepared: Prepared) -> Row:
    """One trial, trained if it is not there."""
    # under a name of its own: an interrupted training of the file itself stays resumable
    config = config.model_copy(update={"name": f"{config.name}-tune"})
    folder, known = trained(shortened(config, steps), prepared)
    loss = None
    # without a finite loss there never was a checkpoint
    if (folder / MANIFEST).exists():
        loss = read_manifest(folder)["training"]["validation"]["total"]
    return {"setting": setting, "loss": loss, "minutes": known["minutes"]}


def changed_lines(config: RunConfig, setting: dict[str, float]) -> str:
    """What the setting changes in the configuration, as TOML; empty for nothing."""
    own, sections = setting_of(config, setting), {}
    for name, value in setting.items():
        if value != own[name]:
            section, field = name.split(".")
            sections.setdefault(section, []).append(f"{field} = {value!r}")
    return "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())


def _value(row: Row) -> float:
    return math.inf if row["loss"] is None else row["loss"]


def _words(setting: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def _show(search: dict, config: RunConfig, steps: int) -> None:
    """All trials, best first, and what the best one would change in the file."""
    rows, best = search["rows"], search["best"]
    table = Table(
        title=f"{config.name}: loss on validation",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("Trial")
    for name in best["setting"]:
        table.add_column(name.replace(".", "\n").replace("_", "\n"), justify="right")
    for name in ("Loss", "Minutes"):
        table.add_column(name, justify="right")
    for number, row in sorted(enumerate(rows, 1), key=lambda entry: _value(entry[1])):
        loss = "diverged" if row["loss"] is None else f"{row['loss']:.4f}"
        values = [f"{value:g}" for value in row["setting"].values()]
        table.add_row("own" if number == 1 else str(number), *values, loss, f"{row['minutes']:g}")
    Console().print(table)
    lines = changed_lines(config, best["setting"])
    if not lines:
        print("No setting that was tried is better than the file's own.")
        return
    by = "which diverged"
    if rows[0]["loss"] is not None:
        by = f"by {rows[0]['loss'] - best['loss']:.4f}"
    print(
        f"Trial {rows.index(best) + 1} is better than the file's own, {by}, in one training of "
        f"{steps} sequences each. In {search['config']} it would change:\n\n{lines}"
    )
