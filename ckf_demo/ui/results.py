"""The Results tab: what was measured, read from the results stored beside the checkpoints, with
published figures for the same split. Nothing is measured here, and no model is asked."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter, itemgetter
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from ckf_demo.evaluation.report import order_agreement
from ckf_demo.runtime.assets import asset
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import (
    DIAMOND,
    DOT,
    NONE,
    RING,
    beside,
    cell,
    dot,
    dot_plot,
    interval,
    legend,
    listing,
    number,
    plot_panel,
    section,
    signed,
    stars_cell,
    table_of,
    two_lines,
)
from ckf_demo.ui.controls import dropdown, lead
from ckf_demo.ui.events import QUIET
from ckf_demo.ui.group_results import groups_markup
from ckf_demo.ui.markup import (
    Cell,
    Column,
    escape,
    film_text,
    notice,
    panel,
    percent,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, from_query
from ckf_demo.ui.stored_results import (
    BETTER,
    EVERYTHING,
    GROUP_LABELS,
    METRICS,
    OPEN,
    PAIR,
    TASKS,
    VALUE,
    WORSE,
    Measured,
    Results,
    View,
    WrongRow,
    part_name,
    read_all,
    read_published,
    verdict,
)
from ckf_demo.ui.word_results import sentences_markup

COMPARISONS: dict[str, dict[str, str]] = asset("comparisons.toml")
"""Texts on the differences of each kind."""

SHORT = partial(number, decimals=3)
PRECISE = partial(number, decimals=4)
"""Four decimals, as papers print them."""

CHANGE = partial(signed, decimals=4)
COUNT = ("n", lambda row: Cell(f"{row.n:,}", row.n))
"""The column of n."""


def _estimate(row: Measured, written) -> str:
    return f"{written(row.value)} {interval(row.low, row.high, written)}"


def _figure(row: Measured | None, written) -> Cell:
    if row is None or row.value is None:
        return NONE
    return two_lines(written(row.value), interval(row.low, row.high, written), row.value)


def _dot(row: Measured, name: str, style: str, written) -> dict:
    note = f"{_estimate(row, written)}\nn = {row.n:,}"
    return dot(name, style, row.value, row.low, row.high, note)


def _method(name: str, own: str | None) -> Cell:
    return Cell(f"<strong>{escape(name)}</strong>" if name == own else escape(name), name)


def _group(name: str) -> str:
    return GROUP_LABELS.get(name, name)


def levels_markup(results: Results, view: View) -> str:
    """Every method's value: a summary, the plot, and the table (HTML)."""
    rows = results.chosen(view, VALUE)
    defined = [row for row in rows if row.value is not None]
    if not defined:
        return notice("This was not measured here; choose another group or metric.")
    best, own = defined[0], results.own
    summary = f"{best.method}: {_estimate(best, SHORT)}."
    if len(defined) > 1:
        summary = f"Best of {len(defined)}: {best.method} with {_estimate(best, SHORT)}."
    place = next((i for i, row in enumerate(defined, 1) if row.method == own), None)
    if place is not None and place > 1:
        summary += f" {own} is number {place} with {SHORT(defined[place - 1].value)}."
    marks = [(DOT, "a method with its 95 % interval")]
    if place is not None:
        marks.insert(0, (DIAMOND, f"{own}, the checkpoint’s own method"))
    dots = [
        _dot(row, row.method, "own" if row.method == own else "other", SHORT) for row in defined
    ]
    values = table_of(
        rows,
        [
            (Column("Method", wide=True), lambda row: _method(row.method, own)),
            (f"{view.name}, 95 % interval", lambda row: _figure(row, SHORT)),
            COUNT,
        ],
        caption=f"{view.name}, {view.better}; n counts {view.counted}",
        height=640,
    )
    return section(
        f"{TASKS.get(view.task, view.task)}: {view.name}, {view.better}",
        f"{results.dataset}, {results.part}; {_group(view.group)}. {summary}",
        legend(*marks),
        beside(dot_plot(dots, f"{view.name}, {view.better}", summary), values),
    )


