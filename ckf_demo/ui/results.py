"""The Results tab: what was measured, read from the results stored beside the checkpoints, with
published figures for the same split. Nothing is measured here, and no model is asked."""

import html
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from pydantic import BaseModel, ConfigDict, ValidationError

from ckf_demo.baselines import BASELINES
from ckf_demo.evaluation import blends
from ckf_demo.evaluation import sampled_negatives as choices
from ckf_demo.evaluation.report import COLUMNS, EXPLANATION_LABELS, GROUPS, order_agreement
from ckf_demo.fusion.registry import METHODS
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.map import PLOTLY_SCRIPT
from ckf_demo.ui.markup import (
    TABLE_SCRIPT,
    Cell,
    Column,
    Row,
    escape,
    film_text,
    notice,
    panel,
    percent,
    stars_text,
    table,
    warn,
)
from ckf_demo.ui.pair import Pair, from_query

RESULTS = "results.json"
KINDS = {
    RESULTS: "",
    "methods.json": "methods side by side",
    "field.json": "the whole field",
    "robustness.json": "one part changed at a time",
    "ranks.json": "other ranks, full fine-tuning",
    "settings.json": "other settings of the data",
}
"""Files of results beside a checkpoint, and what sets them apart."""

PUBLISHED = Path(__file__).resolve().parents[2] / "assets" / "published"
DIFFERENCE = " - "
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss", "ece", "candidate_loss", "loss"})
EVERYTHING = "all"
TASKS = {
    "rating": "Rating",
    "ctr": "Click",
    "ranking": "Ranking",
    "explanation": "Explanations",
}
METRICS = {metric: name for _, metric, name in COLUMNS} | EXPLANATION_LABELS
GROUP_LABELS = {
    EVERYTHING: "everything",
    "choose": "choosing half of the users",
    "accept": "accepting half of the users",
    "warm": "warm: known in training",
    "cold": "cold: new after training",
    "0": "no history",
    "1-3": "history of 1 to 3",
    "4-10": "history of 4 to 10",
    "11+": "history of 11 or more",
    "k=0": "history cut to none",
    "k=1": "history cut to the last 1",
    "k=3": "history cut to the last 3",
    "k=10": "history cut to the last 10",
    "k=all": "the same sample, whole history",
    "positive": "positive predictions",
    "mixed": "mixed predictions",
    "negative": "negative predictions",
    "pooled": "pooled with the collaborative prior",
    "base": "as configured",
    "liked-from-3": "liked from 3 stars on",
    "liked-from-5": "liked with 5 stars only",
    "core-5": "5-core of users and items",
    "core-10": "10-core of users and items",
    "leave-last-out": "each user’s last rating held out",
    "window-6": "6 history films shown",
    "window-12": "12 history films shown",
    "window-48": "48 history films shown",
}
PARTS = {"valid": "validation part", "test": "test part"}
# Shape first, colour second, as on the other plots; the plot's own marks are in assets/app.js.
DIAMOND = '<path d="M8 2 L14 8 L8 14 L2 8 Z" class="ckf-fill"/>'
DOT = '<circle cx="8" cy="8" r="4.5" class="ckf-other"/>'
RING = '<circle cx="8" cy="8" r="4.5" class="ckf-open"/>'
BETTER, WORSE, OPEN = "better", "worse", "not told apart"
DRAW_SCRIPT = f"{TABLE_SCRIPT}; watch('value', window.ckf.dots(element));"


class Measured(BaseModel):
    """One value, or one paired difference ("A - B"), with its 95 % interval over users."""

    method: str
    task: str
    metric: str
    group: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int


