"""The Cold start tab: one person's first ratings replayed, chosen groups of people after k ratings,
and films with few ratings."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np

from ckf_demo.data.free_sql import MAX_SQL
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.evaluation import cohorts
from ckf_demo.inference.replay import FIRST, Rated, Replay, Step, errors, plan, run
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import plot_panel
from ckf_demo.ui.events import ANSWER, GATED, PRIVATE, QUIET
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    date_text,
    escape,
    notice,
    panel,
    percent,
    stars_text,
    table,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import GROUPS, Pair, group_of, has_ages
from ckf_demo.ui.sidebar import AGES, ANY
from ckf_demo.ui.stops import Stops

LIKELY_K = 5
FIRST_CHOICES, TARGET_CHOICES = (5, 10, FIRST, 40), (5, 10, 20)
QUESTIONS = {"rating": "Stars", "ctr": "Likes it"}
# Task, name, and which way is better.
METRICS = {
    "rmse": ("rating", "RMSE, in stars", "lower is better"),
    "mae": ("rating", "MAE, in stars", "lower is better"),
    "log_loss": ("ctr", "Log loss, in nats", "lower is better"),
    "auc": ("ctr", "AUC", "higher is better"),
    "uauc": ("ctr", "UAUC", "AUC within each person, higher is better"),
}
# Seconds between two pictures of what grows: each is drawn anew.
BETWEEN = 0.5


@dataclass(frozen=True)
class Latest:
    """What was replayed last, and its steps so far; what was asked alone tells two apart."""

    asked: Replay
    steps: tuple[Step, ...] = field(default=(), compare=False)

    @property
    def finished(self) -> bool:
        """Whether everything is answered."""
        if len(self.steps) <= len(self.asked.added):
            return False
        return not self.asked.targets or self.steps[-1].targets is not None


@dataclass(frozen=True)
class Outcome:
    """What a measurement has found so far: its rows, and one line for each sample."""

    rows: tuple[dict, ...]
    facts: tuple[str, ...]


class ColdStartTab:
    """Builds the tab's components in the current Blocks context and answers into them."""

    def __init__(self, recommender) -> None:
        self.recommender, self.labels = recommender, recommender.labels
        self.stops = Stops()
        asked = [task for task in QUESTIONS if task in recommender.tasks]
        gr.HTML(
            "<p>How few ratings are enough? See one person become known rating by rating, "
            "measure groups of people after k ratings, and look at films that hardly anybody has "
            "rated.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        with gr.Tabs(elem_id="cold-tabs", overflow_behavior="wrap"):
            with gr.Tab("One person", id="replay"):
                with gr.Row(elem_classes="ckf-controls"):
                    self.question = gr.Radio(
                        [(QUESTIONS[task], task) for task in asked],
                        value=asked[0],
                        label="Question",
                        min_width=160,
                        elem_id="cold-question",
                    )
                    self.k = gr.Slider(
                        0,
                        FIRST,
                        value=LIKELY_K,
                        step=1,
                        label="Known: the first k ratings",
                        min_width=200,
                        elem_id="cold-k",
                    )
                    self.first = gr.Dropdown(
                        list(FIRST_CHOICES),
                        value=10,
                        label="Ratings to learn from at most",
                        min_width=150,
                        elem_id="cold-first",
                    )
                    self.targets = gr.Dropdown(
                        list(TARGET_CHOICES),
                        value=10,
                        label="Later films to predict at most",
                        min_width=150,
                        elem_id="cold-targets",
                    )
                with gr.Row(elem_classes="ckf-buttons"):
                    self.halt = gr.Button("Stop", size="sm", interactive=False, elem_id="cold-stop")
                self.shown = plot_panel(
                    notice("The replay begins when this tab is opened."), elem_id="replay"
                )
                self.after = panel("", elem_id="replay-after")
            with gr.Tab("Groups of people", id="cohorts"):
                usual = _coldest_and_warmest(recommender.prepared)
                self.compare = gr.Checkbox(
                    True, label="Two groups side by side", elem_id="cohorts-two"
                )
                with gr.Row(equal_height=False):
                    with gr.Column(min_width=300):
                        first = CohortControls(recommender, "A", usual[0])
                    with gr.Column(min_width=300) as self.second:
                        second = CohortControls(recommender, "B", usual[1])
                self.groups = [first, second]
                self.people = Measurement(recommender, self.stops, "cohorts", "k, the last ratings")
            with gr.Tab("Films with few ratings", id="items"):
                gr.HTML(
                    "<p>Rows of the validation part by how many ratings their film has in the "
                    "training part; everybody’s history is whole.</p>",
                    apply_default_css=False,
                    elem_classes="ckf-lead",
                )
                self.items = Measurement(
                    recommender, self.stops, "items", "training ratings of the film"
                )
        # The latest replay of this session.
        self.latest = gr.State(None)

    def wire(self, page: Page) -> None:
        """Replay the pair's person while the tab is open, and run the two measurements."""
        pair, long = page.pair, page.service.long
        page.chooses_item(self.shown, self.after)
        page.on_pair(lambda request, current: self.stops.stop(request.session_hash, unless=current))
        page.on_leave(self.forget)
        gr.on(
            [page.active.change, pair.change, *self.changes],
            page.gated_in(["cold"], self.replay, long, "page: replay", self.latest),
            [page.active, pair, self.latest, *self.controls],
            self.outputs,
            show_progress_on=self.shown,
            # The page may still show the slider of a longer replay; its k is cut to the present
            # one.
            preprocess=False,
            **ANSWER,
        )
        self.k.change(None, self.k, js="(k) => window.ckf.known(k)", **PRIVATE)
        self.k.change(
            self.move,
            [self.k, self.latest, self.question],
            self.after,
            trigger_mode="always_last",
            preprocess=False,
            **QUIET,
        )
        self.halt.click(self.stop, **QUIET)
        self.compare.change(lambda two: gr.update(visible=two), self.compare, self.second, **QUIET)
        groups = [control for group in self.groups for control in group.controls]
        for measurement, measure, inputs in (
            (self.people, self.measure_people, [self.compare, *self.people.controls, *groups]),
            (self.items, self.measure_items, self.items.controls),
        ):
            measurement.start.click(
                page.gated(measure, long, f"page: {measure.__name__}"),
                inputs,
                measurement.outputs,
                show_progress_on=measurement.progress,
                trigger_mode="once",
                **PRIVATE,
                **GATED,
            )
            measurement.cancel.click(measurement.stop, **QUIET)
            measurement.metric.change(
                measurement.show,
                [measurement.outcome, measurement.metric],
                measurement.result,
                **QUIET,
            )

    @property
    def controls(self) -> list:
        """The inputs of ``replay`` after the pair and the latest replay."""
        return [self.question, self.k, self.first, self.targets]

    @property
    def changes(self) -> list:
        """The events of the controls after which the replay is shown anew."""
        return [self.question.change, self.first.change, self.targets.change]

    @property
    def outputs(self) -> list:
        """Every component that ``replay`` may update."""
        return [self.shown, self.after, self.k, self.halt, self.latest]

    def replay(
        self,
        pair: Pair,
        latest: Latest | None,
        question: str,
        k: float,
        first: int,
        targets: int,
        request: gr.Request,
    ) -> Iterator[dict]:
        """Replay the pair's person step by step, unless the latest replay answers the same."""
        person = {name: value for name, value in pair.person.items() if name != "at"}
        try:
            asked = plan(
                self.recommender, item=pair.item, **person, first=int(first), targets=int(targets)
            )
            most = len(asked.added)
            k = min(int(k), most)
            # a slider without any room cannot be drawn
            yield {self.k: gr.update(maximum=max(most, 1), value=k, interactive=most > 0)}
            if latest is not None and latest.asked == asked and latest.finished:
                yield self._show(latest, question, k, latest)
                return
            stop = self.stops.begin(request.session_hash, pair)
            yield {
                self.shown: notice("The first answers are about to come."),
                self.after: "",
                self.halt: gr.update(interactive=True),
            }
            drawn, found = 0.0, Latest(asked)
            for steps in run(self.recommender, asked, stop):
                found = Latest(asked, steps)
                if time.monotonic() - drawn > BETWEEN:
                    yield self._show(found, question, k)
                    drawn = time.monotonic()
            ended = {self.halt: gr.update(interactive=False)}
            if found.finished:
                yield self._show(found, question, k, found) | ended
            else:
                yield self._show(found, question, k, stopped=True) | ended
        except UserError as error:
            yield {
                self.shown: warn(error),
                self.after: "",
                self.halt: gr.update(interactive=False),
            }

    def _show(
        self,
        found: Latest,
        question: str,
        k: int,
        latest: Latest | None = None,
        *,
        stopped: bool = False,
    ) -> dict:
        film = self.recommender.store.item(found.asked.item)["title"]
        return {
            self.shown: replay_markup(found, question, k, self.labels, film, stopped),
            self.after: after_markup(found, question, k, self.labels),
            self.latest: gr.skip() if latest is None else latest,
        }

    def move(self, k: float, latest: Latest | None, question: str) -> str:
        """What is predicted after the first k ratings (HTML)."""
        if latest is None:
            return ""
        return after_markup(latest, question, min(int(k), len(latest.asked.added)), self.labels)

    def stop(self, request: gr.Request) -> None:
        """End the session's replay before its next step."""
        self.stops.stop(request.session_hash)

    def forget(self, request: gr.Request) -> None:
        """Stop everything of a session that has ended."""
        self.stops.forget(request.session_hash)
        self.people.forget(request)
        self.items.forget(request)

    def k_of(self, text: str) -> int:
        """k as an address gives it.

        Raises
        ------
        UserError
            When it is no number from 0 to the longest replay.
        """
        if not (text.isascii() and text.isdigit()) or int(text) > FIRST_CHOICES[-1]:
            raise UserError(
                f"k={text!r} in the address is no number from 0 to {FIRST_CHOICES[-1]}; mend or "
                "remove it"
            )
        return int(text)

    def measure_people(
        self,
        request: gr.Request,
        compare: bool,
        methods: Sequence[str],
        per_person: float | None,
        total: float | None,
        metric: str,
        file: str | None,
        *controls: object,
    ) -> Iterator[dict]:
        """Measure one cohort or two after k ratings."""
        size = len(controls) // 2
        each = [controls[:size], controls[size:]][: 2 if compare else 1]

        def parts() -> list[cohorts.Part]:
            chosen = [
                group.cohort(*values) for group, values in zip(self.groups, each, strict=False)
            ]
            return cohorts.cohort_parts(
                self.recommender.prepared,
                chosen,
                per_person=_rows_at_most(per_person),
                total=_rows_at_most(total),
            )

        yield from self.people.run(parts, methods, metric, file, request)

    def measure_items(
        self,
        request: gr.Request,
        methods: Sequence[str],
        per_person: float | None,
        total: float | None,
        metric: str,
        file: str | None,
    ) -> Iterator[dict]:
        """Measure films by how many training ratings they have."""

        def parts() -> list[cohorts.Part]:
            return cohorts.item_parts(
                self.recommender.prepared,
                per_person=_rows_at_most(per_person),
                total=_rows_at_most(total),
            )

        yield from self.items.run(parts, methods, metric, file, request)


def _coldest_and_warmest(data: Prepared) -> tuple[str, str]:
    """The first and the last band of training ratings with people in the validation part."""
    users = np.unique(data.user[data.split == VALID])
    counts = np.bincount(data.user[data.split == TRAIN], minlength=data.n_users)[users]
    present = list(dict.fromkeys(group_of(n) for n in sorted(counts)))
    return (present[0], present[-1]) if len(present) > 1 else (ANY, ANY)


def _rows_at_most(value: float | None) -> int:
    if value is None or not 1 <= value <= 10_000:
        raise UserError(f"At most {value} rows is no number from 1 to 10,000; give one.")
    return int(value)


# --- one person ---------------------------------------------------------------------------------


def replay_markup(
    found: Latest,
    question: str,
    k: int,
    labels: Mapping[str, str],
    film: str,
    stopped: bool = False,
) -> str:
    """The prediction, its error and the bridge against k, each beside its table (HTML)."""
    asked, steps = found.asked, found.steps
    parts = [
        _facts(asked),
        _progress(found, stopped),
        _film_card(asked, steps, question, k, labels, film),
    ]
    if asked.targets:
        parts.append(_error_card(asked, steps, question, k, labels))
    if any(step.distance is not None for step in steps):
        parts.append(_bridge_card(steps, k))
    return "".join(parts)


def _facts(asked: Replay) -> str:
    n = len(asked.added)
    if "user" not in asked.person:
        text = (
            f"{_number(n, 'pick')} of the person that you described, in the order in which they "
            "were made. Rate another film under “New person” and the line grows."
        )
        return f'<p class="ckf-facts">{escape(text)}</p>'
    text = f"User {asked.person['user']} from their first rating on. "
    if n:
        text += (
            f"{_number(n, 'rating')} from {date_text(asked.added[0].timestamp)}, one after "
            f"another, then {_number(len(asked.targets), 'film')} that they rated strictly "
            f"later, from {date_text(asked.targets[0].timestamp)} on: the same ones for every k."
        )
    else:
        text += "All their ratings are of one moment, so nothing is known before any of them."
    out = f'<p class="ckf-facts">{escape(text)}</p>'
    if asked.from_training:
        out += notice(
            f"{asked.from_training} of these {len(asked.targets)} ratings are in the training "
            "part: the model was fitted to them, so its errors are smaller here than for somebody "
            "new. Users who began after the split have none."
        )
    return out


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _progress(found: Latest, stopped: bool) -> str:
    steps, total = found.steps, len(found.asked.added) + 1
    answered = sum(step.targets is not None for step in steps)
    text = "Everything is answered; what was asked before is remembered."
    if len(steps) < total:
        text = f"The film: {len(steps)} of {total} histories asked."
    elif not found.finished:
        text = f"The later films: {answered} of {total} histories asked."
    if stopped:
        text += " Stopped; another question, film or number goes on from here."
    return f'<p class="ckf-facts" id="replay-status" role="status">{escape(text)}</p>'


def _written(question: str) -> Callable[[float], str]:
    return percent if question == "ctr" else "{:.2f}".format


def _key(question: str) -> str:
    return "probability" if question == "ctr" else "rating"


def _effect(change: float, question: str) -> str:
    if question == "ctr":
        text = f"{100 * change:+.0f}"
        return ("0" if text in ("+0", "-0") else text).replace("-", "−") + " pp"
    return f"{change:+.2f}".replace("-", "−")


def _truth(asked: Replay, question: str) -> tuple[float, str] | None:
    """Where the truth's line is drawn, and what it says."""
    truth = asked.truth
    if truth is None:
        return None
    gave = f"gave it {stars_text(truth.rating)} ★" if truth.rating is not None else "rated it"
    if question == "ctr":
        return float(truth.liked), f"{gave}: {'liked' if truth.liked else 'not liked'}"
    return (truth.rating, gave) if truth.rating is not None else None


def _film_card(
    asked: Replay,
    steps: Sequence[Step],
    question: str,
    k: int,
    labels: Mapping[str, str],
    film: str,
) -> str:
    key, written = _key(question), _written(question)
    methods = list(dict.fromkeys(row["method"] for step in steps for row in step.film))
    values = {
        method: {step.k: row[key] for step in steps for row in step.film if row["method"] == method}
        for method in methods
    }
    own = values[methods[0]] if methods else {}
    effects = {n: own[n] - own[n - 1] for n in own if n - 1 in own}
    series = [
        _series(
            place,
            labels[method],
            [
                (n, value, None, None, _hover(asked, n, labels[method], written(value)))
                for n, value in values[method].items()
            ],
        )
        for place, method in enumerate(methods)
    ]
    truth = _truth(asked, question)
    strongest = sorted(effects, key=lambda n: -abs(effects[n]))[:3]
    figure = {
        "x": "k, first ratings known",
        "y": "Predicted stars" if question == "rating" else "Probability of a like",
        "percent": question == "ctr",
        "ticks": list(range(len(asked.added) + 1)),
        "series": series,
        "truth": truth,
        "k": k,
        "notes": [
            {"x": n, "y": own[n], "text": _short(asked.added[n - 1].title)}
            for n in strongest
            if abs(effects[n]) > 0
        ],
    }
    rows = []
    for step in steps:
        added = asked.added[step.k - 1] if step.k else None
        effect = effects.get(step.k)
        rows.append(
            Row(
                pick=None if added is None else added.item,
                anchor=f"replay-{step.k}",
                cells=[
                    step.k,
                    Cell("nothing yet", "") if added is None else _added(added),
                    Cell("–", "") if effect is None else Cell(_effect(effect, question), effect),
                    *(
                        Cell(written(values[m][step.k]), values[m][step.k])
                        if step.k in values[m]
                        else Cell("–", "")
                        for m in methods
                    ),
                ],
            )
        )
    columns = [
        Column("k", numeric=True),
        Column("Film added", wide=True),
        Column("Effect", numeric=True),
        *(Column(labels[m], numeric=True) for m in methods),
    ]
    what = "Expected stars" if question == "rating" else "Probability of a like"
    listing = table(
        columns,
        rows,
        caption=f"{what} for {film}; effect: how much the film added moved {labels[methods[0]]}"
        if methods
        else f"{what} for {film}",
        empty="Nothing is answered yet.",
        height=400,
    )
    said = ""
    if asked.truth is not None and asked.until < len(asked.added):
        who = "You" if "user" not in asked.person else "They"
        said = notice(
            f"{who} rated this film as number {asked.until + 1} at the earliest: later histories "
            "hold it or what came after, so the lines end there. Choose another film to see "
            "the rest."
        )
    heading = f"What becomes of the prediction for {film}?"
    return _card(heading, figure, listing, said)


def _short(title: str) -> str:
    return title if len(title) <= 24 else f"{title[:23]}…"


def _added(film: Rated) -> Cell:
    gave = "liked" if film.rating is None else f"{stars_text(film.rating)}&nbsp;★"
    return Cell(
        f'<button type="button" class="ckf-pick">{escape(film.title)}</button> '
        f'<span class="ckf-gave">{gave}</span>',
        f"{film.title} {gave}",
    )


def _hover(asked: Replay, n: int, label: str, value: str) -> str:
    added = f"<br>added: {escape(asked.added[n - 1].title)}" if n else ""
    return f"<b>{escape(label)}</b><br>k = {n}: {value}{added}"


def _series(place: int, name: str, points: Sequence[tuple]) -> dict:
    return {"name": name, "style": min(place, 2), "open": False, "points": [*points]}


def _error_card(
    asked: Replay, steps: Sequence[Step], question: str, k: int, labels: Mapping[str, str]
) -> str:
    metric = "mae" if question == "rating" else "log_loss"
    found = [row for row in errors(asked, steps) if row["metric"] == metric]
    methods = list(dict.fromkeys(row["method"] for row in found))
    name = "MAE, in stars" if metric == "mae" else "Log loss, in nats"
    series = [
        _series(
            place,
            labels[method],
            [
                (
                    row["k"],
                    row["value"],
                    row["low"],
                    row["high"],
                    f"<b>{escape(labels[method])}</b><br>k = {row['k']}: {_interval(row)}",
                )
                for row in found
                if row["method"] == method
            ],
        )
        for place, method in enumerate(methods)
    ]
    n = len(asked.targets)
    figure = {
        "x": "k, first ratings known",
        "y": name,
        "ticks": list(range(len(asked.added) + 1)),
        "series": series,
        "k": k,
    }
    cells = {(row["k"], row["method"]): row for row in found}
    rows = [
        Row(
            pick=None,
            cells=[
                number,
                *(Cell(_interval(cells[number, m]), cells[number, m]["value"]) for m in methods),
            ],
        )
        for number in dict.fromkeys(row["k"] for row in found)
    ]
    listing = table(
        [Column("k", numeric=True), *(Column(labels[m], numeric=True) for m in methods)],
        rows,
        caption=f"{name}, over n = {n} later films; in brackets its 95 % interval over films",
        empty="These films are asked about after the one above.",
        height=400,
    )
    heading = f"How wrong about the next {_number(n, 'film')}?"
    return _card(heading, figure, listing)


def _interval(row: Mapping) -> str:
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return f"{row['value']:.2f}"
    return f"{row['value']:.2f} ({low:.2f}–{high:.2f})"


def _bridge_card(steps: Sequence[Step], k: int) -> str:
    points = [
        (step.k, step.distance, None, None, f"k = {step.k}: {step.distance:.3f}") for step in steps
    ]
    figure = {
        "x": "k, first ratings known",
        "y": "Distance of the bridges",
        "ticks": [step.k for step in steps],
        "series": [_series(0, "Bridges", points)],
        "k": k,
        "zero": True,
    }
    rows = [
        Row(
            pick=None,
            cells=[
                step.k,
                Cell(f"{step.distance:.3f}", step.distance),
                Cell("–", "")
                if not step.k
                else Cell(
                    f"{step.distance - steps[step.k - 1].distance:+.3f}".replace("-", "−"),
                    step.distance - steps[step.k - 1].distance,
                ),
            ],
        )
        for step in steps
    ]
    listing = table(
        [
            Column("k", numeric=True),
            Column("Distance", numeric=True),
            Column("Change", numeric=True),
        ],
        rows,
        caption="‖W − W₀‖ / ‖W₀‖ over both bridges, W₀ those of somebody without a history",
        empty="Nothing is answered yet.",
        height=320,
    )
    return _card("How far has their bridge moved from the average newcomer’s?", figure, listing)


def _card(heading: str, figure: dict, listing: str, said: str = "", *, beside: bool = True) -> str:
    label = f"{figure['y']} against {figure['x']}; the table with it holds the same numbers"
    drawing = (
        f'<div class="ckf-lines" role="img" aria-label="{escape(label)}" '
        f'data-lines="{escape(json.dumps(figure))}"></div>'
    )
    layout = ' class="ckf-beside"' if beside else ""
    return (
        f'<section class="ckf-card ckf-replayed"><h3>{escape(heading)}</h3>{said}'
        f"<div{layout}><div>{drawing}</div><div>{listing}</div></div></section>"
    )


def after_markup(found: Latest, question: str, k: int, labels: Mapping[str, str]) -> str:
    """The later films with what is predicted of each after the first k ratings (HTML)."""
    asked, steps = found.asked, found.steps
    if not asked.targets or k >= len(steps) or steps[k].targets is None:
        return ""
    key, written = _key(question), _written(question)
    step = steps[k]
    methods = list(dict.fromkeys(row["method"] for row in step.targets))
    values = {(row["item"], row["method"]): row[key] for row in step.targets}
    rows = [
        Row(
            pick=target.item,
            cells=[
                target.title,
                Cell("liked" if target.liked else "not liked", int(target.liked))
                if target.rating is None
                else Cell(f"{stars_text(target.rating)}&nbsp;★", target.rating),
                *(Cell(written(values[target.item, m]), values[target.item, m]) for m in methods),
            ],
        )
        for target in asked.targets
    ]
    known = f"after the first {_number(k, 'rating')}" if k else "before any rating"
    listing = table(
        [
            Column("Film", pick=True, wide=True),
            Column("Gave", numeric=True),
            *(Column(labels[m], numeric=True) for m in methods),
        ],
        rows,
        caption=f"What they did next, and what is predicted {known}",
        empty="There is none.",
        height=420,
    )
    return f'<section class="ckf-card"><h3>The next films, {escape(known)}</h3>{listing}</section>'


# --- groups of people and of films --------------------------------------------------------------


class CohortControls:
    """The controls that choose one group of people."""

    def __init__(self, recommender, letter: str, ratings: str) -> None:
        self.letter = letter
        self._recommender = recommender
        store = recommender.store
        occupations, genres = store.occupations(), store.genres()
        with gr.Row(elem_classes="ckf-controls"):
            self._ratings = gr.Dropdown(
                [ANY, *GROUPS],
                value=ratings,
                label=f"{letter}: training ratings",
                min_width=130,
                elem_id=f"cohort-{letter}-ratings",
            )
            self._age = gr.Dropdown(
                [ANY, *AGES],
                value=ANY,
                label=f"{letter}: age",
                min_width=130,
                visible=has_ages(recommender),
            )
            self._occupation = gr.Dropdown(
                [ANY, *occupations],
                value=ANY,
                label=f"{letter}: occupation",
                min_width=130,
                visible=bool(occupations),
                elem_id=f"cohort-{letter}-occupation",
            )
            self._genre = gr.Dropdown(
                [ANY, *genres],
                value=ANY,
                label=f"{letter}: genre",
                min_width=130,
                visible=bool(genres),
            )
            self._share = gr.Slider(
                0,
                100,
                value=30,
                step=5,
                label=f"{letter}: at least so many % of their ratings in the genre",
                min_width=180,
                visible=bool(genres),
            )
        with gr.Accordion(f"{letter} by SQL of your own", open=False):
            self._sql = gr.Textbox(
                label=f"{letter}: one SELECT statement with one column of user ids; it counts "
                "instead of the choices above",
                placeholder="SELECT id FROM users WHERE gender = 'F' AND age < 30",
                lines=2,
                max_lines=8,
                max_length=MAX_SQL,
                elem_id=f"cohort-{letter}-sql",
            )

    @property
    def controls(self) -> list:
        """The inputs of ``cohort``."""
        return [self._ratings, self._age, self._occupation, self._genre, self._share, self._sql]

    def cohort(self, ratings, age, occupation, genre, share, sql) -> cohorts.Cohort:
        """The people that the controls choose, under the letter's name.

        Raises ``UserError`` as `by_attributes` and `by_query` do.
        """
        data = self._recommender.prepared
        if sql and sql.strip():
            chosen = cohorts.by_query(self._recommender.store, data, sql)
        else:
            unbounded = (None, None)
            chosen = cohorts.by_attributes(
                data,
                ratings=unbounded if ratings == ANY else GROUPS[ratings],
                age=unbounded if age == ANY else AGES[age],
                occupation="" if occupation == ANY else occupation,
                genre="" if genre == ANY else genre,
                share=unbounded if genre == ANY else (share / 100, None),
            )
        return cohorts.Cohort(f"{self.letter}: {chosen.name}", chosen.users)


class Measurement:
    """The controls and the result of a measurement that takes a while."""

    def __init__(self, recommender, stops: Stops, name: str, axis: str) -> None:
        self._recommender, self._stops, self._axis = recommender, stops, axis
        self._key = name
        self._labels = recommender.labels
        # Removed when the program ends, with every file that is left.
        self._folder = tempfile.TemporaryDirectory(prefix=f"ckf-{name}-")
        methods = recommender.methods
        # the language model is asked twice as often for two of its methods
        chosen = [methods[0], *(m for m in methods[1:] if m == "collaborative")]
        metrics = [
            (label, metric)
            for metric, (task, label, _) in METRICS.items()
            if task in recommender.tasks
        ]
        with gr.Row(elem_classes="ckf-controls"):
            self.methods = gr.CheckboxGroup(
                [(self._labels[m], m) for m in methods],
                value=chosen,
                label="Methods",
                min_width=200,
                elem_id=f"{name}-methods",
            )
            self.per_person = gr.Number(
                value=cohorts.PER_PERSON,
                label="Rows per person at most",
                precision=0,
                minimum=1,
                min_width=130,
                elem_id=f"{name}-per-person",
            )
            self.total = gr.Number(
                value=cohorts.PER_PART,
                label="Rows per group at most",
                precision=0,
                minimum=1,
                min_width=130,
                elem_id=f"{name}-total",
            )
            self.metric = gr.Dropdown(
                metrics,
                value=metrics[0][1],
                label="Metric",
                min_width=200,
                elem_id=f"{name}-metric",
            )
        with gr.Row(elem_classes="ckf-buttons"):
            self.start = gr.Button("Measure", variant="primary", size="sm", elem_id=f"{name}-run")
            self.cancel = gr.Button("Stop", size="sm", interactive=False, elem_id=f"{name}-stop")
            self.csv = gr.DownloadButton(
                "Download as CSV", interactive=False, size="sm", elem_id=f"{name}-csv"
            )
            self.parquet = gr.DownloadButton(
                "Download as Parquet", interactive=False, size="sm", elem_id=f"{name}-parquet"
            )
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

    @property
    def controls(self) -> list:
        """The inputs of a measurement."""
        return [self.methods, self.per_person, self.total, self.metric, self.file]

    @property
    def outputs(self) -> list:
        """Every component that ``run`` may update."""
        return [
            self.progress,
            self.result,
            self.cancel,
            self.csv,
            self.parquet,
            self.outcome,
            self.file,
        ]

    def _session(self, request: gr.Request) -> str:
        return f"{request.session_hash} {self._key}"

    def stop(self, request: gr.Request) -> None:
        """End the session's measurement before its next piece."""
        self._stops.stop(self._session(request))

    def forget(self, request: gr.Request) -> None:
        """Stop and drop a session that has ended."""
        self._stops.forget(self._session(request))

    def run(
        self,
        parts: Callable[[], list[cohorts.Part]],
        methods: Sequence[str],
        metric: str,
        file: str | None,
        request: gr.Request,
    ) -> Iterator[dict]:
        """Measure and show what is complete, while the rest is computed."""
        _remove(file)
        off = {
            button: gr.update(interactive=False, value=None) for button in (self.csv, self.parquet)
        }
        chosen = [m for m in self._recommender.methods if m in methods]
        if not chosen:
            text = notice("No method is chosen; choose one at least.", "problem")
            yield {self.progress: text, self.result: "", self.file: None, **off}
            return
        try:
            wanted = parts()
        except UserError as error:
            yield {self.progress: warn(error), self.result: "", self.file: None, **off}
            return
        stop = self._stops.begin(self._session(request), None)
        facts, began = part_facts(wanted), time.monotonic()
        yield {
            self.result: "",
            self.cancel: gr.update(interactive=True),
            self.outcome: None,
            self.file: None,
            **off,
        }
        rows: tuple[dict, ...] = ()
        for found in cohorts.measure(self._recommender, wanted, chosen, stop=stop):
            seconds = time.monotonic() - began
            updates = {self.progress: progress_markup(found.done, found.total, seconds)}
            if len(found.rows) > len(rows):
                rows = found.rows
                outcome = Outcome(rows, facts)
                updates[self.result] = self.markup(outcome, metric)
                updates[self.outcome] = outcome
            yield updates
        ended = f"{found.done:,} of {found.total:,} answers in {time.monotonic() - began:.0f} s."
        if found.done < found.total:
            ended = f"Stopped after {ended} What is complete is shown; “Measure” goes on from here."
        outcome = Outcome(rows, facts)
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        written = {}
        for button, suffix in ((self.csv, "csv"), (self.parquet, "parquet")):
            path = folder / f"{self._recommender.prepared.dataset}-{self._key}.{suffix}"
            if rows:
                cohorts.write(rows, path)
                written[button] = gr.update(interactive=True, value=str(path))
        yield {
            self.progress: notice(ended),
            self.result: self.markup(outcome, metric),
            self.cancel: gr.update(interactive=False),
            self.outcome: outcome,
            self.file: str(folder),
            **written,
        }

    def show(self, outcome: Outcome | None, metric: str) -> str:
        """What was measured, by another metric (HTML)."""
        return "" if outcome is None else self.markup(outcome, metric)

    def markup(self, outcome: Outcome, metric: str) -> str:
        """One metric against the groups, with the numbers behind it (HTML)."""
        facts = "".join(f'<p class="ckf-facts">{escape(fact)}</p>' for fact in outcome.facts)
        rows = [row for row in outcome.rows if row["metric"] == metric]
        if not rows:
            return facts
        _, name, better = METRICS[metric]
        groups = list(dict.fromkeys(row["group"] for row in rows))
        lines: dict[tuple[str, str], list[dict]] = {}
        for row in rows:
            lines.setdefault((row["cohort"], row["method"]), []).append(row)
        people = list(dict.fromkeys(cohort for cohort, _ in lines))
        order = list(self._recommender.methods)
        series = [
            {
                **_series(
                    order.index(method),
                    " · ".join(filter(None, [_letter(cohort), self._labels[method]])),
                    [
                        (
                            groups.index(row["group"]),
                            row["value"],
                            row["low"],
                            row["high"],
                            f"<b>{escape(self._labels[method])}</b><br>{escape(cohort)}<br>"
                            f"{escape(row['group'])}: {_interval(row)}, n = {row['n']}",
                        )
                        for row in own
                        if row["value"] is not None
                    ],
                ),
                "open": people.index(cohort) > 0,
            }
            for (cohort, method), own in lines.items()
        ]
        figure = {
            "x": self._axis,
            "y": name,
            "ticks": list(range(len(groups))),
            "ticktext": [group.removeprefix("k=") for group in groups],
            "series": series,
        }
        listed = [
            Row(
                pick=None,
                cells=[
                    *([_letter(row["cohort"])] if people != [""] else []),
                    Cell(escape(row["group"].removeprefix("k=")), groups.index(row["group"])),
                    self._labels[row["method"]],
                    Cell("–", "") if row["value"] is None else Cell(_interval(row), row["value"]),
                    row["n"],
                    row["people"],
                    row["items"],
                ],
            )
            for row in rows
        ]
        listing = table(
            [
                *([Column("Group")] if people != [""] else []),
                Column("k" if people != [""] else "Ratings", numeric=True),
                Column("Method"),
                Column("Value (95 %)", numeric=True),
                Column("n", numeric=True),
                Column("People", numeric=True),
                Column("Films", numeric=True),
            ],
            listed,
            caption=f"{name} ({better}); in brackets its 95 % bootstrap interval over people",
            empty="Nothing is measured yet.",
            height=460,
        )
        # seven columns need the whole width
        return facts + _card(f"{name} against {self._axis}", figure, listing, beside=False)


def _letter(cohort: str) -> str:
    """The letter under which a group is drawn and listed; its line above says who it is."""
    return cohort.partition(":")[0]


def part_facts(parts: Sequence[cohorts.Part]) -> tuple[str, ...]:
    """One line for each sample: how many rows of how many, of how many people."""
    lines = []
    for part in parts:
        name = part.cohort or f"Films with {part.group} training ratings"
        people = len(set(part.cases.users.tolist()))
        lines.append(
            f"{name}: {_number(len(part.cases), 'row')} of {part.available:,} in the validation "
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
