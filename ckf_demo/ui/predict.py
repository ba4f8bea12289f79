"""The Predict tab: rating, click and explanation for the pair, each beside what simpler models say,
the history they rest on, and the prompt as the model got it."""

from collections.abc import Iterator
from dataclasses import replace

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.answer import (
    Answer,
    ExplanationPanel,
    answer_steps,
    explanation_steps,
)
from ckf_demo.ui.contrast import ContrastPanel
from ckf_demo.ui.controls import lead, radio
from ckf_demo.ui.events import ANSWER, GATED, ONCE, PRIVATE, QUIET
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    date_text,
    escape,
    name_cell,
    notice,
    panel,
    percent,
    plain_table,
    present,
    spread,
    stars_text,
    table,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import (
    Pair,
    counted,
    known_of,
    later_rating,
    number_note,
    opinions,
    profile_text,
    top_genres,
)
from ckf_demo.ui.stops import Stops

RATINGS = ("1", "2", "3", "4", "5")
# The marks of the methods on both lines: shape first, colour second.
MARKS = {
    "ckf": '<circle cx="8" cy="8" r="6" class="ckf-fill"/>',
    "no-tokens": '<circle cx="8" cy="8" r="5.5" class="ckf-open"/>',
    "collaborative": '<path d="M8 2 L14 13 L2 13 Z" class="ckf-open"/>',
    "average": '<path d="M8 1 V15" class="ckf-open"/>',
    "truth": '<path d="M8 1 L15 8 L8 15 L1 8 Z" class="ckf-truth"/>',
}
TASKS = {"rating": "Rating", "ctr": "Click", "explanation": "Explanation"}


def _mark(method: str) -> str:
    drawing = MARKS.get(method, MARKS["average"])
    name = method if method in MARKS else "average"
    return (
        f'<svg class="ckf-mark ckf-mark-{name}" viewBox="0 0 16 16" width="16" height="16" '
        f'aria-hidden="true">{drawing}</svg>'
    )


def _line(points: list[tuple[str, str, float, str]], ticks: list[tuple[float, str]]) -> str:
    """A scale with marks and a legend; the first point lies on top.

    ``points`` hold method, label, place in 0–1, and the shown value; ``ticks`` place and text.
    """
    marks = "".join(
        f'<span class="ckf-point" style="left:{100 * min(max(place, 0), 1):.2f}%" '
        f'title="{escape(label)}: {escape(value)}">{_mark(method)}</span>'
        for method, label, place, value in reversed(points)
    )
    scale = "".join(
        f'<span class="ckf-tick" style="left:{100 * place:.0f}%">{escape(text)}</span>'
        for place, text in ticks
    )
    legend = "".join(
        f"<li>{_mark(method)}<span>{escape(label)}</span><strong>{escape(value)}</strong></li>"
        for method, label, _, value in points
    )
    return (
        f'<div class="ckf-line" aria-hidden="true"><div class="ckf-track"></div>{marks}{scale}'
        f'</div><ul class="ckf-legend">{legend}</ul>'
    )


def _seconds(value: float) -> str:
    return f'<p class="ckf-time">{value:.2f} s</p>'