class WrongRow(BaseModel):
    """A row of the data in which the own method was far off; ``prior`` is the collaborative
    signal's answer alone."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    task: str
    user: str
    item: str
    label: float
    score: float
    prior: float | None = None


class Results(BaseModel):
    """What ``ckf evaluate --json`` writes."""

    dataset: str
    split: str
    checkpoint: str
    rows: list[Measured]
    errors: list[WrongRow] = []
    settings: list[str] = []
    """Groups that are settings of the data, the usual one first."""

    @property
    def own(self) -> str | None:
        """The checkpoint's own method: the one that the others are compared with."""
        first = Counter(
            row.method.split(DIFFERENCE, 1)[0] for row in self.rows if DIFFERENCE in row.method
        )
        return first.most_common(1)[0][0] if first else None

    @property
    def part(self) -> str:
        """The measured part in words."""
        return PARTS.get(self.split, f"{self.split} part")

    def tasks(self) -> list[str]:
        """Measured tasks, in the order of the app."""
        return _in_order({row.task for row in self.rows}, TASKS)

    def metrics(self, task: str) -> list[str]:
        """Measured metrics of a task."""
        return _in_order({row.metric for row in self.rows if row.task == task}, METRICS)

    def groups(self, task: str, metric: str) -> list[str]:
        """Groups in which a metric was measured, everything first."""
        found = {row.group for row in self.rows if (row.task, row.metric) == (task, metric)}
        return _in_order(found, (EVERYTHING, *GROUPS, *self.settings))

    def chosen(self, view: "View") -> list[Measured]:
        """Methods and differences of one task, metric and group, as they were measured."""
        wanted = (view.task, view.metric, view.group)
        return [row for row in self.rows if (row.task, row.metric, row.group) == wanted]


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
    def name(self) -> str:
        """The metric's name."""
        return METRICS.get(self.metric, self.metric)

    @property
    def counted(self) -> str:
        """What n counts."""
        if self.metric == "uauc":
            return "users with both liked and disliked items"
        return {"ranking": "ranking queries", "explanation": "explanations"}.get(self.task, "rows")


class PublishedRow(BaseModel):
    """One line of a published table."""

    method: str
    backbone: str | None
    auc: float | None
    uauc: float | None
    source: str


class Published(BaseModel):
    """Published figures for a data set whose split is fixed, on one part of it."""

    dataset: str
    split: str
    task: str
    note: str
    rows: list[PublishedRow]


def _in_order(found: set[str], order: Sequence[str] | Mapping[str, str]) -> list[str]:
    known = list(order)
    return sorted(
        found, key=lambda name: (known.index(name) if name in known else len(known), name)
    )


def read_results(path: Path) -> Results:
    """The results of one checkpoint.

    Raises
    ------
    UserError
        When the file is missing or damaged; the text says which and how to write it anew.
    """
    # Without the folders above, which say nothing to a visitor of the page.
    shown = Path(*path.parts[-3:])
    command = f"ckf evaluate --checkpoint {shown.parent.as_posix()} --json {shown.as_posix()}"
    if not path.exists():
        raise UserError(f"{shown.as_posix()} is missing; write it with: {command}")
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{shown.as_posix()} is damaged ({place}: {first['msg']}); write it anew with: "
            f"{command}"
        ) from error


def read_all(served: Path) -> tuple[dict[str, Results], list[str]]:
    """The results beside the served checkpoint, its own first, and what is wrong with those that
    cannot be read.

    They go by the folder's name and, for other files than its results, by what these are.
    """
    own = served / RESULTS
    others = [path for name in KINDS for path in served.parent.glob(f"*/{name}") if path != own]
    found, problems = {}, []
    for path in (own, *sorted(others, key=lambda path: (path.parent != served, path.parent.name))):
        kind = KINDS[path.name]
        try:
            found[f"{path.parent.name}: {kind}" if kind else path.parent.name] = read_results(path)
        except UserError as error:
            problems.append(str(error))
    return found, problems


def read_published(folder: Path = PUBLISHED) -> dict[str, Published]:
    """Published figures by data set."""
    tables = (Published.model_validate_json(path.read_bytes()) for path in folder.glob("*.json"))
    return {published.dataset: published for published in tables}


# --- which is better -----------------------------------------------------------------------------


def _best_first(rows: list[Measured], lower: bool) -> list[Measured]:
    defined = [row for row in rows if row.value is not None]
    undefined = [row for row in rows if row.value is None]
    return sorted(defined, key=lambda row: row.value, reverse=not lower) + undefined


def levels(results: Results, view: View) -> list[Measured]:
    """One row per method, the best first; undefined values at the end."""
    single = [row for row in results.chosen(view) if DIFFERENCE not in row.method]
    return _best_first(single, view.lower)


