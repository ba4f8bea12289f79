"""A metric in every group of a kind: sentences by what they ask for, histories by length."""

from functools import partial

from ckf_demo.metrics.protocol import truncation_name
from ckf_demo.ui.charts import (
    NONE,
    Point,
    beside,
    hover,
    interval,
    line_plot,
    number,
    section,
    series,
    table_of,
    two_lines,
)
from ckf_demo.ui.markup import Cell, Column, escape
from ckf_demo.ui.stored_results import (
    EVERYTHING,
    GROUP_LABELS,
    VALUE,
    Measured,
    Results,
    View,
)

SHORT = partial(number, decimals=3)
SHOWN_RATINGS = truncation_name(0).removesuffix("0")
"""Begins the groups of answers that were asked with the last k ratings shown."""
OTHERS = 5
"""Methods that are drawn beside the own one."""


def groups_markup(results: Results, view: View) -> str:
    """The chosen metric by kind of sentence or by shown ratings: a plot and its table (HTML).

    Where no sentences were measured, these are the groups with cut histories. Empty with fewer
    than two groups.
    """
    measured = [row for row in results.rows if (row.task, row.metric) == (view.task, view.metric)]
    groups = [g for g in dict.fromkeys(row.group for row in measured) if g != EVERYTHING]
    if not results.sentences:
        groups = [g for g in groups if g.startswith(SHOWN_RATINGS)]
    if len(groups) < 2:
        return ""
    values = {
        (row.method, group): row
        for group in groups
        for row in results.chosen(View(view.task, view.metric, group), VALUE)
        if row.value is not None
    }
    methods = _drawn(results, view, values, groups)
    by_ratings = all(group.startswith(SHOWN_RATINGS) for group in groups)
    places = range(len(groups))
    names = [
        group.removeprefix(SHOWN_RATINGS) if by_ratings else GROUP_LABELS.get(group, group)
        for group in groups
    ]
    # Three colours and symbols tell three methods apart, and six where each is also hollow.
    paired = len(methods) > 3
    lines = [
        series(
            place // 2 if paired else place,
            method,
            [
                _point(values[method, group], x, name)
                for group, x, name in zip(groups, places, names, strict=True)
                if (method, group) in values
            ],
            hollow=paired and place % 2 == 1,
        )
        for place, method in enumerate(methods)
    ]
    axis = "shown ratings" if by_ratings else "kind of sentence"
    plot = line_plot(
        lines, x=axis, y=view.name, ticks=places, ticktext=names, categories=not by_ratings
    )

    def counted(group: str) -> Cell:
        n = max(values[key].n for key in values if key[1] == group)
        return Cell(f"{n:,}", n)

    numbers = table_of(
        [group for group in groups if any(key[1] == group for key in values)],
        [
            (
                Column(axis.capitalize(), wide=True),
                lambda group: Cell(escape(GROUP_LABELS.get(group, group)), groups.index(group)),
            ),
            *((method, partial(_figure, values, method)) for method in methods),
            ("n", counted),
        ],
        caption=f"{view.name} by {axis}, 95 % intervals; n counts {view.counted}",
        height=640,
    )
    over = "users" if by_ratings else "the sentences of a kind"
    about = f"{results.dataset}, {results.part}; {view.better}. Intervals are over {over}."
    heading = f"{view.name[:1].upper()}{view.name[1:]} by {axis}"
    return section(heading, about, beside(plot, numbers))


def _drawn(
    results: Results, view: View, values: dict[tuple[str, str], Measured], groups: list[str]
) -> list[str]:
    """The own method and others: with cut histories those that are best on average."""
    # other answers of the own system, such as its prior's, are no other method
    measured = results.own_first({key[0] for key, row in values.items() if row.kind != "answer"})
    if results.sentences:
        return measured
    sign = 1 if view.lower else -1

    def mean(method: str) -> float:
        return sign * sum(values[method, group].value or 0.0 for group in groups)

    whole = [m for m in measured if all((m, group) in values for group in groups)]
    others = sorted((m for m in whole if m != results.own), key=mean)[:OTHERS]
    return [m for m in (results.own, *others) if m in whole]


def _point(row: Measured, x: int, group: str) -> Point:
    note = f"{SHORT(row.value or 0.0)} {interval(row.low, row.high, SHORT)}"
    text = hover(row.method, f"{group}: {note}", f"n = {row.n:,}")
    return Point(x, row.value or 0.0, text, row.low, row.high)


def _figure(values: dict[tuple[str, str], Measured], method: str, group: str) -> Cell:
    row = values.get((method, group))
    if row is None or row.value is None:
        return NONE
    return two_lines(SHORT(row.value), interval(row.low, row.high, SHORT), row.value)