def settings_markup(results: Results, view: View) -> str:
    """One metric of every method under each setting, and whether their order is the same (HTML).

    Empty where no settings were measured.
    """
    values = {
        setting: {row.method: row for row in results.chosen(replace(view, group=setting), VALUE)}
        for setting in results.settings
    }
    values = {setting: rows for setting, rows in values.items() if rows}
    if len(values) < 2:
        return ""
    usual, *others = values
    orders = {s: {m: row.value for m, row in rows.items()} for s, rows in values.items()}
    agreement = {setting: order_agreement(orders[usual], orders[setting]) for setting in values}
    same = sum(agreement[setting] > 1 - 1e-9 for setting in others)
    about = (
        f"The order of methods is the same as under “{_group(usual)}” in {same} of {len(others)} "
        "other settings. τ is Kendall’s: 1 for the same order, −1 for the reverse. The rows behind "
        "the values differ from setting to setting: compare methods within a setting."
    )
    places = [list(rows).index(results.own) + 1 for rows in values.values() if results.own in rows]
    if places:
        low, high = min(places), max(places)
        span = f"{low}" if low == high else f"{low} to {high}"
        about += f" {results.own} is number {span} of {len(orders[usual])}."

    def figure(method: str, setting: str) -> Cell:
        return _figure(values[setting].get(method), SHORT)

    def tau(setting: str) -> Cell:
        return cell(None if math.isnan(agreement[setting]) else agreement[setting], PRECISE)

    by_setting = table_of(
        values,
        [
            (
                Column("Setting", wide=True),
                lambda setting: Cell(escape(_group(setting)), list(values).index(setting)),
            ),
            *((method, partial(figure, method)) for method in values[usual]),
            ("τ", tau),
            ("n", lambda setting: COUNT[1](max(values[setting].values(), key=attrgetter("n")))),
        ],
        caption=f"{view.name} under each setting; n counts {view.counted}",
        height=640,
    )
    return section("Does the order of methods hold?", about, by_setting)


def differences_markup(results: Results, view: View, kind: str) -> str:
    """Paired differences of one kind (HTML); empty where none was measured."""
    rows = results.chosen(view, kind)
    if not rows:
        return ""
    side = "below" if view.lower else "above"
    words = {"own": results.own, "side": side, "Side": side.capitalize()}
    texts = {name: text.format(**words) for name, text in COMPARISONS[kind].items()}
    texts[OPEN] = OPEN
    verdicts = [verdict(row, view.lower) for row in rows]
    names = [f"{row.first} − {row.other}" if kind == PAIR else row.other for row in rows]
    counts = Counter(verdicts)
    summary = (
        f"In {counts[BETTER]} of {len(rows)} comparisons {texts[BETTER]}, in {counts[WORSE]} "
        f"{texts[WORSE]}; {counts[OPEN]} are not told apart."
    )
    dots = [
        _dot(row, name, "unsure" if outcome == OPEN else "sure", CHANGE)
        for row, name, outcome in zip(rows, names, verdicts, strict=True)
        if row.value is not None
    ]
    values = listing(
        [Column(texts["column"], wide=True), "Difference, 95 % interval", "n"],
        [
            [two_lines(name, texts[outcome], name), _figure(row, CHANGE), COUNT[1](row)]
            for row, name, outcome in zip(rows, names, verdicts, strict=True)
        ],
        caption=f"{texts['heading']}: {view.name}; n counts {view.counted}",
        height=640,
    )
    return section(
        texts["heading"],
        f"{texts['about']} {summary}",
        legend((DIAMOND, "the interval excludes zero"), (RING, "it holds zero: not told apart")),
        beside(dot_plot(dots, f"difference in {view.name}", summary, zero=True), values),
    )