def ablations(results: Results) -> set[str]:
    """Methods that are the own one with something taken away.

    They are those it is compared with, without baselines, blends, its other seeds, and its own
    other ways to answer; the names of the last two begin with its own.
    """
    own = results.own
    first, ways = f"{own}{DIFFERENCE}", (f"{own} ", f"{own}'s ", f"{own},")
    others = {
        row.method.removeprefix(first) for row in results.rows if row.method.startswith(first)
    }
    known = {*BASELINES, *choices.BASELINES, *METHODS, blends.ALL}
    return {
        other
        for other in others
        if other not in known and blends.WITH not in other and not other.startswith(ways)
    }


def differences(results: Results, view: View) -> list[Measured]:
    """Paired differences of the own method to all but its ablations, the best of these first."""
    place = {row.method: number for number, row in enumerate(levels(results, view))}
    first = f"{results.own}{DIFFERENCE}"
    parts = ablations(results)
    rows = [
        row
        for row in results.chosen(view)
        if row.method.startswith(first) and row.method.removeprefix(first) not in parts
    ]
    return sorted(rows, key=lambda row: place.get(row.method.removeprefix(first), len(place)))


def worth(results: Results, view: View) -> list[Measured]:
    """Paired differences of the own method to its ablations, what is worth most first."""
    wanted = {f"{results.own}{DIFFERENCE}{part}" for part in ablations(results)}
    rows = [row for row in results.chosen(view) if row.method in wanted]
    return _best_first(rows, view.lower)


def others(results: Results, view: View) -> list[Measured]:
    """Paired differences between two methods of which the first is not the own one, the clearest
    lead of the first on top."""
    first = f"{results.own}{DIFFERENCE}"
    rows = [
        row
        for row in results.chosen(view)
        if DIFFERENCE in row.method and not row.method.startswith(first)
    ]
    return _best_first(rows, view.lower)


def verdict(row: Measured, lower: bool) -> str:
    """What a difference says once its interval is looked at: better, worse, or neither."""
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return OPEN
    return BETTER if (row.high < 0) == lower else WORSE


# --- what is shown -------------------------------------------------------------------------------


def _number(value: float | None, decimals: int, sign: str = "-") -> str:
    return "–" if value is None else f"{value:{sign}.{decimals}f}".replace("-", "−")


def _interval(row: Measured, decimals: int, sign: str = "-") -> str:
    if row.low is None or row.high is None:
        return "no interval"
    return f"[{_number(row.low, decimals, sign)}, {_number(row.high, decimals, sign)}]"


def _figure(row: Measured, decimals: int, sign: str = "-") -> Cell:
    order = "" if row.value is None else row.value
    return _two_lines(_number(row.value, decimals, sign), _interval(row, decimals, sign), order)


def _two_lines(first: str, second: str, order: str | float) -> Cell:
    return Cell(f'{escape(first)} <span class="ckf-below">{escape(second)}</span>', order)


def _count(n: int) -> Cell:
    return Cell(f"{n:,}", n)


def _legend(*entries: tuple[str, str]) -> str:
    shown = "".join(
        f'<li><svg class="ckf-mark" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">'
        f"{mark}</svg>{escape(text)}</li>"
        for mark, text in entries
    )
    return f'<ul class="ckf-legend">{shown}</ul>'


def _dots(rows: list[dict], axis: str, zero: bool, summary: str) -> str:
    """The place of a dot plot, which assets/app.js draws there once it has a width."""
    drawn = json.dumps({"rows": rows, "axis": axis, "zero": zero})
    label = f"Dot plot with 95 % intervals. {summary} The table holds the same numbers."
    return (
        f'<div class="ckf-dots" role="img" aria-label="{escape(label)}" '
        f'data-dots="{escape(drawn)}"></div>'
    )


def _dot(row: Measured, name: str, mark: str, decimals: int, sign: str = "-") -> dict:
    # Plotly reads a few tags in its texts.
    label = html.escape(name, quote=False)
    figures = f"{_number(row.value, decimals, sign)} {_interval(row, decimals, sign)}"
    return {
        "label": label,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "mark": mark,
        "hover": f"<b>{label}</b><br>{figures}<br>n = {row.n:,}",
    }


def _section(heading: str, facts: str, legend: str, plot: str, listing: str) -> str:
    return (
        f'<section><h3>{escape(heading)}</h3><p class="ckf-facts">{escape(facts)}</p>{legend}'
        f'<div class="ckf-beside"><div>{plot}</div><div>{listing}</div></div></section>'
    )


