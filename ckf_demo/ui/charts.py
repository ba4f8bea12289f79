"""Charts, the tables behind them, and how figures are written.

Plotly draws line and dot plots from JSON in the panel (``assets/app.js``); bars and points in lanes
are positioned HTML. Each chart says in words what it shows.
"""

import html
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import plotly

from ckf_demo.ui.markup import (
    TABLE_SCRIPT,
    Cell,
    Column,
    Row,
    escape,
    panel,
    percent,
    stars_text,
    table,
)

PLOTLY_SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_HEAD = f'<script src="gradio_api/file={PLOTLY_SCRIPT.as_posix()}"></script>'
PLOTS_SCRIPT = f"{TABLE_SCRIPT}; watch('value', window.ckf.plots(element));"

# Marks in legends and lanes: the shape tells them apart first, the colour second.
DIAMOND = '<path d="M8 2 L14 8 L8 14 L2 8 Z" class="ckf-fill"/>'
DOT = '<circle cx="8" cy="8" r="4.5" class="ckf-other"/>'
RING = '<circle cx="8" cy="8" r="4.5" class="ckf-open"/>'
DISC = '<circle cx="8" cy="8" r="6" class="ckf-fill"/>'
SQUARE = '<rect x="3" y="3" width="10" height="10" class="ckf-open"/>'

NONE = Cell("–", "")
"""The cell of a value that does not exist."""


def plot_panel(value: str = "", **options) -> gr.HTML:
    """A panel for line and dot plots.

    It loads Plotly itself: the panel of another tab may not be mounted yet.
    """
    gr.set_static_paths([PLOTLY_SCRIPT])
    return panel(value, js_on_load=PLOTS_SCRIPT, head=PLOTLY_HEAD, **options)


# --- figures ------------------------------------------------------------------------------------


def number(value: float, decimals: int = 2) -> str:
    """A figure with a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int = 2) -> str:
    """A change with its sign; a change that rounds to zero has none."""
    text = number(abs(value), decimals)
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def percentage_points(value: float) -> str:
    """A change of a probability in percentage points."""
    return f"{signed(100 * value, 1)} pts"


def estimate(
    value: float,
    low: float | None,
    high: float | None,
    written: Callable[[float], str] = number,
) -> str:
    """A value with its interval, "60 % (40–77 %)"; the value alone where it has none."""
    if low is None or high is None:
        return written(value)
    return f"{written(value)} ({written(low).removesuffix(' %')}–{written(high)})"


def count(n: int, thing: str) -> str:
    """A number of things: "1 row", "1,200 rows"."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def interval(low: float | None, high: float | None, written: Callable[[float], str]) -> str:
    """A 95 % interval, "[0.66, 0.71]"; says so where there is none."""
    if low is None or high is None:
        return "no interval"
    return f"[{written(low)}, {written(high)}]"


def cell(value: float | None, written: Callable[[float], str] = number) -> Cell:
    """A figure that is sorted by its value; a dash where there is none."""
    return NONE if value is None else Cell(escape(written(value)), value)


def stars_cell(rating: float | None, written: Callable[[float], str] = stars_text) -> Cell:
    """A number of stars."""
    return NONE if rating is None else Cell(f"{written(rating)}&nbsp;★", rating)


def two_lines(first: str, second: str, order: str | float) -> Cell:
    """A text with a smaller one below it, sorted by ``order``."""
    return Cell(f'{escape(first)} <span class="ckf-below">{escape(second)}</span>', order)


# --- texts and tables ---------------------------------------------------------------------------


def facts(text: str, **attributes: str) -> str:
    """A paragraph of facts in small type (HTML)."""
    others = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f'<p class="ckf-facts"{others}>{escape(text)}</p>'


def card(heading: str, *parts: str, style: str = "ckf-card") -> str:
    """A section with a heading (HTML)."""
    return f'<section class="{style}"><h3>{escape(heading)}</h3>{"".join(parts)}</section>'


def section(heading: str, about: str, *parts: str) -> str:
    """A section with a heading and a paragraph of facts above its parts (HTML)."""
    return f"<section><h3>{escape(heading)}</h3>{facts(about)}{''.join(parts)}</section>"