def published_markup(results: Results, view: View, published: Mapping | None) -> str:
    """Published figures beside ours (HTML); empty where there are none for the task."""
    if published is None or published["task"] != view.task:
        return ""
    theirs = table_of(
        sorted(published["rows"], key=lambda row: -(row["auc"] or 0)),
        [
            (
                Column("Published", wide=True),
                lambda row: two_lines(
                    row["method"], row["backbone"] or "no language model", row["method"]
                ),
            ),
            ("AUC", lambda row: cell(row["auc"], PRECISE)),
            ("UAUC", lambda row: cell(row["uauc"], PRECISE)),
            (Column("Source", wide=True), itemgetter("source")),
        ],
        caption=f"As published, on the {part_name(published['split'])}; no intervals or n are "
        "given there",
        height=560,
    )
    auc, uauc = (
        {row.method: row for row in results.chosen(View(view.task, metric, EVERYTHING), VALUE)}
        for metric in ("auc", "uauc")
    )

    def with_n(rows: Mapping[str, Measured], method: str) -> Cell:
        row = rows.get(method)
        if row is None or row.value is None:
            return NONE
        return two_lines(PRECISE(row.value), f"n = {row.n:,}", row.value)

    ours = table_of(
        auc,
        [
            (Column("Measured here", wide=True), lambda method: _method(method, results.own)),
            ("AUC", partial(with_n, auc)),
            ("UAUC", partial(with_n, uauc)),
        ],
        caption=f"Measured here, on the {results.part}; n counts rows for AUC, users for UAUC",
        empty="Nothing was measured.",
        height=560,
    )
    note = published["note"]
    if results.split != published["split"]:
        note += f" Ours are on the {results.part}: other rows, so the two do not compare directly."
    return section("Published figures", note, beside(ours, theirs, style="ckf-results"))


def errors_markup(
    results: Results,
    task: str,
    titles: Mapping[str, str],
    served: bool,
    pair: Pair | None = None,
    thing: str = "item",
) -> str:
    """The rows in which the checkpoint's own method was most wrong, worst first (HTML).

    ``titles`` maps items to their titles. If the data set is the page's own, ``served``, a row can
    be chosen, and the row of the page's ``pair`` is marked. ``thing`` is the data's word for an
    item.
    """
    rows = sorted(
        (row for row in results.errors if row.task == task),
        key=lambda row: -abs(row.score - row.label),
    )
    if not rows:
        return ""

    def answer(score: float | None) -> Cell:
        return cell(score, percent) if task == "ctr" else stars_cell(score, number)

    def truth(row: WrongRow) -> Cell:
        if task == "ctr":
            return Cell("liked" if row.label else "not liked", row.label)
        return stars_cell(row.label)

    worst = table_of(
        rows,
        [
            ("User", attrgetter("user")),
            (
                Column(thing.capitalize(), pick=served, wide=True),
                lambda row: titles.get(row.item, row.item),
            ),
            ("Truth", truth),
            ("Prediction", lambda row: answer(row.score)),
            ("Collaborative signal alone", lambda row: answer(row.prior)),
        ],
        pick=lambda row: urlencode({"user": row.user, "item": row.item}) if served else None,
        selected=lambda row: pair is not None and (row.user, row.item) == (pair.user, pair.item),
        caption=f"Largest errors of {results.own or 'the checkpoint'}; n = {len(rows)} rows",
    )
    about = f"{results.dataset}, {results.part}, everything. At most one row of each user."
    if served:
        about += (
            " Select a row to look at it on the other tabs. They ask at the user’s default moment, "
            "with another history than the row’s own, so their numbers can differ."
        )
    return section("Where it was most wrong", about, worst)