def levels_markup(results: Results, view: View) -> str:
    """Every method's value: what the plot says in words, the plot, and the table (HTML)."""
    rows = levels(results, view)
    defined = [row for row in rows if row.value is not None]
    if not defined:
        return notice("This was not measured here; choose another group or metric.")
    better = "lower is better" if view.lower else "higher is better"
    best = defined[0]
    summary = (
        f"Best of {len(defined)}: {best.method} with {_number(best.value, 3)} {_interval(best, 3)}."
        if len(defined) > 1
        else f"{best.method}: {_number(best.value, 3)} {_interval(best, 3)}."
    )
    place = next((i for i, row in enumerate(defined, 1) if row.method == results.own), None)
    if place is not None and place > 1:
        own = defined[place - 1]
        summary += f" {own.method} is number {place} with {_number(own.value, 3)}."
    dots = [
        _dot(row, row.method, "own" if row.method == results.own else "other", 3) for row in defined
    ]
    listing = table(
        [
            Column("Method", wide=True),
            Column(f"{view.name}, 95 % interval", numeric=True),
            Column("n", numeric=True),
        ],
        [
            Row(pick=None, cells=[_method(row.method, results.own), _figure(row, 3), _count(row.n)])
            for row in rows
        ],
        caption=f"{view.name}, {better}; n counts {view.counted}",
        empty="Nothing was measured.",
        height=640,
    )
    marks = [(DOT, "a method with its 95 % interval")]
    if place is not None:
        marks.insert(0, (DIAMOND, f"{results.own}, the checkpoint’s own method"))
    return _section(
        f"{TASKS.get(view.task, view.task)}: {view.name}, {better}",
        f"{results.dataset}, {results.part}; {GROUP_LABELS.get(view.group, view.group)}. {summary}",
        _legend(*marks),
        _dots(dots, f"{view.name}, {better}", False, summary),
        listing,
    )


def settings_markup(results: Results, view: View) -> str:
    """One metric of every method under each setting (HTML), and whether their order is the same;
    nothing where no settings were measured."""
    values = {
        setting: {row.method: row for row in levels(results, replace(view, group=setting))}
        for setting in results.settings
    }
    values = {setting: rows for setting, rows in values.items() if rows}
    if len(values) < 2:
        return ""
    usual, *others = values
    orders = {s: {m: row.value for m, row in rows.items()} for s, rows in values.items()}
    agreement = {setting: order_agreement(orders[usual], orders[setting]) for setting in values}
    same = sum(agreement[setting] > 1 - 1e-9 for setting in others)
    facts = (
        f"The order of methods is the same as under “{_setting(usual)}” in {same} of {len(others)} "
        "other settings. τ is Kendall’s: 1 for the same order, −1 for the reverse. The rows behind "
        "the values differ from setting to setting: compare methods within a setting."
    )
    places = [list(rows).index(results.own) + 1 for rows in values.values() if results.own in rows]
    if places:
        low, high = min(places), max(places)
        span = f"{low}" if low == high else f"{low} to {high}"
        facts += f" {results.own} is number {span} of {len(orders[usual])}."
    methods = list(values[usual])
    listing = table(
        [
            Column("Setting", wide=True),
            *(Column(method, numeric=True) for method in methods),
            Column("τ", numeric=True),
            Column("n", numeric=True),
        ],
        [
            Row(
                pick=None,
                cells=[
                    Cell(escape(_setting(setting)), number),
                    *(_figure(rows[method], 3) if method in rows else "–" for method in methods),
                    _plain(None if math.isnan(agreement[setting]) else agreement[setting]),
                    _count(max(row.n for row in rows.values())),
                ],
            )
            for number, (setting, rows) in enumerate(values.items())
        ],
        caption=f"{view.name} under each setting; n counts {view.counted}",
        empty="Nothing was measured.",
        height=640,
    )
    heading = escape("Does the order of methods hold?")
    return f'<section><h3>{heading}</h3><p class="ckf-facts">{escape(facts)}</p>{listing}</section>'


def _setting(name: str) -> str:
    return GROUP_LABELS.get(name, name)


