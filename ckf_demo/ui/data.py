"""The Data tab: ready-made analyses of the data set and free queries, with a table, a plot where
the result suits one, and the result as a file. No model is asked."""

import csv
import html
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from plotly.graph_objects import Bar, Scatter
from plotly.subplots import make_subplots

from ckf_demo.data.analyses import Analysis
from ckf_demo.data.free_sql import MAX_SQL, QueryResult, Table
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import beside, count, facts, listing, number, plot_panel
from ckf_demo.ui.controls import dropdown, lead
from ckf_demo.ui.events import DATA_QUEUE, PRIVATE, QUIET
from ckf_demo.ui.markup import Cell, Column, escape, notice, panel, plain_table
from ckf_demo.ui.page import Page

MAX_PLOTS = 4
MAX_BARS = 60
MAX_BESIDE = 3  # columns of a table that has room beside its plot
MAX_SHOWN = 200  # characters of a cell
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
TIMES = ("DATE", "TIMESTAMP")
EMPTY = (
    "Nothing was asked yet. Run the query above, choose another analysis, or write a SELECT "
    "statement of your own; the tables are listed with their columns."
)


def _is(kind: str, names: Sequence[str]) -> bool:
    # "DECIMAL(5,2)" is a number, "INTEGER[]" a list.
    return kind.removeprefix("U").split("(")[0].split(" ")[0] in names


def _ordered(result: QueryResult) -> bool:
    """Whether the first column holds numbers or times, so that lines join the values over it."""
    return _is(result.types[0], NUMBERS + TIMES)


def plotted(result: QueryResult) -> list[int]:
    """The columns that are drawn over the first one, at most `MAX_PLOTS`; none where it suits none.

    It suits when the first column names each row once: a category with few enough values for bars,
    or a number or a time for a line.
    """
    names = [row[0] for row in result.rows]
    if (
        len(names) < 2
        or any(isinstance(name, list | dict) or name is None for name in names)
        or len(set(names)) < len(names)
        or not (_ordered(result) or len(names) <= MAX_BARS)
    ):
        return []
    numbers = [place for place, kind in enumerate(result.types) if place and _is(kind, NUMBERS)]
    return numbers[:MAX_PLOTS]


