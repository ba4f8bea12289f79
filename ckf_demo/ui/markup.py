"""HTML building blocks shared by all tabs. Everything that comes from data or from a person is
escaped here, in one place; the styles are in ``assets/style.css``."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import gradio as gr
import pandas as pd

# Every table and list reports its clicks through one handler (assets/app.js), which sends the
# row's own id: it stays right however the rows are sorted.
TABLE_SCRIPT = "window.ckf.table(element, (data) => trigger('select', data))"


def escape(text: object) -> str:
    """``text`` as HTML text or a quoted attribute value."""
    return html.escape(str(text), quote=True)


def panel(value: str = "", **options) -> gr.HTML:
    """An HTML component in the app's own styles; its rows and buttons raise ``select`` events."""
    options.setdefault("js_on_load", TABLE_SCRIPT)
    return gr.HTML(value, apply_default_css=False, padding=False, **options)


def date_text(timestamp: int) -> str:
    """A Unix time as "22 April 1998" (UTC)."""
    moment = datetime.fromtimestamp(int(timestamp), tz=UTC)
    return f"{moment.day} {moment:%B %Y}"


def present(value: object) -> bool:
    """Whether a field of the store holds something (None, NaN, NA and "" do not)."""
    return value is not None and value is not pd.NA and value != "" and value == value


def year_text(year: object) -> str:
    """The year, or nothing where it is unknown."""
    return str(int(year)) if present(year) and int(year) else ""


def film_text(film: dict) -> str:
    """ "Vertigo (1958)", the title alone where the year is unknown, or "No. 11821", its id, where
    it has no title. Not escaped."""
    if not film["title"]:
        return f"No. {film['item']}"
    year = year_text(film.get("year"))
    return f"{film['title']} ({year})" if year else film["title"]


def directed_text(directors: Sequence[str]) -> str:
    """ "directed by Ann Lee and Bo Ray", of more than three only the first, or nothing where no
    director is known. Not escaped."""
    if not directors:
        return ""
    if len(directors) > 3:
        directors = (directors[0], f"{len(directors) - 1} others")
    *first, last = directors
    return f"directed by {' and '.join(filter(None, (', '.join(first), last)))}"


def percent(probability: float) -> str:
    """A probability without decimals."""
    return f"{100 * probability:.0f} %"


def stars_text(rating: float) -> str:
    """A rating somebody gave, without needless decimals."""
    return f"{rating:g}"


def notice(text: str, kind: str = "info") -> str:
    """A message in place; ``kind`` is "info" or "problem"."""
    return f'<p class="ckf-notice ckf-{kind}" role="status">{escape(text)}</p>'


def warn(error: Exception) -> str:
    """Show an error of the user's as a passing message and return it as one that stays."""
    gr.Warning(escape(error))
    return notice(str(error), "problem")


@dataclass(frozen=True)
class Column:
    """A table's column; the ``pick`` column holds the button that chooses the row.

    A column that is not ``shown`` is left out with its cells.
    """

    label: str
    numeric: bool = False
    pick: bool = False
    wide: bool = False
    shown: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell that is sorted by something else than what it shows; ``markup`` is trusted HTML."""

    markup: str
    sort: float | str


def name_cell(film: dict, note: str = "") -> Cell:
    """A name as a table's cell, with a note below it where there is one."""
    name = film_text(film)
    below = f'<span class="ckf-below">{escape(note)}</span>' if note else ""
    return Cell(f"{escape(name)}{below}", name)


@dataclass(frozen=True)
class Row:
    """A table's row: its id (sent when it is chosen; None where there is nothing to choose), and
    one value per column."""

    pick: str | None
    cells: Sequence[object]
    anchor: str | None = None
    selected: bool = False


def table(
    columns: Sequence[Column], rows: Iterable[Row], *, caption: str, empty: str, height: int = 420
) -> str:
    """A sortable table that scrolls in its own box.

    ``caption`` names it for screen readers, ``empty`` says what to do when there are no rows, and
    ``height`` limits the box, in pixels.
    """
    rows = list(rows)
    if not rows:
        return notice(empty)
    head = "".join(
        f'<th scope="col"{_classes(column)}><button type="button" class="ckf-sort">'
        f"{escape(column.label)}</button></th>"
        for column in columns
        if column.shown
    )
    body = "".join(_row(columns, row) for row in rows)
    return (
        f'<div class="ckf-scroll" style="max-height:{height}px" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table class="ckf-table"><caption>{escape(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _classes(column: Column) -> str:
    names = [name for name, on in (("ckf-number", column.numeric), ("ckf-wide", column.wide)) if on]
    return f' class="{" ".join(names)}"' if names else ""


def _row(columns: Sequence[Column], row: Row) -> str:
    cells = []
    for column, value in zip(columns, row.cells, strict=True):
        if not column.shown:
            continue
        cell = "" if value is None else value
        if isinstance(cell, Cell):
            shown, order = cell.markup, cell.sort
        else:
            shown, order = f"{cell:.2f}" if isinstance(cell, float) else escape(cell), cell
        if column.pick:
            pressed = ' aria-current="true"' if row.selected else ""
            shown = f'<button type="button" class="ckf-pick"{pressed}>{shown}</button>'
        cells.append(f'<td{_classes(column)} data-sort="{escape(order)}">{shown}</td>')
    anchor = f' id="{escape(row.anchor)}"' if row.anchor else ""
    selected = ' class="ckf-selected"' if row.selected else ""
    pick = f' data-pick="{escape(row.pick)}"' if row.pick is not None else ""
    return f"<tr{anchor}{selected}{pick}>{''.join(cells)}</tr>"


def plain_table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> str:
    """A small table of figures without choices: the one that stands beside every plot."""
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in header)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f'<td class="ckf-number">{escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="ckf-scroll"><table class="ckf-table ckf-plain"><caption>{escape(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def star_picker(item: str, title: str, rating: float | None) -> str:
    """Five buttons that give a film its stars; half of one is lit where a rating has a half."""
    given = rating or 0.0
    buttons = "".join(
        f'<button type="button" class="ckf-star{" ckf-half" * (stars - given == 0.5)}" '
        f'data-pick="{escape(item)}" data-rating="{stars}" '
        f'aria-pressed="{"true" if stars <= given else "false"}" '
        f'aria-label="{escape(f"Give {title} {stars} of 5")}">★</button>'
        for stars in range(1, 6)
    )
    said = f' aria-label="{given:g} of 5 stars"' if given else ""
    return f'<span class="ckf-stars" role="group"{said}>{buttons}</span>'


def spread(distribution: dict[str, float]) -> tuple[float, float]:
    """Expectation and standard deviation of a distribution over ratings."""
    mean = sum(float(rating) * p for rating, p in distribution.items())
    variance = sum((float(rating) - mean) ** 2 * p for rating, p in distribution.items())
    return mean, math.sqrt(max(variance, 0.0))