def _method(name: str, own: str | None) -> Cell:
    return Cell(f"<strong>{escape(name)}</strong>" if name == own else escape(name), name)


def differences_markup(results: Results, view: View) -> str:
    """The own method against every other one (HTML); nothing where none was compared."""
    first = f"{results.own}{DIFFERENCE}"
    rows = [(row, row.method.removeprefix(first)) for row in differences(results, view)]
    side = "Below" if view.lower else "Above"
    return _differences(
        f"{results.own} against each other method",
        f"{results.own} minus the other, paired over users. {side} zero {results.own} is better.",
        rows,
        view,
        column="Compared with",
        said={BETTER: f"{results.own} is better", WORSE: f"{results.own} is worse"},
    )


def worth_markup(results: Results, view: View) -> str:
    """What is lost without each part (HTML); nothing where no part was taken away."""
    first = f"{results.own}{DIFFERENCE}"
    rows = [(row, row.method.removeprefix(first)) for row in worth(results, view)]
    side = "below" if view.lower else "above"
    return _differences(
        "What each part is worth",
        f"{results.own} minus itself without the part or trained otherwise, paired over users. "
        f"The further {side} zero, the more it is worth.",
        rows,
        view,
        column="Without the part",
        said={BETTER: "the part helps", WORSE: "the part harms"},
    )


def others_markup(results: Results, view: View) -> str:
    """Pairs that are compared for their own sake (HTML); nothing where there are none."""
    rows = [(row, row.method.replace(DIFFERENCE, " − ")) for row in others(results, view)]
    side = "Below" if view.lower else "Above"
    return _differences(
        "Other pairs of methods",
        f"The first minus the second, paired over users. {side} zero the first is better.",
        rows,
        view,
        column="First − second",
        said={BETTER: "the first is better", WORSE: "the first is worse"},
    )


def _differences(
    heading: str,
    about: str,
    rows: list[tuple[Measured, str]],
    view: View,
    *,
    column: str,
    said: dict[str, str],
) -> str:
    if not rows:
        return ""
    verdicts = {row.method: verdict(row, view.lower) for row, _ in rows}
    counts = Counter(verdicts.values())
    summary = (
        f"In {counts[BETTER]} of {len(rows)} comparisons {said[BETTER]}, in {counts[WORSE]} "
        f"{said[WORSE]}; {counts[OPEN]} are not told apart."
    )
    dots = [
        _dot(row, name, "unsure" if verdicts[row.method] == OPEN else "sure", 4, "+")
        for row, name in rows
        if row.value is not None
    ]
    listing = table(
        [
            Column(column, wide=True),
            Column("Difference, 95 % interval", numeric=True),
            Column("n", numeric=True),
        ],
        [
            Row(
                pick=None,
                cells=[
                    _two_lines(name, said.get(verdicts[row.method], OPEN), name),
                    _figure(row, 4, "+"),
                    _count(row.n),
                ],
            )
            for row, name in rows
        ],
        caption=f"{heading}: {view.name}; n counts {view.counted}",
        empty="Nothing was compared.",
        height=640,
    )
    return _section(
        heading,
        f"{about} {summary}",
        _legend((DIAMOND, "the interval excludes zero"), (RING, "it holds zero: not told apart")),
        _dots(dots, f"difference in {view.name}", True, summary),
        listing,
    )


def published_markup(results: Results, view: View, published: Published | None) -> str:
    """Published figures beside ours (HTML); nothing where there are none for the task."""
    if published is None or published.task != view.task:
        return ""
    part = PARTS.get(published.split, f"{published.split} part")
    theirs = table(
        [
            Column("Published", wide=True),
            Column("AUC", numeric=True),
            Column("UAUC", numeric=True),
            Column("Source", wide=True),
        ],
        [
            Row(
                pick=None,
                cells=[
                    _two_lines(row.method, row.backbone or "no language model", row.method),
                    _plain(row.auc),
                    _plain(row.uauc),
                    row.source,
                ],
            )
            for row in sorted(published.rows, key=lambda row: -(row.auc or 0))
        ],
        caption=f"As published, on the {part}; no intervals or n are given there",
        empty="Nothing is listed.",
        height=560,
    )
    auc, uauc = (
        {row.method: row for row in levels(results, View(view.task, metric, EVERYTHING))}
        for metric in ("auc", "uauc")
    )
    ours = table(
        [
            Column("Measured here", wide=True),
            Column("AUC", numeric=True),
            Column("UAUC", numeric=True),
        ],
        [
            Row(
                pick=None,
                cells=[
                    _method(method, results.own),
                    _with_n(row),
                    _with_n(uauc[method]) if method in uauc else "–",
                ],
            )
            for method, row in auc.items()
        ],
        caption=f"Measured here, on the {results.part}; n counts rows for AUC, users for UAUC",
        empty="Nothing was measured.",
        height=560,
    )
    other = (
        ""
        if results.split == published.split
        else f" Ours are on the {results.part}: other rows, so the two do not compare directly."
    )
    return (
        f'<section><h3>Published figures</h3><p class="ckf-facts">{escape(published.note + other)}'
        f'</p><div class="ckf-results"><div>{ours}</div><div>{theirs}</div></div></section>'
    )