def figure(result: QueryResult, places: Sequence[int]) -> str:
    """A small plot per column, one below the other over a common axis, as Plotly's JSON.

    Columns of one result rarely share a unit, so each has an axis of its own.
    """
    names = [html.escape(name, quote=False) for name in result.columns]
    plots = make_subplots(
        rows=len(places),
        shared_xaxes=True,
        subplot_titles=[names[place] for place in places],
        vertical_spacing=0.14 / len(places) if len(places) > 1 else 0,
    )
    lines = _ordered(result)
    rows = sorted(result.rows, key=lambda row: row[0]) if lines else result.rows
    x = [row[0] if lines else html.escape(str(row[0]), quote=False) for row in rows]
    for row, place in enumerate(places, start=1):
        hover = f"%{{x}}<br>{names[place]}: %{{y}}<extra></extra>"
        options = {"x": x, "y": [values[place] for values in rows], "hovertemplate": hover}
        trace = (
            Scatter(mode="lines+markers", marker={"size": 5 if len(x) <= 60 else 2}, **options)
            if lines
            else Bar(**options)
        )
        plots.add_trace(trace, row=row, col=1)
    axis = {
        "automargin": True,
        "fixedrange": True,
        "gridcolor": "rgba(128, 128, 128, 0.22)",
        "zeroline": False,
    }
    plots.update_layout(
        template=None,
        height=70 + (250 if len(places) == 1 else 180) * len(places),
        margin={"l": 8, "r": 14, "t": 28, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hoverlabel={"align": "left"},
        dragmode=False,
        bargap=0.25,
    )
    kind = {"type": "-", "nticks": 12}
    if not lines:
        kind = {"type": "category", "nticks": 0, "showgrid": False}
    plots.update_xaxes(**axis, **kind)
    plots.update_xaxes(title=names[0], row=len(places), col=1)
    plots.update_yaxes(**axis, nticks=6)
    plots.update_annotations(x=0, xanchor="left", font={"size": 12})
    return plots.to_json()


def _decimals(values: Sequence[object]) -> int:
    """How many decimals a column's numbers need, at most four."""
    written = (f"{value:.4f}".rstrip("0") for value in values if isinstance(value, float))
    return max((len(text.partition(".")[2]) for text in written), default=0)


def _cell(value: object, decimals: int) -> Cell:
    if value is None:
        return Cell("–", "")
    if isinstance(value, float):
        return Cell(number(value, decimals), value)
    text = str(_flat(value))
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        text = ", ".join(value)
    cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return Cell(escape(cut), cut if isinstance(value, str | list | dict) else value)


def result_markup(result: QueryResult) -> str:
    """Row count and time, whether it was cut, the plot where there is one, and the table (HTML)."""
    n = len(result.rows)
    about = facts(f"{count(n, 'row')} in {result.seconds:.2f} s")
    if result.truncated:
        about += notice(
            f"Truncated at {n:,} rows: the result has more, and the table, the plot and the file "
            "hold these alone. Group, filter with WHERE, or order it so that the first ones matter."
        )
    decimals = [_decimals(values) for values in zip(*result.rows, strict=True)]
    rows = listing(
        [
            Column(name, numeric=_is(kind, NUMBERS + TIMES))
            for name, kind in zip(result.columns, result.types, strict=True)
        ],
        [list(map(_cell, row, decimals)) for row in result.rows],
        caption=f"Result: {n:,} × {len(result.columns)}; select a column’s name to sort",
        empty="No row meets this query; loosen its conditions.",
        height=560,
    )
    places = plotted(result)
    if not places:
        return about + rows
    names = ", ".join(result.columns[place] for place in places)
    label = f"{names} by {result.columns[0]}. The table holds the same numbers."
    plot = (
        f'<div class="ckf-dots" role="img" aria-label="{escape(label)}" '
        f'data-figure="{escape(figure(result, places))}"></div>'
    )
    return about + (plot + rows if len(result.columns) > MAX_BESIDE else beside(plot, rows))


def problem_markup(error: UserError) -> str:
    """What is wrong with a query (HTML); DuckDB points at the place under a copy of the line."""
    first, _, rest = str(error).partition("\n")
    pointer = f'<pre class="ckf-prompt">{escape(rest.strip(chr(10)))}</pre>' if rest.strip() else ""
    return notice(first, "problem") + pointer


def schema_markup(tables: Sequence[Table]) -> str:
    """Every table with its columns, folded but for the first (HTML)."""
    return "".join(
        f"<details{' open' if place == 0 else ''} style='margin-bottom:0.4rem'>"
        f'<summary><strong>{escape(each.name)}</strong> <span class="ckf-facts">'
        f"{count(each.n_rows, 'row')}</span></summary>"
        f"{plain_table(['Column', 'Type'], each.columns, f'Columns of {each.name}')}"
        f"{facts(each.about) if each.about else ''}</details>"
        for place, each in enumerate(tables)
    )


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets take for a formula."""


def write_csv(result: QueryResult, path: Path) -> None:
    """The result as CSV in UTF-8, with a line of names; nested values as JSON, None as nothing.

    A text that a spreadsheet would take for a formula has an apostrophe before it, also as a name.
    """
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(map(_saved, row) for row in (result.columns, *result.rows))


def _saved(value: object) -> object:
    flat = _flat(value)
    return f"'{flat}" if isinstance(flat, str) and flat.startswith(FORMULA) else flat


def _flat(value: object) -> object:
    """A nested value as JSON, any other as it is."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


class DataTab:
    """Builds the tab's components in the current Blocks context and answers queries in them."""

    def __init__(self, recommender) -> None:
        self.store = recommender.store
        self._analyses = {each.title: each for each in self.store.analyses()}
        first = next(iter(self._analyses.values()))
        # Removed when the program ends, with every file that is left.
        self._folder = tempfile.TemporaryDirectory(prefix="ckf-data-")
        lead(
            f"The data set itself ({escape(self.store.dataset)}), in SQL. Choose an analysis "
            "and change it, or write your own; queries only read."
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                titles = list(self._analyses)
                self.analysis = dropdown("data-analysis", "Ready-made analysis", titles)
                self.about = panel(facts(first.about), elem_id="data-about")
                self.sql = gr.Textbox(
                    first.sql,
                    label="SQL (Ctrl+Enter runs it)",
                    placeholder="SELECT title, count(*) AS n FROM ratings GROUP BY title",
                    lines=10,
                    max_lines=16,
                    max_length=MAX_SQL,
                    html_attributes=gr.InputHTMLAttributes(
                        spellcheck=False, autocapitalize="off", autocorrect="off"
                    ),
                    elem_id="data-sql",
                )
                with gr.Row(elem_classes="ckf-buttons"):
                    self.run = gr.Button("Run", variant="primary", size="sm", elem_id="data-run")
                    self.download = gr.DownloadButton(
                        "Download as CSV", interactive=False, size="sm", elem_id="data-download"
                    )
            with gr.Column(scale=2, min_width=260):
                panel(
                    schema_markup(self.store.schema()),
                    js_on_load="window.ckf.foldOnPhone(element)",
                    elem_id="data-schema",
                )
        self.chosen = gr.State(first.title)
        # Queries that were typed, kept when an analysis is chosen instead of them.
        self.typed = gr.State(())
        self.result = plot_panel(notice(EMPTY), elem_id="data-result")
        self.file = gr.State(None, delete_callback=_remove)

    def wire(self, page: Page) -> None:
        """Show the analyses that are chosen, and answer queries."""
        # `select` comes of clicks alone; `input` also of the keyboard, and whenever the list loses
        # the focus without a choice. The list may have grown since the page was built.
        queries = [self.sql, self.typed, self.file]
        answer = [self.result, self.download, self.file]
        shown = [self.analysis, self.chosen, self.about, self.sql, self.typed, *answer]
        options = {"outputs": shown, "preprocess": False, **QUIET}
        self.analysis.select(self.choose, [self.analysis, *queries], **options)
        self.analysis.input(self.leave_list, [self.analysis, self.chosen, *queries], **options)
        gr.on(
            [self.run.click, self.sql.submit],
            self.answer,
            [self.sql, self.file],
            answer,
            show_progress_on=self.result,
            trigger_mode="once",
            **PRIVATE,
            **DATA_QUEUE,
        )

    def choose(self, title: str, sql: str, typed: tuple[str, ...], file: str | None) -> dict:
        """Show an analysis and its SQL; the result before it, which answers another, goes.

        A query that stands in the box and was typed is kept: it joins the list as "Own query 1"
        and so on, from where it can be chosen again.
        """
        ready_made = {each.sql for each in self._analyses.values()}
        if sql.strip() and sql not in ready_made and sql not in typed:
            typed = (*typed, sql)
        analyses = dict(self._analyses)
        for place, text in enumerate(typed, start=1):
            name = f"Own query {place}"
            analyses[name] = Analysis(name, "A query that you typed before.", text)
        chosen = analyses[title]
        return {
            self.analysis: gr.update(choices=list(analyses), value=title),
            self.chosen: title,
            self.about: facts(chosen.about),
            self.sql: chosen.sql,
            self.typed: typed,
            **self._without_file(notice(EMPTY), file),
        }

    def leave_list(self, title: str, chosen: str, *queries) -> dict:
        """What was chosen by keyboard, if it is another analysis than the one that is shown."""
        return {self.chosen: gr.skip()} if title == chosen else self.choose(title, *queries)

    def answer(self, sql: str, file: str | None) -> dict:
        """Run a query; ``file`` is the session's result before, which is removed."""
        try:
            result = self.store.query(sql)
        except UserError as error:
            return self._without_file(problem_markup(error), file)
        _remove(file)
        path = Path(tempfile.mkdtemp(dir=self._folder.name)) / f"{self.store.dataset}-query.csv"
        write_csv(result, path)
        return {
            self.result: result_markup(result),
            self.download: gr.update(interactive=True, value=str(path)),
            self.file: str(path),
        }

    def _without_file(self, shown: str, file: str | None) -> dict:
        _remove(file)
        return {
            self.result: shown,
            self.download: gr.update(interactive=False, value=None),
            self.file: None,
        }


def _remove(file: str | None) -> None:
    """Remove a result's file and the folder made for it."""
    if file:
        shutil.rmtree(Path(file).parent, ignore_errors=True)