def rating_card(answer: Answer, truth: tuple[float, int] | None) -> str:
    """Five bars, their expectation with its standard deviation, and the methods' ratings."""
    if answer.rating is None:
        return notice("Working on the rating.")
    distribution = answer.rating["distribution"]
    mean, deviation = spread(distribution)
    highest = max(distribution.values())
    bars = "".join(
        f'<div class="ckf-bar"><span class="ckf-value">{percent(distribution[rating])}</span>'
        f'<span class="ckf-column" style="height:{100 * distribution[rating] / highest:.1f}%">'
        f'</span><span class="ckf-label">{rating}</span></div>'
        for rating in RATINGS
    )
    spoken = ", ".join(f"{rating}: {percent(distribution[rating])}" for rating in RATINGS)
    points = [
        (row["method"], row["label"], _rating_place(row["rating"]), f"{row['rating']:.2f}")
        for row in answer.comparison
        if row["rating"] is not None
    ] or [("ckf", answer.label, _rating_place(mean), f"{mean:.2f}")]
    if truth is not None:
        rating, timestamp = truth
        label = f"What they gave it on {date_text(timestamp)}"
        points.append(("truth", label, _rating_place(rating), stars_text(rating)))
    low, high = (_rating_place(mean - deviation), _rating_place(mean + deviation))
    whisker = (
        f'<span class="ckf-whisker" style="left:{100 * max(low, 0):.2f}%;'
        f'right:{100 - 100 * min(high, 1):.2f}%"></span>'
    )
    line = _line(points, []).replace('<div class="ckf-track"></div>', whisker, 1)
    return (
        '<section class="ckf-card"><h3>Which rating would they give?</h3>'
        f'<p class="ckf-figure"><strong>{mean:.2f}</strong> of 5 '
        f'<span class="ckf-facts">± {deviation:.2f} (one standard deviation)</span></p>'
        f'<div class="ckf-bars" role="img" aria-label="Probability of each rating: {spoken}">'
        f"{bars}</div>{line}{_seconds(answer.rating['seconds'])}</section>"
    )


def _rating_place(rating: float) -> float:
    """Where a rating lies across five equal columns, as a share of their width."""
    return (rating - 0.5) / 5


def _of_a_like(recommender) -> str:
    """The event whose probability is shown, in words."""
    if not recommender.prepared.has_ratings:
        return "that they like it"
    liked_from = recommender.prepared.liked_from
    return "of a rating of 4 or 5" if liked_from == 4 else f"of at least {liked_from:g} stars"


def click_card(recommender, answer: Answer) -> str:
    """The probability of a like on one line with the other methods' marks."""
    if answer.click is None:
        return notice("Working on the probability that they like it.")
    probability = answer.click["probability"]
    points = [
        (row["method"], row["label"], row["probability"], percent(row["probability"]))
        for row in answer.comparison
        if row["probability"] is not None
    ] or [("ckf", answer.label, probability, percent(probability))]
    ticks = [(place / 4, percent(place / 4)) for place in range(5)]
    note = ""
    if recommender.prepared.positive_only:
        thing = recommender.domain.thing
        note = (
            f'<p class="ckf-facts">Compared with one {thing} that they did not choose, drawn by '
            "popularity: 50 % means no opinion.</p>"
        )
    return (
        '<section class="ckf-card"><h3>Would they like it?</h3>'
        f'<p class="ckf-figure"><strong>{percent(probability)}</strong> '
        f'<span class="ckf-facts">probability {_of_a_like(recommender)}</span></p>{note}'
        f"{_line(points, ticks)}{_seconds(answer.click['seconds'])}</section>"
    )


def figures(recommender, answer: Answer) -> str:
    """All figures of the plots as tables."""
    if answer.click is None:
        return ""
    rows = answer.comparison or []
    if answer.rating is None:
        return plain_table(
            ["Method", "Likes it"],
            [(row["label"], _percent_of(row)) for row in rows],
            f"Probability {_of_a_like(recommender)}, by method",
        )
    methods = plain_table(
        ["Method", "Rating (1–5)", "Likes it"],
        [
            (
                row["label"],
                f"{row['rating']:.2f}" if row["rating"] is not None else "–",
                _percent_of(row),
            )
            for row in rows
        ],
        f"Expected rating and probability {_of_a_like(recommender)}, by method",
    )
    distributions = [
        (row["label"], row["distribution"]) for row in rows if row["distribution"]
    ] or [(answer.label, answer.rating["distribution"])]
    return methods + plain_table(
        ["Probability of", *RATINGS],
        [(label, *(percent(d[rating]) for rating in RATINGS)) for label, d in distributions],
        "Probability of each rating",
    )


def _percent_of(row: dict) -> str:
    return percent(row["probability"]) if row["probability"] is not None else "–"