def beside(*parts: str, style: str = "ckf-beside") -> str:
    """Parts side by side where the page is wide enough (HTML)."""
    columns = "".join(f"<div>{part}</div>" for part in parts)
    return f'<div class="{style}">{columns}</div>'


def listing(
    columns: Sequence[Column | str],
    rows: Iterable[Row | Sequence[object]],
    *,
    empty: str = "",
    **options: Any,
) -> str:
    """A table as `table` makes it, from shorter arguments.

    A column given by its label alone holds figures. A row given by its cells alone cannot be
    chosen.
    """
    return table(
        [Column(each, numeric=True) if isinstance(each, str) else each for each in columns],
        [row if isinstance(row, Row) else Row(pick=None, cells=row) for row in rows],
        empty=empty,
        **options,
    )


def table_of(
    rows: Iterable,
    columns: Sequence[tuple[Column | str, Callable[[Any], object]]],
    *,
    pick: Callable[[Any], str | None] = lambda row: None,
    anchor: Callable[[Any], str | None] = lambda row: None,
    selected: Callable[[Any], bool] = lambda row: False,
    **options: Any,
) -> str:
    """A table with a line for each of ``rows``, as `listing` makes it.

    Each column comes with the function that makes a row's cell. ``pick``, ``anchor`` and
    ``selected`` make the fields of `Row`.
    """
    lines = [
        Row(pick(row), [make(row) for _, make in columns], anchor(row), selected(row))
        for row in rows
    ]
    return listing([column for column, _ in columns], lines, **options)


def mark(shape: str) -> str:
    """A mark of a legend or a lane (HTML)."""
    return (
        '<svg class="ckf-mark" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        f"{shape}</svg>"
    )


def legend(*entries: tuple[str, str]) -> str:
    """Marks with what they stand for (HTML)."""
    shown = "".join(f"<li>{mark(shape)}{escape(text)}</li>" for shape, text in entries)
    return f'<ul class="ckf-legend">{shown}</ul>'


# --- bars and points in lanes -------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from ``low`` to ``high``, divided into ``parts`` equal parts by ticks."""

    low: float
    high: float
    written: Callable[[float], str] = number
    parts: int = 4

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the axis; values beyond it lie at its ends."""
        within = min(max(value, self.low), self.high)
        return 100 * (within - self.low) / (self.high - self.low)

    def lanes(self, lanes: Iterable[str], style: str, end: str = "") -> str:
        """Lanes above the ticks (HTML); ``end`` fills the column behind the lanes, if any."""
        step = (self.high - self.low) / self.parts
        ticks = [self.low + step * part for part in range(self.parts + 1)]
        scale = "".join(
            f'<span class="ckf-tick" style="left:{self.place(value):.2f}%">'
            f"{escape(self.written(value))}</span>"
            for value in ticks
        )
        return (
            f'<div class="{style}" aria-hidden="true">{"".join(lanes)}<span></span>'
            f'<span class="ckf-lane ckf-scale">{scale}</span>{end}</div>'
        )


STARS = Axis(1, 5, "{:.0f}".format)
PROBABILITY = Axis(0, 1, percent)


@dataclass(frozen=True)
class Bar:
    """A bar from the chart's base to ``value``, with an interval where there is one."""

    label: str
    value: float
    text: str
    strong: bool = False
    low: float | None = None
    high: float | None = None


def bars(entries: Iterable[Bar], axis: Axis, base: float, about: str) -> str:
    """Horizontal bars (HTML); ``about`` says in words what they show."""
    start = axis.place(base)

    def lane(bar: Bar) -> str:
        left, right = sorted((start, axis.place(bar.value)))
        side = "ckf-more" if bar.value >= base else "ckf-less"
        strong = " ckf-strong" if bar.strong else ""
        interval = ""
        if bar.low is not None and bar.high is not None and bar.low < bar.high:
            interval = (
                f'<span class="ckf-interval" style="left:{axis.place(bar.low):.2f}%;'
                f'right:{100 - axis.place(bar.high):.2f}%"></span>'
            )
        return (
            f'<span class="ckf-lane-name{strong}" title="{escape(bar.label)}">'
            f"{escape(bar.label)}</span>"
            f'<span class="ckf-lane"><span class="ckf-base" style="left:{start:.2f}%"></span>'
            f'<span class="ckf-bar-of {side}{strong}" style="left:{left:.2f}%;'
            f'width:{right - left:.2f}%"></span>{interval}</span>'
            f'<span class="ckf-bar-value{strong}">{escape(bar.text)}</span>'
        )

    chart = axis.lanes(map(lane, entries), "ckf-lanes ckf-bars-of", "<span></span>")
    return f'<div role="img" aria-label="{escape(about)}">{chart}</div>'


