"""Groups of people and of items, measured on the Cold start tab: controls, result and files."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import gradio as gr
from gradio.components import Component

from ckf_demo.data.free_sql import MAX_SQL
from ckf_demo.evaluation import cohorts
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import (
    NONE,
    Point,
    beside,
    card,
    count,
    estimate,
    facts,
    hover,
    line_plot,
    plot_panel,
    series,
    table_of,
)
from ckf_demo.ui.controls import dropdown, stop_button
from ckf_demo.ui.downloads import Downloads
from ckf_demo.ui.events import ONCE, QUIET
from ckf_demo.ui.markup import Cell, Column, escape, notice, panel, warn
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import GROUPS
from ckf_demo.ui.replay_markup import CARD
from ckf_demo.ui.saved_rows import people_rows
from ckf_demo.ui.sidebar import AGES, ANY
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.words import Words, words_of

METRICS = {
    "rmse": ("rating", "RMSE, in stars", "lower is better"),
    "mae": ("rating", "MAE, in stars", "lower is better"),
    "log_loss": ("ctr", "Log loss, in nats", "lower is better"),
    "auc": ("ctr", "AUC", "higher is better"),
    "uauc": ("ctr", "UAUC", "AUC within each person, higher is better"),
}
"""Task, name, and which way is better."""

UNBOUNDED = (None, None)


@dataclass(frozen=True)
class Outcome:
    """What has been measured so far: its rows, and one line for each sample."""

    rows: tuple[dict, ...]
    facts: tuple[str, ...]


class CohortControls:
    """The controls that choose one group of people; ``controls`` are the inputs of `cohort`."""

    def __init__(self, recommender, letter: str, ratings: str) -> None:
        self.letter, self._recommender = letter, recommender
        genres = recommender.store.genres()
        choices = {
            "training ratings": list(GROUPS),
            "age": list(AGES) if recommender.prepared.has_ages else [],
            "occupation": recommender.store.occupations(),
            "genre": genres,
        }
        with gr.Row(elem_classes="ckf-controls"):
            self.controls: list[Component] = [
                dropdown(
                    f"cohort-{letter}-{name.removeprefix('training ')}",
                    f"{letter}: {name}",
                    [ANY, *options],
                    130,
                    value=ratings if name == "training ratings" else ANY,
                    visible=bool(options),
                )
                for name, options in choices.items()
            ]
            share = gr.Slider(
                0,
                100,
                value=30,
                step=5,
                label=f"{letter}: at least so many % of their ratings in the genre",
                min_width=180,
                visible=bool(genres),
            )
        with gr.Accordion(f"{letter} by your own SQL", open=False):
            sql = gr.Textbox(
                label=f"{letter}: one SELECT statement with one column of user ids; it counts "
                "instead of the choices above",
                placeholder="SELECT id FROM users WHERE gender = 'F' AND age < 30",
                lines=2,
                max_lines=8,
                max_length=MAX_SQL,
                elem_id=f"cohort-{letter}-sql",
            )
        self.controls += [share, sql]
        self.downloads = Downloads(f"cohort-{letter}", f"Save the people of {letter}:")

    def wire(self, page: Page) -> None:
        """Save the people that the controls choose, as `ckf score` reads them."""
        self.downloads.wire(self._saved, self.controls)

    def _saved(self, *values) -> tuple[str, list[dict]]:
        ids = self._recommender.prepared.user_ids
        users = [ids[user] for user in self.cohort(*values).users]
        name = f"{self._recommender.prepared.dataset}-people-{self.letter}"
        return name, people_rows(self._recommender, users)

    def cohort(self, ratings, age, occupation, genre, share, sql) -> cohorts.Cohort:
        """The people that the controls choose, under the letter's name.

        Raises ``UserError`` as `by_attributes` and `by_query` do.
        """
        data = self._recommender.prepared
        if sql and sql.strip():
            people = cohorts.by_query(self._recommender.store, data, sql)
        else:
            people = cohorts.by_attributes(
                data,
                ratings=UNBOUNDED if ratings == ANY else GROUPS[ratings],
                age=UNBOUNDED if age == ANY else AGES[age],
                occupation="" if occupation == ANY else occupation,
                genre="" if genre == ANY else genre,
                share=UNBOUNDED if genre == ANY else (share / 100, None),
            )
        return cohorts.Cohort(f"{self.letter}: {people.name}", people.users)


class Measurement:
    """The controls and the result of a measurement that takes a while.

    Parameters
    ----------
    name
        Prefix of the components' ids.
    axis
        What the groups differ in.
    parts
        Makes the samples from the most rows of a person and of a group, and the values of
        ``choices``.
    """

    def __init__(
        self,
        recommender,
        name: str,
        axis: str,
        parts: Callable[..., list[cohorts.Part]],
        choices: Sequence[Component] = (),
    ) -> None:
        self._recommender, self._name, self._axis = recommender, name, axis
        self._parts, self._choices, self.stops = parts, choices, Stops()
        self._labels, self._words = recommender.labels, words_of(recommender)
        # Removed when the program ends, with every file that is left.
        self._folder = tempfile.TemporaryDirectory(prefix=f"ckf-{name}-")
        methods = recommender.methods
        metrics = [
            (label, metric)
            for metric, (task, label, _) in METRICS.items()
            if task in recommender.tasks
        ]
        with gr.Row(elem_classes="ckf-controls"):
            self.methods = gr.CheckboxGroup(
                [(self._labels[m], m) for m in methods],
                # the language model is asked twice as often for two of its methods
                value=[methods[0], *(m for m in methods[1:] if m == "collaborative")],
                label="Methods",
                min_width=200,
                elem_id=f"{name}-methods",
            )
            self.limits = [
                gr.Number(
                    value=value,
                    label=label,
                    precision=0,
                    minimum=1,
                    min_width=130,
                    elem_id=f"{name}-{key}",
                )
                for key, label, value in (
                    ("per-person", "Rows per person at most", cohorts.PER_PERSON),
                    ("total", "Rows per group at most", cohorts.PER_PART),
                )
            ]
            self.metric = dropdown(f"{name}-metric", "Metric", metrics, 200)
        with gr.Row(elem_classes="ckf-buttons"):
            self.start = gr.Button("Measure", variant="primary", size="sm", elem_id=f"{name}-run")
            self.cancel = stop_button(f"{name}-stop")
            self.downloads = {
                suffix: gr.DownloadButton(
                    f"Download as {label}", interactive=False, size="sm", elem_id=f"{name}-{suffix}"
                )
                for suffix, label in (("csv", "CSV"), ("parquet", "Parquet"))
            }
        self.progress = panel(
            notice(
                "Nothing was measured yet. With these numbers it takes about a minute on two idle "
                "cores; rows come from the validation part, never from the test part."
            ),
            elem_id=f"{name}-progress",
        )
        self.result = plot_panel(elem_id=f"{name}-result")
        self.outcome = gr.State(None)
        self.file = gr.State(None, delete_callback=_remove)

    def wire(self, page: Page) -> None:
        """Measure when the button is pressed, and show another metric when it is chosen."""
        page.on_leave(self.stops.leave)
        shown = [self.progress, self.result, self.cancel]
        self.start.click(
            page.gated(self.run, page.service.long, f"page: measure {self._name}"),
            [self.methods, *self.limits, self.metric, self.file, *self._choices],
            [*shown, *self.downloads.values(), self.outcome, self.file],
            show_progress_on=self.progress,
            **ONCE,
        )
        self.cancel.click(self.stops.halt, **QUIET)
        self.metric.change(self.show, [self.outcome, self.metric], self.result, **QUIET)

    def run(
        self,
        request: gr.Request,
        methods: Sequence[str],
        per_person: float | None,
        total: float | None,
        metric: str,
        file: str | None,
        *choices: object,
    ) -> Iterator[dict]:
        """Measure the parts and show what is complete, while the rest is computed."""
        _remove(file)
        off = dict.fromkeys(self.downloads.values(), gr.update(interactive=False, value=None))
        methods = [m for m in self._recommender.methods if m in methods]
        try:
            if not methods:
                raise UserError("No method is chosen; choose one at least.")
            parts = self._parts(_rows_at_most(per_person), _rows_at_most(total), *choices)
        except UserError as error:
            yield {self.progress: warn(error), self.result: "", self.file: None, **off}
            return
        stop = self.stops.begin(request.session_hash, None)
        on = {self.cancel: gr.update(interactive=True)}
        yield {self.result: "", self.outcome: None, self.file: None} | on | off
        outcome, began = Outcome((), part_facts(parts, self._words)), time.monotonic()
        for measured in cohorts.measure(self._recommender, parts, methods, stop=stop):
            seconds = time.monotonic() - began
            updates = {self.progress: progress_markup(measured.done, measured.total, seconds)}
            if len(measured.rows) > len(outcome.rows):
                outcome = replace(outcome, rows=measured.rows)
                updates |= {self.result: self.markup(outcome, metric), self.outcome: outcome}
            yield updates
        ended = f"{measured.done:,} of {measured.total:,} answers in {seconds:.0f} s."
        if measured.done < measured.total:
            ended = f"Stopped after {ended} What is complete is shown; “Measure” goes on from here."
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        yield {
            self.progress: notice(ended),
            self.result: self.markup(outcome, metric),
            self.cancel: gr.update(interactive=False),
            self.outcome: outcome,
            self.file: str(folder),
            **(self._write(outcome, folder) if outcome.rows else {}),
        }

    def _write(self, outcome: Outcome, folder: Path) -> dict:
        """Write the rows to files, which the buttons download."""
        updates = {}
        for suffix, button in self.downloads.items():
            path = folder / f"{self._recommender.prepared.dataset}-{self._name}.{suffix}"
            cohorts.write(outcome.rows, path)
            updates[button] = gr.update(interactive=True, value=str(path))
        return updates

    def show(self, outcome: Outcome | None, metric: str) -> str:
        """What was measured, by another metric (HTML)."""
        return "" if outcome is None else self.markup(outcome, metric)

    def markup(self, outcome: Outcome, metric: str) -> str:
        """One metric against the groups, with the numbers behind it (HTML)."""
        about = "".join(map(facts, outcome.facts))
        rows = [row for row in outcome.rows if row["metric"] == metric]
        if not rows:
            return about
        _, name, better = METRICS[metric]
        groups = list(dict.fromkeys(row["group"] for row in rows))
        lines: dict[tuple[str, str], list[Point]] = {}
        for row in rows:
            points = lines.setdefault((row["cohort"], row["method"]), [])
            if row["value"] is not None:
                text = f"{row['group']}: {_estimate(row)}, n = {row['n']}"
                note = hover(self._labels[row["method"]], row["cohort"], text)
                place = groups.index(row["group"])
                points.append(Point(place, row["value"], note, row["low"], row["high"]))
        people = list(dict.fromkeys(cohort for cohort, _ in lines))
        order = list(self._recommender.methods)
        plot = line_plot(
            [
                series(
                    order.index(method),
                    " · ".join(filter(None, [_letter(cohort), self._labels[method]])),
                    points,
                    hollow=people.index(cohort) > 0,
                )
                for (cohort, method), points in lines.items()
            ],
            x=self._axis,
            y=name,
            ticks=range(len(groups)),
            ticktext=[group.removeprefix("k=") for group in groups],
        )

        def group(row: dict) -> Cell:
            return Cell(escape(row["group"].removeprefix("k=")), groups.index(row["group"]))

        def value(row: dict) -> Cell:
            return NONE if row["value"] is None else Cell(_estimate(row), row["value"])

        # films have no cohort, so their groups are numbers of ratings
        cohort = (Column("Group"), lambda row: _letter(row["cohort"]))
        values = table_of(
            rows,
            [
                *([("Ratings", group)] if people == [""] else [cohort, ("k", group)]),
                (Column("Method"), lambda row: self._labels[row["method"]]),
                ("Value (95 %)", value),
                ("n", itemgetter("n")),
                ("People", itemgetter("people")),
                (self._words.things.capitalize(), itemgetter("items")),
            ],
            caption=f"{name} ({better}); in brackets its 95 % bootstrap interval over people",
            height=460,
        )
        # seven columns need the whole width
        heading = f"{name} against {self._axis}"
        return about + card(heading, beside(plot, values, style=""), style=CARD)


def _estimate(row: Mapping) -> str:
    return estimate(row["value"], row["low"], row["high"])


def _letter(cohort: str) -> str:
    """The letter under which a group is drawn and listed; its line above says who it is."""
    return cohort.partition(":")[0]


def _rows_at_most(value: float | None) -> int:
    if value is None or not 1 <= value <= 10_000:
        raise UserError(f"At most {value} rows is no number from 1 to 10,000; give one.")
    return int(value)


def part_facts(parts: Sequence[cohorts.Part], words: Words) -> tuple[str, ...]:
    """One line for each sample: how many rows of how many, of how many people."""
    lines = []
    for part in parts:
        name = part.cohort or f"{words.things.capitalize()} with {part.group} training ratings"
        people = len(set(part.cases.users.tolist()))
        lines.append(
            f"{name}: {count(len(part.cases), 'row')} of {part.available:,} in the validation "
            f"part, of {people} {'person' if people == 1 else 'people'}."
        )
    return tuple(dict.fromkeys(lines))


def progress_markup(done: int, total: int, seconds: float) -> str:
    """How far a measurement is (HTML)."""
    text = f"{done:,} of {total:,} answers, {seconds:.0f} s"
    return (
        f'<p class="ckf-facts" role="status"><progress class="ckf-progress" max="{total}" '
        f'value="{done}" aria-label="Answers so far"></progress> {escape(text)}</p>'
    )


def _remove(folder: str | None) -> None:
    """Remove the folder of a result's files."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