def prompt_markup(recommender, parts: list[dict]) -> str:
    """The prompt with its collaborative tokens as marked boxes."""
    names = {"user_token": "user token", "item_token": "item token"}
    shown = []
    for part in parts:
        kind = part["kind"]
        if kind in names:
            shown.append(f'<mark class="ckf-token ckf-{kind}">{names[kind]}</mark>')
        elif kind == "answer":
            shown.append(f'<mark class="ckf-token ckf-answer">{escape(part["text"])}</mark>')
        else:
            shown.append(escape(part["text"]))
    return (
        '<p class="ckf-facts">Boxes are collaborative tokens: vectors made from '
        f"{opinions(recommender)} by this person’s bridges, which stand where a word would stand. "
        "The last box is where the answer is read.</p>"
        f'<pre class="ckf-prompt" tabindex="0">{"".join(shown)}</pre>'
    )


def history_markup(recommender, pair: Pair) -> str:
    """The profile in one line and the history as a table, newest first."""
    store, domain, what = recommender.store, recommender.domain, opinions(recommender)
    prepared = recommender.prepared
    rated, genres, times = not prepared.positive_only, prepared.has_genres, prepared.has_times
    history = known_of(recommender, pair)
    if pair.user:
        user = store.user(pair.user)
        profile = profile_text(user.get("age"), user.get("occupation"))
    else:
        profile = profile_text(pair.age, pair.occupation)
    facts = [profile]
    if pair.taste:
        facts.append(f"says: “{pair.taste}”")
    if history:
        mean = sum(row["rating"] for row in history) / len(history)
        facts.append(
            f"mean rating {mean:.2f} (n = {len(history)})" if rated else f"n = {len(history)}"
        )
        if genres:
            facts.append("likes " + ", ".join(top_genres(history, prepared.liked_from)))
    if untitled := sum(not row["title"] for row in history):
        facts.append(f"{counted(untitled, domain.things)} without a title")
    rows = [
        Row(
            pick=row["item"],
            anchor=f"rated-{row['item']}",
            selected=row["item"] == pair.item,
            cells=[
                name_cell(row, number_note(row, recommender)),
                *([Cell(f"{stars_text(row['rating'])}&nbsp;★", row["rating"])] if rated else []),
                *([", ".join(row["genres"])] if genres else []),
                _when(row["timestamp"]) if times else place,
            ],
        )
        # what has a title first, as a number says nothing to a visitor
        for place, row in sorted(
            enumerate(history, start=1),
            key=lambda entry: (bool(entry[1]["title"]), entry[0]),
            reverse=True,
        )
    ]
    columns = [
        Column(domain.thing.capitalize(), pick=True, wide=True),
        *([Column("Rated", numeric=True)] if rated else []),
        *([Column("Genres", wide=True)] if genres else []),
        Column("When" if times else "Order", numeric=True),
    ]
    listing = table(
        columns,
        rows,
        caption="Rated before the moment" if rated else "Liked before the moment",
        empty=f"No {what} are known at this moment. The answers use the profile, the sentence and "
        f"the average opinion of the {domain.thing}. Add {domain.things} under “New person” to see "
        "them change.",
        height=400,
    )
    described = escape(" · ".join(filter(None, facts)))
    return (
        f'<section class="ckf-card"><h3>What is known of them</h3>'
        f'<p class="ckf-facts">{described}</p>{listing}</section>'
    )


def _when(timestamp: object) -> Cell:
    if not present(timestamp):
        return Cell("now", 0)
    return Cell(escape(date_text(timestamp)), timestamp)


