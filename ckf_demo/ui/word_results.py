"""What words do, on the Results tab: a metric in every group, and each measured sentence."""

from functools import partial

from ckf_demo.ui.charts import (
    NONE,
    Point,
    beside,
    cell,
    count,
    hover,
    interval,
    line_plot,
    number,
    section,
    series,
    table_of,
    two_lines,
)
from ckf_demo.ui.markup import Cell, Column, escape, percent
from ckf_demo.ui.stored_results import (
    EVERYTHING,
    GROUP_LABELS,
    VALUE,
    Measured,
    Results,
    Sentence,
    View,
)

SHORT = partial(number, decimals=3)
SHOWN_RATINGS = "k="
"""Begins the groups of answers that were asked with the last k ratings shown."""


def groups_markup(results: Results, view: View) -> str:
    """The chosen metric by kind of sentence or by shown ratings: a plot and its table (HTML).

    Empty where no sentences were measured, or only one group.
    """
    measured = [row for row in results.rows if (row.task, row.metric) == (view.task, view.metric)]
    groups = [g for g in dict.fromkeys(row.group for row in measured) if g != EVERYTHING]
    if not results.sentences or len(groups) < 2:
        return ""
    values = {
        (row.method, group): row
        for group in groups
        for row in results.chosen(View(view.task, view.metric, group), VALUE)
        if row.value is not None
    }
    methods = _own_first(results, {method for method, _ in values})
    by_ratings = all(group.startswith(SHOWN_RATINGS) for group in groups)
    places = [
        int(group.removeprefix(SHOWN_RATINGS)) if by_ratings else place
        for place, group in enumerate(groups)
    ]
    names = [group if by_ratings else GROUP_LABELS.get(group, group) for group in groups]
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


def sentences_markup(results: Results, view: View) -> str:
    """The chosen measure of each sentence, one line each (HTML); empty for other tasks."""
    if view.task != "control":
        return ""
    sentences = [s for s in results.sentences if view.group in (EVERYTHING, s.kind)]
    if not sentences:
        return ""
    methods = _own_first(results, {row.method for row in results.chosen(view, VALUE)})
    shares = table_of(
        sentences,
        [
            (Column("Sentence", wide=True), lambda sentence: sentence.text),
            (
                Column("Kind", wide=True),
                lambda sentence: GROUP_LABELS.get(sentence.kind, sentence.kind),
            ),
            ("Fitting items", lambda sentence: Cell(f"{sentence.fitting:,}", sentence.fitting)),
            *((method, partial(_share, view.metric, method)) for method in methods),
        ],
        caption=f"{view.name}, by sentence",
        height=640,
    )
    about = (
        f"{count(len(sentences), 'sentence')}. Each share is of the ten items that a person of "
        "whom only the sentence is known gets first. Means of what fits leave out sentences that "
        "fewer than ten items fit, and the other means leave out nonsense."
    )
    return section("Sentence by sentence", about, shares)


def _own_first(results: Results, methods: set[str]) -> list[str]:
    """Methods with the own one first, then from the last measured to the first.

    The stored order is from the simplest to the whole system.
    """
    measured = list(dict.fromkeys(row.method for row in results.rows if row.method in methods))
    measured.reverse()
    return sorted(measured, key=lambda method: method != results.own)


def _point(row: Measured, x: int, group: str) -> Point:
    note = f"{SHORT(row.value or 0.0)} {interval(row.low, row.high, SHORT)}"
    text = hover(row.method, f"{group}: {note}", f"n = {row.n:,}")
    return Point(x, row.value or 0.0, text, row.low, row.high)


def _figure(values: dict[tuple[str, str], Measured], method: str, group: str) -> Cell:
    row = values.get((method, group))
    if row is None or row.value is None:
        return NONE
    return two_lines(SHORT(row.value), interval(row.low, row.high, SHORT), row.value)


def _share(metric: str, method: str, sentence: Sentence) -> Cell:
    return cell(sentence.share(method, metric), percent)