def _with_n(row: Measured) -> Cell:
    order = "" if row.value is None else row.value
    return _two_lines(_number(row.value, 4), f"n = {row.n:,}", order)


def _plain(value: float | None) -> Cell:
    """Four decimals, as papers print them."""
    return Cell(_number(value, 4), "" if value is None else value)


def errors_markup(
    results: Results, task: str, titles: Mapping[str, str], served: bool, pair: Pair | None = None
) -> str:
    """The rows in which the own method was most wrong, worst first (HTML).

    Parameters
    ----------
    titles
        Item id → title; an item without one is shown by its id.
    served
        Whether the data set is the page's own, so that a row can be chosen.
    pair
        The page's pair, whose row is marked.
    """
    rows = sorted(
        (row for row in results.errors if row.task == task),
        key=lambda row: -abs(row.score - row.label),
    )
    if not rows:
        return ""
    columns = [
        Column("User", numeric=True),
        Column("Film", pick=served, wide=True),
        Column("Truth", numeric=True),
        Column("Prediction", numeric=True),
        Column("Collaborative signal alone", numeric=True),
    ]
    listing = table(
        columns,
        [
            Row(
                pick=urlencode({"user": row.user, "item": row.item}) if served else None,
                selected=pair is not None and (row.user, row.item) == (pair.user, pair.item),
                cells=[
                    row.user,
                    titles.get(row.item, row.item),
                    Cell(_truth(row), row.label),
                    _answer(row.task, row.score),
                    _answer(row.task, row.prior),
                ],
            )
            for row in rows
        ],
        caption=f"Largest errors of {results.own or 'the checkpoint'}; n = {len(rows)} rows",
        empty="Nothing is listed.",
    )
    choose = (
        " Select a row to look at it on the other tabs. They ask at the user’s default moment, "
        "with another history than the row’s own, so their numbers can differ."
        if served
        else ""
    )
    return (
        f'<section><h3>Where it was most wrong</h3><p class="ckf-facts">{escape(results.dataset)}, '
        f"{escape(results.part)}, everything. At most one row of each user.{escape(choose)}</p>"
        f"{listing}</section>"
    )


def _truth(row: WrongRow) -> str:
    if row.task == "ctr":
        return "liked" if row.label else "not liked"
    return f"{stars_text(row.label)}&nbsp;★"


def _answer(task: str, score: float | None) -> Cell:
    if score is None:
        return Cell("–", "")
    return Cell(percent(score) if task == "ctr" else f"{score:.2f}&nbsp;★", score)


