"""Stored results, published figures, and which of their rows a view shows."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ckf_demo.evaluation.report import COLUMNS, EXPLANATION_LABELS, GROUPS
from ckf_demo.evaluation.stored_rows import read_rows
from ckf_demo.runtime.assets import ASSETS, asset
from ckf_demo.runtime.errors import UserError

RESULTS = "results.json"
KINDS = {
    RESULTS: "",
    "methods.json": "methods side by side",
    "field.json": "the whole field",
    "robustness.json": "one part changed at a time",
    "ranks.json": "other ranks, full fine-tuning",
    "settings.json": "other settings of the data",
    "words.json": "taste sentences",
}
"""Files of results beside a checkpoint, and what sets them apart."""

COUNTED = {
    "control": "sentences",
    "ranking": "ranking queries",
    "explanation": "explanations",
}
"""What n counts, for tasks in which it does not count rows."""

LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss", "ece", "candidate_loss", "loss"})
EVERYTHING = "all"
TASKS = {
    "control": "Sentences",
    "rating": "Rating",
    "ctr": "Click",
    "ranking": "Ranking",
    "explanation": "Explanations",
}
WORD_METRICS = {
    "fits": "share of the top ten that fits",
    "kept out": "share that the opposite keeps out",
    "changed": "share that the opposite changes",
    "recall@50": "recall@50",
    "ndcg@10 of 50": "NDCG@10 among 50 items",
}
METRICS = {metric: name for _, metric, name in COLUMNS} | EXPLANATION_LABELS | WORD_METRICS
BY_WORDS = "words"
"""The group of people of whom only words are known."""

GROUP_LABELS = asset("groups.toml")
BETTER, WORSE, OPEN = "better", "worse", "not told apart"
VALUE, AGAINST, ABLATION, PAIR = "value", "against", "ablation", "pair"
"""Kinds of rows: a method's value, and the paired difference of the checkpoint's own method to
another one, of the own method to an ablation of it, and between two other methods."""


class Measured(BaseModel):
    """A method's value, or a paired difference, with its 95 % interval over users.

    The fields are those of `ckf_demo.metrics.results.ResultRow`.
    """

    method: str
    kind: str = ""
    first: str = ""
    other: str = ""
    task: str
    metric: str
    group: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int


class WrongRow(BaseModel):
    """A row of the data in which the checkpoint's own method was far off.

    ``prior`` is the answer of the collaborative signal alone.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    task: str
    user: str
    item: str
    label: float
    score: float
    prior: float | None = None


class Sentence(BaseModel):
    """A taste sentence, how many items fit it, and its measures by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    kind: str
    text: str
    fitting: int

    def share(self, method: str, metric: str) -> float | None:
        """A method's measure: ``fits`` is stored under the method's name alone."""
        name = method if metric == "fits" else f"{method}: {metric}"
        return self.__pydantic_extra__.get(name)


class Results(BaseModel):
    """What ``ckf evaluate --json`` and the measurement of words write.

    ``settings`` are groups that are settings of the data, the usual one first. ``sentences`` are
    those of which the control over lists was measured.
    """

    dataset: str
    split: str
    checkpoint: str
    rows: list[Measured]
    errors: list[WrongRow] = []
    settings: list[str] = []
    sentences: list[Sentence] = []

    @field_validator("rows")
    @classmethod
    def with_kinds(cls, rows: list[Measured]) -> list[Measured]:
        """Rows with what they measure, which older files do not say."""
        return [Measured(**row) for row in read_rows(row.model_dump() for row in rows)]

    @cached_property
    def own(self) -> str | None:
        """The checkpoint's own method: the one that the others are compared with."""
        firsts = Counter(row.first for row in self.rows if row.other)
        return firsts.most_common(1)[0][0] if firsts else None

    @cached_property
    def ablations(self) -> set[str]:
        """Methods that are the own one with one component changed."""
        return {row.method for row in self.rows if row.kind == "component"}

    def own_first(self, methods: set[str]) -> list[str]:
        """Methods with the own one first, then from the last measured to the first.

        The stored order is from the simplest to the whole system.
        """
        measured = list(dict.fromkeys(row.method for row in self.rows if row.method in methods))
        measured.reverse()
        return sorted(measured, key=lambda method: method != self.own)

    def kind(self, row: Measured) -> str:
        """What a row measures: `VALUE`, `AGAINST`, `ABLATION` or `PAIR`."""
        if not row.other:
            return VALUE
        if row.first != self.own:
            return PAIR
        return ABLATION if row.other in self.ablations else AGAINST

    @property
    def part(self) -> str:
        return part_name(self.split)

    def tasks(self) -> list[str]:
        """Measured tasks, in the order of the app."""
        return _in_order({row.task for row in self.rows}, TASKS)

    def metrics(self, task: str) -> list[str]:
        """Measured metrics of a task."""
        return _in_order({row.metric for row in self.rows if row.task == task}, METRICS)

    def groups(self, task: str, metric: str) -> list[str]:
        """Groups in which a metric was measured, everything first."""
        groups = {row.group for row in self.rows if (row.task, row.metric) == (task, metric)}
        return _in_order(groups, (EVERYTHING, *GROUPS, *self.settings))

    def chosen(self, view: "View", kind: str) -> list[Measured]:
        """Rows of one kind, task, metric and group, the best first; undefined values at the end.

        Differences to other methods follow the order of these methods.
        """
        rows = [
            row
            for row in self.rows
            if View(row.task, row.metric, row.group) == view and self.kind(row) == kind
        ]
        if kind == AGAINST:
            places = {row.method: n for n, row in enumerate(self.chosen(view, VALUE))}
            return sorted(rows, key=lambda row: places.get(row.other, len(places)))
        sign = 1 if view.lower else -1
        return sorted(rows, key=lambda row: math.inf if row.value is None else sign * row.value)


