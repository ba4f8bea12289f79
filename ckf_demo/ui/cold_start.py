"""The Cold start tab: one person's first opinions replayed, groups of people after k ratings, and
items with few ratings."""

import time
from collections.abc import Iterator, Sequence

import gradio as gr
import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.evaluation import cohorts
from ckf_demo.inference.replay import FIRST, plan, run
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import plot_panel
from ckf_demo.ui.events import ANSWER, GATED, PRIVATE, QUIET
from ckf_demo.ui.markup import film_text, notice, panel, warn
from ckf_demo.ui.measurement import CohortControls, Measurement
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, group_of
from ckf_demo.ui.replay_markup import QUESTIONS, Latest, after_markup, replay_markup
from ckf_demo.ui.sidebar import ANY
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.words import words_of

LIKELY_K = 5
FIRST_CHOICES, TARGET_CHOICES = (5, 10, FIRST, 40), (5, 10, 20)
BETWEEN = 0.5
"""Seconds between two pictures of a replay that grows."""

NO_GROUPS = (
    "These data hold likes alone: without negatives there is no error to compare groups by. See "
    "“Results” for what was measured against sampled negatives."
)


class ColdStartTab:
    """Builds the tab's components in the current Blocks context and answers into them."""

    def __init__(self, recommender) -> None:
        self.recommender, self.labels = recommender, recommender.labels
        self.stops, self.words = Stops(), words_of(recommender)
        self.negatives = not recommender.prepared.positive_only
        tasks = [task for task in QUESTIONS if task in recommender.tasks]
        things, opinions = self.words.things, f"{self.words.opinion}s"
        groups = f"measure groups of people after k ratings, and look at {things} with few ratings"
        gr.HTML(
            f"<p>How few {opinions} are enough? See one person become known {self.words.opinion} "
            f"by {self.words.opinion}{f', {groups}' if self.negatives else ''}.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        with gr.Tabs(elem_id="cold-tabs", overflow_behavior="wrap"):
            with gr.Tab("One person", id="replay"):
                with gr.Row(elem_classes="ckf-controls"):
                    self.question = gr.Radio(
                        [(QUESTIONS[task].label, task) for task in tasks],
                        value=tasks[0],
                        label="Question",
                        min_width=160,
                        elem_id="cold-question",
                    )
                    self.k = gr.Slider(
                        0,
                        FIRST,
                        value=LIKELY_K,
                        step=1,
                        label=f"Known: the first k {opinions}",
                        min_width=200,
                        elem_id="cold-k",
                    )
                    self.first = gr.Dropdown(
                        list(FIRST_CHOICES),
                        value=10,
                        label=f"{opinions.capitalize()} to learn from at most",
                        min_width=150,
                        elem_id="cold-first",
                    )
                    self.targets = gr.Dropdown(
                        list(TARGET_CHOICES),
                        value=10,
                        label=f"Later {things} to predict at most",
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
                if self.negatives:
                    self._build_people()
                else:
                    panel(notice(NO_GROUPS))
            with gr.Tab(f"{things.capitalize()} with few {self.words.opinion}s", id="items"):
                if self.negatives:
                    gr.HTML(
                        f"<p>Rows of the validation part by how many ratings their "
                        f"{self.words.thing} has in the training part, with whole histories.</p>",
                        apply_default_css=False,
                        elem_classes="ckf-lead",
                    )
                    axis = f"training ratings of the {self.words.thing}"
                    self.items = Measurement(recommender, self.stops, "items", axis)
                else:
                    panel(notice(NO_GROUPS))
        # The latest replay of this session.
        self.latest = gr.State(None)

    def _build_people(self) -> None:
        """The controls and the result of a measurement of groups."""
        usual = _coldest_and_warmest(self.recommender.prepared)
        self.compare = gr.Checkbox(True, label="Two groups side by side", elem_id="cohorts-two")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                first = CohortControls(self.recommender, "A", usual[0])
            with gr.Column(min_width=300) as self.second:
                second = CohortControls(self.recommender, "B", usual[1])
        self.groups = [first, second]
        axis = "k, the last ratings"
        self.people = Measurement(self.recommender, self.stops, "cohorts", axis)

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
        if not self.negatives:
            return
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
        """The events of the controls after which the replay is shown again."""
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
            replay = plan(
                self.recommender, item=pair.item, **person, first=int(first), targets=int(targets)
            )
            most = len(replay.added)
            k = min(int(k), most)
            # a slider without any room cannot be drawn
            yield {self.k: gr.update(maximum=max(most, 1), value=k, interactive=most > 0)}
            if latest is not None and latest.replay == replay and latest.finished:
                yield self._show(latest, question, k, latest)
                return
            stop = self.stops.begin(request.session_hash, pair)
            yield {
                self.shown: notice("The first answers are about to come."),
                self.after: "",
                self.halt: gr.update(interactive=True),
            }
            drawn, growing = 0.0, Latest(replay)
            for steps in run(self.recommender, replay, stop):
                growing = Latest(replay, steps)
                if time.monotonic() - drawn > BETWEEN:
                    yield self._show(growing, question, k)
                    drawn = time.monotonic()
            kept = growing if growing.finished else None
            ended = {self.halt: gr.update(interactive=False)}
            yield self._show(growing, question, k, kept, stopped=kept is None) | ended
        except UserError as error:
            yield {
                self.shown: warn(error),
                self.after: "",
                self.halt: gr.update(interactive=False),
            }

    def _show(
        self,
        growing: Latest,
        question: str,
        k: int,
        latest: Latest | None = None,
        *,
        stopped: bool = False,
    ) -> dict:
        markup = replay_markup(
            growing,
            QUESTIONS[question],
            k,
            self.labels,
            film_text(self.recommender.store.item(growing.replay.item)),
            self.words,
            negatives=self.negatives,
            stopped=stopped,
        )
        return {
            self.shown: markup,
            self.after: self._after(growing, question, k),
            self.latest: gr.skip() if latest is None else latest,
        }

    def _after(self, latest: Latest, question: str, k: int) -> str:
        return after_markup(latest, QUESTIONS[question], k, self.labels, self.words)

    def move(self, k: float, latest: Latest | None, question: str) -> str:
        """What is predicted after the first k opinions (HTML)."""
        if latest is None:
            return ""
        return self._after(latest, question, min(int(k), len(latest.replay.added)))

    def stop(self, request: gr.Request) -> None:
        """End the session's replay before its next step."""
        self.stops.stop(request.session_hash)

    def forget(self, request: gr.Request) -> None:
        """Stop everything of a session that has ended."""
        self.stops.forget(request.session_hash)
        if self.negatives:
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
        """Measure items by how many training ratings they have."""

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