class ResultsTab:
    """Builds the tab's components in the current Blocks context and shows figures in them."""

    def __init__(self, recommender) -> None:
        self.store, self._thing = recommender.store, recommender.domain.thing
        self._results, problems = read_all(recommender.checkpoint)
        self._published = read_published()
        self._titles = {
            film["item"]: film_text(film) for film in self.store.items().to_dict("records")
        }
        lead(
            "What was measured, each figure with its 95 % interval (bootstrap over users, for "
            "sentences over sentences) and with n, the number of cases it rests on. Every method "
            "was given the same rows and the same histories."
        )
        panel("".join(notice(text, "problem") for text in problems), elem_id="results-problems")
        source = next(iter(self._results), None)
        results = self._results.get(source)
        view = _nearest(results) if results else None
        with gr.Row(elem_classes="ckf-controls", visible=bool(self._results)):
            self.source = dropdown(
                "results-source", "Measured on", _labels(self._results), 220, scale=2
            )
            self.task, self.metric, self.group = (
                gr.Dropdown(**options, label=name.title(), min_width=130, elem_id=f"results-{name}")
                for name, options in zip(
                    ("task", "metric", "group"), _choices(results, view), strict=True
                )
            )
        figures = self._figures(results, view) if results else ""
        self.figures = plot_panel(figures, elem_id="measured")
        errors = self._errors(results, view.task) if results else ""
        self.errors = panel(errors, elem_id="worst-errors")
        self.controls = [self.source, self.task, self.metric, self.group]
        # Results and task on the screen: the controls may already hold the next choice.
        self.shown = gr.State((source, view.task) if results else None)

    def wire(self, page: Page) -> None:
        """Show what is chosen, and let a row of the errors choose its pair."""
        page.chooses("pair", self.errors, self.choose)
        gr.on(
            [control.input for control in self.controls],
            self.show,
            [page.pair, *self.controls],
            [*self.controls[1:], self.figures, self.errors, self.shown],
            trigger_mode="always_last",
            # A dropdown reports a choice twice, the second time with the metric of before, which
            # the first may have taken off the list; `show` takes the nearest.
            preprocess=False,
            **QUIET,
        )
        page.show(self.errors, self.reselect, self.shown)

    def show(self, pair: Pair, source: str, task: str, metric: str, group: str) -> dict:
        """Show what was chosen; where it was not measured, the nearest that was."""
        if source not in self._results:
            source = next(iter(self._results))
        results = self._results[source]
        view = _nearest(results, task, metric, group)
        choices = (gr.update(**options) for options in _choices(results, view))
        return {
            **dict(zip(self.controls[1:], choices, strict=True)),
            self.figures: self._figures(results, view),
            self.errors: self._errors(results, view.task, pair),
            self.shown: (source, view.task),
        }

    def reselect(self, pair: Pair, shown: tuple[str, str] | None) -> str:
        """The same errors with the pair's row marked."""
        return "" if shown is None else self._errors(self._results[shown[0]], shown[1], pair)

    def choose(self, current: Pair, event: gr.EventData) -> Pair:
        """The user and the item of the chosen error."""
        try:
            chosen = from_query(self.store, dict(parse_qsl(event.pick)), current)
            return replace(chosen, method=current.method)
        except UserError as error:
            warn(error)
            return current

    def _figures(self, results: Results, view: View) -> str:
        differences = "".join(differences_markup(results, view, kind) for kind in COMPARISONS)
        published = published_markup(results, view, self._published.get(results.dataset))
        levels = levels_markup(results, view) + settings_markup(results, view)
        groups = groups_markup(results, view) + sentences_markup(results, view)
        return levels + groups + differences + published

    def _errors(self, results: Results, task: str, pair: Pair | None = None) -> str:
        served = results.dataset == self.store.dataset
        titles = self._titles if served else {}
        return errors_markup(results, task, titles, served, pair, self._thing)


def _labels(results: dict[str, Results]) -> list[tuple[str, str]]:
    """Names of the results, with the checkpoint's where two share data set and part."""
    names = {}
    for source, each in results.items():
        kind = source.partition(": ")[2]
        names[source] = f"{each.dataset}, {each.part}" + (f": {kind}" if kind else "")
    shared = Counter(names.values())
    return [
        (f"{name} ({folder})" if shared[name] > 1 else name, folder)
        for folder, name in names.items()
    ]


def _nearest(results: Results, task: str = "", metric: str = "", group: str = "") -> View:
    """The wanted view, with the first choice wherever the wanted one was not measured."""

    def among(measured: list[str], wanted: str) -> str:
        return wanted if wanted in measured else next(iter(measured), "")

    task = among(results.tasks(), task)
    metric = among(results.metrics(task), metric)
    return View(task, metric, among(results.groups(task, metric), group))


def _choices(results: Results | None, view: View | None) -> list[dict]:
    """Choices and value of the controls for task, metric and group."""
    if results is None or view is None:
        return [{"choices": []}] * 3
    return [
        {"choices": [(labels.get(name, name), name) for name in names], "value": value}
        for names, labels, value in (
            (results.tasks(), TASKS, view.task),
            (results.metrics(view.task), METRICS, view.metric),
            (results.groups(view.task, view.metric), GROUP_LABELS, view.group),
        )
    ]