def change_bars(
    changes: Iterable[tuple[str, float]], written: Callable[[float], str], about: str
) -> str:
    """Bars of changes, (label, change), to both sides of a line at zero (HTML)."""
    entries = [Bar(label, change, written(change)) for label, change in changes]
    most = max((abs(entry.value) for entry in entries), default=0.0) or 1.0
    axis = Axis(-most, most, lambda value: written(value) if value else "0", 2)
    return bars(entries, axis, 0.0, about)


def points(
    lanes: Iterable[tuple[str, Sequence[float | None]]],
    marks: Sequence[tuple[str, str]],
    axis: Axis,
    written: Callable[[float], str],
) -> str:
    """A lane per label with a point per value (HTML).

    ``marks`` are shape and name of each value; the legend shows them where there are several.
    """
    drawn = []
    for label, values in lanes:
        shown = "".join(
            f'<span class="ckf-point" style="left:{axis.place(value):.2f}%" '
            f'title="{escape(f"{label}, {name}: {written(value)}")}">{mark(shape)}</span>'
            for (shape, name), value in zip(marks, values, strict=True)
            if value is not None
        )
        drawn.append(
            f'<span class="ckf-lane-name">{escape(label)}</span>'
            f'<span class="ckf-lane"><span class="ckf-track"></span>{shown}</span>'
        )
    return (legend(*marks) if len(marks) > 1 else "") + axis.lanes(drawn, "ckf-lanes")


# --- plots that Plotly draws --------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A point of a line or a dot plot: ``hover`` is trusted HTML."""

    x: float
    y: float
    hover: str
    low: float | None = None
    high: float | None = None


def hover(name: str, *lines: str) -> str:
    """A hover text: a name in bold above lines of text. Plotly reads a few tags in its texts."""
    return "<br>".join(
        [f"<b>{html.escape(name, quote=False)}</b>", *(html.escape(t, quote=False) for t in lines)]
    )


def series(place: int, name: str, points: Iterable[Point], *, hollow: bool = False) -> dict:
    """A line of a line plot; ``place`` chooses its colour, symbol and dash."""
    return {
        "name": name,
        "style": min(place, 2),
        "open": hollow,
        "points": [[p.x, p.y, p.low, p.high, p.hover] for p in points],
    }


def line_plot(lines: Sequence[dict], *, x: str, y: str, ticks: Sequence[int], **options) -> str:
    """A line plot (HTML) of lines as `series` makes them; ``x`` and ``y`` say what the axes show.

    Options are ``ticktext``, ``percent``, ``zero`` (the axis begins there), ``k`` (a vertical
    line), ``truth`` (height and text of a horizontal line), ``notes`` (``x``, ``y``, ``text``) and
    ``categories`` (x has no order: no lines between the points).
    """
    drawn = {"x": x, "y": y, "ticks": list(ticks), "series": list(lines), **options}
    return _drawn("lines", f"{y} against {x}; the table with it holds the same numbers", drawn)


def _drawn(kind: str, label: str, data: dict) -> str:
    return (
        f'<div class="ckf-{kind}" role="img" aria-label="{escape(label)}" '
        f'data-{kind}="{escape(json.dumps(data))}"></div>'
    )


def dot(label: str, style: str, value: float, low: float | None, high: float | None, note: str):
    """A row of a dot plot; ``style`` is one of ``DOTS`` in ``assets/app.js``."""
    return {
        "label": html.escape(label, quote=False),
        "value": value,
        "low": low,
        "high": high,
        "mark": style,
        "hover": hover(label, *note.split("\n")),
    }


def dot_plot(rows: Sequence[dict], axis: str, summary: str, *, zero: bool = False) -> str:
    """A dot plot with 95 % intervals (HTML); ``zero`` draws a line there."""
    label = f"Dot plot with 95 % intervals. {summary} The table holds the same numbers."
    return _drawn("dots", label, {"rows": list(rows), "axis": axis, "zero": zero})