@dataclass(frozen=True)
class View:
    """Which figures are looked at."""

    task: str
    metric: str
    group: str

    @property
    def lower(self) -> bool:
        """Whether lower values are better."""
        return self.metric in LOWER_IS_BETTER

    @property
    def better(self) -> str:
        return "lower is better" if self.lower else "higher is better"

    @property
    def name(self) -> str:
        return METRICS.get(self.metric, self.metric)

    @property
    def counted(self) -> str:
        """What n counts."""
        if self.metric == "uauc":
            return "users with both liked and disliked items"
        if self.group == BY_WORDS:
            return "sentences of newcomers"
        return COUNTED.get(self.task, "rows")


def part_name(split: str) -> str:
    """A part of the data in words."""
    return "validation part" if split == "valid" else f"{split} part"


def _in_order(names: set[str], order: Iterable[str]) -> list[str]:
    places = {name: place for place, name in enumerate(order)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


def read_results(path: Path) -> Results:
    """The results of one checkpoint.

    Raises
    ------
    UserError
        When the file is missing or damaged; the text names the command that writes it.
    """
    # The folders above say nothing to a visitor of the page.
    folder, file = Path(*path.parts[-3:-1]).as_posix(), Path(*path.parts[-3:]).as_posix()
    command = f"ckf evaluate --checkpoint {folder} --json {file}"
    if not path.exists():
        raise UserError(f"{file} is missing; write it with: {command}")
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{file} is damaged ({field}: {first['msg']}); write it again with: {command}"
        ) from error


def read_all(served: Path) -> tuple[dict[str, Results], list[str]]:
    """Results beside the served checkpoint, its own first, and one sentence per unreadable file.

    The keys are the folder's name and, for other files than ``results.json``, what sets them apart.
    """
    first = served / RESULTS
    others = [path for name in KINDS for path in served.parent.glob(f"*/{name}") if path != first]
    results, problems = {}, []
    others.sort(key=lambda path: (path.parent != served, path.parent.name))
    for path in (first, *others):
        try:
            kind = f": {KINDS[path.name]}" if KINDS[path.name] else ""
            results[path.parent.name + kind] = read_results(path)
        except UserError as error:
            problems.append(str(error))
    return results, problems


def read_published() -> dict[str, dict]:
    """Published figures for data sets whose split is fixed, by data set: the part (``split``), the
    task, a note and the rows of methods."""
    files = (ASSETS / "published").glob("*.json")
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return {table["dataset"]: table for table in tables}


def verdict(row: Measured, lower: bool) -> str:
    """What a difference says by its interval: `BETTER`, `WORSE`, or `OPEN` where it holds zero."""
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return OPEN
    return BETTER if (row.high < 0) == lower else WORSE
