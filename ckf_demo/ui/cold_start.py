"""The Cold start tab: one person's first opinions replayed, groups of people after k ratings, and
items with few ratings."""

import time
from collections.abc import Iterator
from functools import partial

import gradio as gr
import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.evaluation import cohorts
from ckf_demo.inference.replay import FIRST, plan, run
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import plot_panel
from ckf_demo.ui.controls import dropdown, lead, radio, stop_button
from ckf_demo.ui.events import ANSWER, PRIVATE, QUIET
from ckf_demo.ui.group_results import groups_markup
from ckf_demo.ui.items import directed_by
from ckf_demo.ui.markup import film_text, notice, panel, warn
from ckf_demo.ui.measurement import CohortControls, Measurement
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, group_of
from ckf_demo.ui.replay_markup import QUESTIONS, Latest, ReplayMarkup
from ckf_demo.ui.sidebar import ANY
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.stored_results import EVERYTHING, RESULTS, View, read_results
from ckf_demo.ui.words import words_of

LIKELY_K = 5
FIRST_CHOICES, TARGET_CHOICES = (5, 10, FIRST, 40), (5, 10, 20)
EVERYBODY = {"rating": "rmse", "ctr": "auc"}
"""What is shown of everybody: a metric of each task."""
BETWEEN = 0.5
"""Seconds between two pictures of a replay that grows."""