class PredictTab:
    """Builds the tab's components in the current Blocks context and answers pairs into them."""

    def __init__(self, recommender, stops: Stops, landing: Answer) -> None:
        self.recommender = recommender
        self.stops = stops
        self.panels: list[ExplanationPanel] = []
        store, pair, thing = recommender.store, landing.pair, recommender.domain.thing
        self._rates = "rating" in recommender.tasks
        asked = f"How would this person rate this {thing}, would they like it, and why?"
        if not self._rates:
            asked = f"Would this person like this {thing}, and why?"
        compared = "with the collaborative model alone, and with everybody’s average"
        if recommender.prepared.positive_only:
            compared = "and with the collaborative model alone"
        lead(
            f"{asked} The marks compare CKF with the same model without collaborative tokens, "
            f"{compared}."
        )
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(min_width=300, visible=self._rates):
                self.rating = panel(
                    rating_card(landing, later_rating(store, pair)), elem_id="rating"
                )
            with gr.Column(min_width=300):
                self.click = panel(click_card(recommender, landing), elem_id="click")
                self.panels.append(ExplanationPanel(recommender, landing, "predict", linked=True))
        self.history = panel(history_markup(recommender, pair), elem_id="history")
        with gr.Accordion("Figures as tables", open=False):
            self.figures = panel(figures(recommender, landing), elem_id="figures")
        with gr.Accordion("The prompt as the model got it", open=False):
            known = [task for task in TASKS if task in recommender.tasks]
            self.task = radio("prompt-task", "Task", [(TASKS[task], task) for task in known])
            self.prompt = panel(self.prompt_of(pair, known[0]), elem_id="prompt")
        self.contrast = ContrastPanel(recommender, stops)

    def wire(self, page: Page) -> None:
        """Answer the pair whenever it changes, and explain it again on request."""
        pair, model = page.pair, page.service.model
        page.chooses_item(self.history)
        page.show(self.history, lambda current: history_markup(self.recommender, current))
        words = [part for shown in self.panels for part in shown.components]
        pair.change(
            page.gated(self.answer, model, "page: predict"),
            [pair, self.task],
            self.outputs,
            show_progress_on=[self.rating, self.click, *(shown.words for shown in self.panels)],
            **ANSWER,
        )
        self.task.change(
            page.gated(self.prompt_of, model, "page: prompt"),
            [pair, self.task],
            self.prompt,
            **PRIVATE,
            **GATED,
        )
        for shown in self.panels:
            shown.again.click(
                page.gated(self.explain, model, "page: explain"),
                pair,
                words,
                **ONCE,
            )
            shown.stop.click(self.stops.halt, **QUIET)
        self.contrast.wire(page)

    @property
    def outputs(self) -> list:
        """Every component that ``answer`` may update."""
        shown = [part for panel_ in self.panels for part in panel_.components]
        return [self.rating, self.click, self.figures, self.prompt, *shown]

    def prompt_of(self, pair: Pair, task: str) -> str:
        """The prompt of one task for the pair (HTML), or why its method has none."""
        try:
            parts = self.recommender.prompt(
                **pair.person, item=pair.item, task=task, method=pair.method
            )
        except UserError as error:
            return notice(str(error))
        return prompt_markup(self.recommender, parts)

    def answer(self, pair: Pair, task: str, request: gr.Request) -> Iterator[dict]:
        """Answer the pair into the page, step by step."""
        stop = self.stops.begin(request.session_hash, pair)
        truth = later_rating(self.recommender.store, pair)
        answer = Answer(pair)
        try:
            for answer in answer_steps(self.recommender, pair, stop):
                updates = self._words(answer, running=not answer.finished)
                if answer.explanation is None:
                    updates |= {
                        self.rating: rating_card(answer, truth),
                        self.click: click_card(self.recommender, answer),
                        self.figures: figures(self.recommender, answer),
                        self.prompt: self.prompt_of(pair, task),
                    }
                yield updates
        except UserError as error:
            message = warn(error)
            yield self._words(Answer(pair), running=False) | {
                self.rating: message,
                self.click: "" if self._rates else message,
                self.figures: "",
                self.prompt: "",
            }
        else:
            yield self._words(replace(answer, finished=True), running=False)

    def explain(self, pair: Pair, request: gr.Request) -> Iterator[dict]:
        """Write the explanation once more."""
        stop = self.stops.begin(request.session_hash, pair)
        answer = Answer(pair)
        try:
            for step in explanation_steps(self.recommender, pair, stop):
                answer = Answer(pair, explanation=step, finished="sentences" in step)
                yield self._words(answer, running=not answer.finished)
        except UserError as error:
            answer = Answer(pair, silence=str(error))
        yield self._words(replace(answer, finished=True), running=False)

    def _words(self, answer: Answer, *, running: bool) -> dict:
        updates: dict = {}
        for shown in self.panels:
            updates |= shown.show(answer, running)
        return updates