class ResultsTab:
    """Builds the tab's components in the current Blocks context and shows figures in them."""

    def __init__(self, recommender) -> None:
        self.store = recommender.store
        self._found, problems = read_all(recommender.checkpoint)
        self._published = read_published()
        self._titles = {
            film["item"]: film_text(film) for film in self.store.items().to_dict("records")
        }
        gr.HTML(
            "<p>What was measured, each figure with its 95 % interval (bootstrap over users) and "
            "with n, the number of cases it rests on. Every method was given the same rows and the "
            "same histories.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        panel("".join(notice(text, "problem") for text in problems), elem_id="results-problems")
        source = next(iter(self._found), None)
        results = self._found.get(source)
        view = _nearest(results) if results else None
        with gr.Row(elem_classes="ckf-controls", visible=bool(self._found)):
            self.source = gr.Dropdown(
                _labels(self._found),
                value=source,
                label="Measured on",
                scale=2,
                min_width=220,
                elem_id="results-source",
            )
            self.task, self.metric, self.group = (
                gr.Dropdown(**options, label=label, min_width=130, elem_id=f"results-{name}")
                for name, label, options in zip(
                    ("task", "metric", "group"),
                    ("Task", "Metric", "Group"),
                    _choices(results, view),
                    strict=True,
                )
            )
        # The script of the plots is named here too: the map's may not have been mounted yet.
        self.figures = panel(
            self._figures(results, view) if results else "",
            js_on_load=DRAW_SCRIPT,
            head=f'<script src="gradio_api/file={PLOTLY_SCRIPT.as_posix()}"></script>',
            elem_id="measured",
        )
        self.errors = panel(
            self._errors(results, view.task) if results else "", elem_id="worst-errors"
        )
        # Results and task on the screen: the controls may already hold the next choice.
        self.shown = gr.State((source, view.task) if results else None)

    @property
    def controls(self) -> list:
        """The inputs of ``show``."""
        return [self.source, self.task, self.metric, self.group]

    @property
    def outputs(self) -> list:
        """Every component that ``show`` updates."""
        return [self.task, self.metric, self.group, self.figures, self.errors, self.shown]

    def show(self, pair: Pair, source: str, task: str, metric: str, group: str) -> dict:
        """Show what was chosen; where it was not measured, the nearest that was."""
        if source not in self._found:
            source = next(iter(self._found))
        results = self._found[source]
        view = _nearest(results, task, metric, group)
        choices = (gr.update(**options) for options in _choices(results, view))
        return {
            **dict(zip((self.task, self.metric, self.group), choices, strict=True)),
            self.figures: self._figures(results, view),
            self.errors: self._errors(results, view.task, pair),
            self.shown: (source, view.task),
        }

    def reselect(self, pair: Pair, shown: tuple[str, str] | None) -> str:
        """The same errors with the pair's row marked."""
        if shown is None:
            return ""
        source, task = shown
        return self._errors(self._found[source], task, pair)

    def choose(self, current: Pair, event: gr.EventData) -> Pair:
        """The user and the film of the chosen error."""
        try:
            chosen = from_query(self.store, dict(parse_qsl(event.pick)), current)
            return replace(chosen, method=current.method)
        except UserError as error:
            warn(error)
            return current

    def _figures(self, results: Results, view: View) -> str:
        return (
            levels_markup(results, view)
            + settings_markup(results, view)
            + differences_markup(results, view)
            + worth_markup(results, view)
            + others_markup(results, view)
            + published_markup(results, view, self._published.get(results.dataset))
        )

    def _errors(self, results: Results, task: str, pair: Pair | None = None) -> str:
        served = results.dataset == self.store.dataset
        return errors_markup(results, task, self._titles if served else {}, served, pair)


def _labels(found: dict[str, Results]) -> list[tuple[str, str]]:
    """Names of the results, with the checkpoint's where two share data set and part."""
    names = {}
    for source, each in found.items():
        kind = source.partition(": ")[2]
        names[source] = f"{each.dataset}, {each.part}" + (f": {kind}" if kind else "")
    shared = Counter(names.values())
    return [
        (f"{name} ({folder})" if shared[name] > 1 else name, folder)
        for folder, name in names.items()
    ]


def _nearest(results: Results, task: str = "", metric: str = "", group: str = "") -> View:
    """The wanted view, with the first choice wherever the wanted one was not measured."""

    def among(found: list[str], wanted: str) -> str:
        return wanted if wanted in found else next(iter(found), "")

    task = among(results.tasks(), task)
    metric = among(results.metrics(task), metric)
    return View(task, metric, among(results.groups(task, metric), group))


def _choices(results: Results | None, view: View | None) -> list[dict]:
    """Choices and value of the controls for task, metric and group."""
    if results is None or view is None:
        return [{"choices": []}] * 3
    return [
        {"choices": [(labels.get(name, name), name) for name in found], "value": value}
        for found, labels, value in (
            (results.tasks(), TASKS, view.task),
            (results.metrics(view.task), METRICS, view.metric),
            (results.groups(view.task, view.metric), GROUP_LABELS, view.group),
        )
    ]