NO_GROUPS = (
    "These data hold only likes: without negatives there is no error to compare groups by. See "
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
        lead(
            f"How few {opinions} are enough? See one person become known {self.words.opinion} "
            f"by {self.words.opinion}{f', {groups}' if self.negatives else ''}."
        )
        with gr.Tabs(elem_id="cold-tabs", overflow_behavior="wrap"):
            with gr.Tab("One person", id="replay"):
                with gr.Row(elem_classes="ckf-controls"):
                    self.question = radio(
                        "cold-question",
                        "Question",
                        [(QUESTIONS[task].label, task) for task in tasks],
                        160,
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
                    self.first = dropdown(
                        "cold-first",
                        f"{opinions.capitalize()} to learn from at most",
                        FIRST_CHOICES,
                        150,
                        value=10,
                    )
                    self.targets = dropdown(
                        "cold-targets",
                        f"Later {things} to predict at most",
                        TARGET_CHOICES,
                        150,
                        value=10,
                    )
                with gr.Row(elem_classes="ckf-buttons"):
                    self.halt = stop_button("cold-stop")
                self.shown = plot_panel(
                    notice("The replay begins when this tab is opened."), elem_id="replay"
                )
                self.after = panel("", elem_id="replay-after")
            if self.negatives:
                with gr.Tab("Everybody", id="everybody"):
                    self._build_everybody()
            things_tab = f"{things.capitalize()} with few {self.words.opinion}s"
            with gr.Tab("Groups of people", id="cohorts"):
                self._build_people() if self.negatives else panel(notice(NO_GROUPS))
            with gr.Tab(things_tab, id="items"):
                self._build_items() if self.negatives else panel(notice(NO_GROUPS))
        # The latest replay of this session.
        self.latest = gr.State(None)

    def _build_everybody(self) -> None:
        """What was measured on all people of a part, by the number of ratings that are known."""
        lead(
            "The same rows, each answered with its user’s last k ratings alone. “Results” has "
            "every method and group."
        )
        path = self.recommender.checkpoint / RESULTS
        try:
            results = read_results(path)
            views = [View(task, metric, EVERYTHING) for task, metric in EVERYBODY.items()]
            shown = "".join(groups_markup(results, view) for view in views)
        except UserError as error:
            shown = notice(str(error), "problem")
        plot_panel(shown or notice("Nothing was measured with cut histories."), elem_id="everybody")

    def _build_people(self) -> None:
        """The controls and the result of a measurement of one cohort or two after k ratings."""
        ratings = _coldest_and_warmest(self.recommender.prepared)
        self.compare = gr.Checkbox(True, label="Two groups side by side", elem_id="cohorts-two")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                first = CohortControls(self.recommender, "A", ratings[0])
            with gr.Column(min_width=300) as self.second:
                second = CohortControls(self.recommender, "B", ratings[1])

        self.cohorts = [first, second]

        def parts(per_person: int, total: int, compare: bool, *values) -> list[cohorts.Part]:
            size = len(first.controls)
            people = [first.cohort(*values[:size])]
            if compare:
                people.append(second.cohort(*values[size:]))
            data = self.recommender.prepared
            return cohorts.cohort_parts(data, people, per_person=per_person, total=total)

        self.people = Measurement(
            self.recommender,
            "cohorts",
            "k, the last ratings",
            parts,
            [self.compare, *first.controls, *second.controls],
        )

    def _build_items(self) -> None:
        """The controls and the result of a measurement of items by their training ratings."""
        lead(
            f"Rows of the validation part by how many ratings their {self.words.thing} has in the "
            "training part, with whole histories."
        )

        def parts(per_person: int, total: int) -> list[cohorts.Part]:
            data = self.recommender.prepared
            return cohorts.item_parts(data, per_person=per_person, total=total)

        axis = f"training ratings of the {self.words.thing}"
        self.items = Measurement(self.recommender, "items", axis, parts)

    def wire(self, page: Page) -> None:
        """Replay the pair's person while the tab is open, and run the two measurements."""
        pair, long = page.pair, page.service.long
        page.chooses_item(self.shown, self.after)
        page.on_pair(lambda request, current: self.stops.stop(request.session_hash, unless=current))
        page.on_leave(self.stops.leave)
        gr.on(
            [
                page.active.change,
                pair.change,
                *(each.change for each in (self.question, self.first, self.targets)),
            ],
            page.gated_in(["cold"], self.replay, long, "page: replay", self.latest),
            [page.active, pair, self.latest, self.question, self.k, self.first, self.targets],
            [self.shown, self.after, self.k, self.halt, self.latest],
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
        self.halt.click(self.stops.halt, **QUIET)
        if self.negatives:
            two, column = self.compare, self.second
            two.change(lambda compare: gr.update(visible=compare), two, column, **QUIET)
            for part in (*self.cohorts, self.people, self.items):
                part.wire(page)

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
        ended = {self.halt: gr.update(interactive=False)}
        try:
            replay = plan(
                self.recommender, item=pair.item, **person, first=int(first), targets=int(targets)
            )
            most = len(replay.added)
            k = min(int(k), most)
            # a slider without any room cannot be drawn
            yield {self.k: gr.update(maximum=max(most, 1), value=k, interactive=most > 0)}
            if latest is not None and latest.replay == replay and latest.finished:
                yield self._show(latest, question, k)
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
            yield self._show(growing, question, k, stopped=not growing.finished) | ended
        except UserError as error:
            yield {self.shown: warn(error), self.after: ""} | ended

    def _show(self, latest: Latest, question: str, k: int, *, stopped: bool = False) -> dict:
        markup = self._markup(latest, question, k)
        return {
            self.shown: markup.replay(negatives=self.negatives, stopped=stopped),
            self.after: markup.after(),
            self.latest: latest if latest.finished else gr.skip(),
        }

    def _markup(self, latest: Latest, question: str, k: int) -> ReplayMarkup:
        film = film_text(self.recommender.store.item(latest.replay.item))
        directed = partial(directed_by, self.recommender)
        return ReplayMarkup(latest, QUESTIONS[question], k, self.labels, film, self.words, directed)

    def move(self, k: float, latest: Latest | None, question: str) -> str:
        """What is predicted after the first k opinions (HTML)."""
        if latest is None:
            return ""
        return self._markup(latest, question, min(int(k), len(latest.replay.added))).after()

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


def _coldest_and_warmest(data: Prepared) -> tuple[str, str]:
    """The first and the last band of training ratings with people in the validation part."""
    users = np.unique(data.user[data.split == VALID])
    counts = np.bincount(data.user[data.split == TRAIN], minlength=data.n_users)[users]
    present = list(dict.fromkeys(group_of(n) for n in sorted(counts)))
    return (present[0], present[-1]) if len(present) > 1 else (ANY, ANY)
