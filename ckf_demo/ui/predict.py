"""The Predict tab: rating, click and explanation for the pair, each beside what simpler models say,
the history they rest on, and the prompt as the model got it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.answer import Answer, ExplanationPanel, answer_steps, explained
from ckf_demo.ui.charts import card, mark, stars_cell, table_of
from ckf_demo.ui.contrast import ContrastPanel
from ckf_demo.ui.controls import lead, radio
from ckf_demo.ui.downloads import Downloads
from ckf_demo.ui.events import ANSWER, GATED, ONCE, PRIVATE, QUIET
from ckf_demo.ui.items import genres_column, name_column
from ckf_demo.ui.markup import (
    Cell,
    Column,
    date_text,
    escape,
    notice,
    panel,
    percent,
    plain_table,
    present,
    spread,
    stars_text,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import (
    Pair,
    counted,
    known_of,
    later_rating,
    likes_of,
    opinions,
    profile_of,
    rated_before,
)
from ckf_demo.ui.saved_rows import history_rows
from ckf_demo.ui.stops import Stops

# The marks of the methods on both lines: shape first, colour second.
MARKS = {
    "ckf": '<circle cx="8" cy="8" r="6" class="ckf-fill"/>',
    "no-tokens": '<circle cx="8" cy="8" r="5.5" class="ckf-open"/>',
    "collaborative": '<path d="M8 2 L14 13 L2 13 Z" class="ckf-open"/>',
    "average": '<path d="M8 1 V15" class="ckf-open"/>',
    "truth": '<path d="M8 1 L15 8 L8 15 L1 8 Z" class="ckf-truth"/>',
}
TASKS = {"rating": "Rating", "ctr": "Click", "explanation": "Explanation"}
TRACK = '<div class="ckf-track"></div>'
Points = list[tuple[str, str, float, str]]
"""Method, label, value, and the value as text of each method."""


def _mark(method: str) -> str:
    return mark(MARKS.get(method, MARKS["average"]))


def _points(answer: Answer, field: str, value: float, written: Callable[[float], str]) -> Points:
    """The methods' ratings or probabilities, whatever ``field`` is; at first ``value`` alone."""
    rows = [row for row in answer.comparison if row[field] is not None]
    rows = rows or [{"method": "ckf", "label": answer.label, field: value}]
    return [(row["method"], row["label"], row[field], written(row[field])) for row in rows]


def _line(
    points: Points,
    place: Callable[[float], float] = float,
    ticks: Sequence[float] = (),
    track: str = TRACK,
) -> str:
    """A scale with marks and a legend; the first point lies on top.

    ``place`` says where a value lies, in 0–1; ``ticks`` are probabilities.
    """
    marks = "".join(
        f'<span class="ckf-point" style="left:{100 * min(max(place(value), 0), 1):.2f}%" '
        f'title="{escape(label)}: {escape(text)}">{_mark(method)}</span>'
        for method, label, value, text in reversed(points)
    )
    scale = "".join(
        f'<span class="ckf-tick" style="left:{100 * tick:.0f}%">{percent(tick)}</span>'
        for tick in ticks
    )
    legend = "".join(
        f"<li>{_mark(method)}<span>{escape(label)}</span><strong>{escape(text)}</strong></li>"
        for method, label, _, text in points
    )
    return (
        f'<div class="ckf-line" aria-hidden="true">{track}{marks}{scale}'
        f'</div><ul class="ckf-legend">{legend}</ul>'
    )


def _figure(value: str, unit: str, about: str) -> str:
    return (
        f'<p class="ckf-figure"><strong>{value}</strong>{unit} '
        f'<span class="ckf-facts">{about}</span></p>'
    )


def _seconds(answer: dict) -> str:
    return f'<p class="ckf-time">{answer["seconds"]:.2f} s</p>'


def rating_card(
    answer: Answer, truth: tuple[float, int] | None, before: float | None = None
) -> str:
    """A bar for each rating, their mean with its standard deviation, and the methods' ratings.

    ``truth`` is the rating that the person gave later, with its time, and ``before`` one that they
    gave earlier.
    """
    if answer.rating is None:
        return notice("Working on the rating.")
    distribution = answer.rating["distribution"]
    mean, deviation = spread(distribution)
    highest = max(distribution.values())
    bars = "".join(
        f'<div class="ckf-bar"><span class="ckf-value">{percent(distribution[rating])}</span>'
        f'<span class="ckf-column" style="height:{100 * distribution[rating] / highest:.1f}%">'
        f'</span><span class="ckf-label">{rating}</span></div>'
        for rating in distribution
    )
    spoken = ", ".join(f"{rating}: {percent(p)}" for rating, p in distribution.items())
    points = _points(answer, "rating", mean, "{:.2f}".format)
    if truth is not None:
        rating, timestamp = truth
        label = f"What they gave it on {date_text(timestamp)}"
        points.append(("truth", label, rating, stars_text(rating)))
    place = partial(_rating_place, columns=len(distribution))
    low, high = max(place(mean - deviation), 0), min(place(mean + deviation), 1)
    whisker = (
        f'<span class="ckf-whisker" style="left:{100 * low:.2f}%;'
        f'right:{100 - 100 * high:.2f}%"></span>'
    )
    known = ""
    if before is not None:
        given = stars_text(before)
        known = notice(f"They gave it {given} before; the prediction leaves that rating out.")
    return card(
        "Which rating would they give?",
        known,
        _figure(f"{mean:.2f}", " of 5", f"± {deviation:.2f} (one standard deviation)"),
        f'<div class="ckf-bars" role="img" aria-label="Probability of each rating: {spoken}">'
        f"{bars}</div>",
        _line(points, place, track=whisker),
        _seconds(answer.rating),
    )


def _rating_place(rating: float, columns: int = 5) -> float:
    """Where a rating lies across equal columns up to five stars, as a share of their width."""
    return rating / 5 - 0.5 / columns


def _of_a_like(recommender) -> str:
    """The event whose probability is shown, in words."""
    if not recommender.prepared.has_ratings:
        return "that they like it"
    liked_from = recommender.prepared.liked_from
    return "of a rating of 4 or 5" if liked_from == 4 else f"of at least {liked_from:g} stars"


def wishes_markup(recommender, pair: Pair) -> str:
    """Which wishes of the taste the item fulfils and which not (HTML); empty without a taste."""
    if not pair.taste or not pair.item or pair.strength == 0:
        return ""
    lines = [
        f'<li class="{"ckf-wanted" if wish["holds"] == wish["wanted"] else "ckf-unwanted"}">'
        f"{escape(wish['name'])}: {'yes' if wish['holds'] else 'no'}"
        f'<span class="ckf-facts">{"wanted" if wish["wanted"] else "not wanted"}</span></li>'
        for wish in recommender.read_taste(pair.taste, pair.item)["understood"]
        if wish["holds"] is not None
    ]
    if not lines:
        return ""
    label = f"What of the sentence holds for this {recommender.domain.thing}"
    return f'<ul class="ckf-reading" aria-label="{escape(label)}">{"".join(lines)}</ul>'


def click_card(recommender, answer: Answer) -> str:
    """The probability of a like on one line with the other methods' marks."""
    if answer.click is None:
        return notice("Working on the probability that they like it.")
    probability = answer.click["probability"]
    note = ""
    if recommender.prepared.positive_only:
        note = (
            f'<p class="ckf-facts">Compared with one {recommender.domain.thing} that they did not '
            "choose, drawn by popularity: 50 % means no opinion.</p>"
        )
    return card(
        "Would they like it?",
        _figure(percent(probability), "", f"probability {_of_a_like(recommender)}"),
        wishes_markup(recommender, answer.pair),
        note,
        _line(_points(answer, "probability", probability, percent), ticks=(0, 0.25, 0.5, 0.75, 1)),
        _seconds(answer.click),
    )


def figures(recommender, answer: Answer) -> str:
    """All figures of the plots as tables."""
    if answer.click is None:
        return ""
    rows, event = answer.comparison, _of_a_like(recommender)
    likes = ["–" if row["probability"] is None else percent(row["probability"]) for row in rows]
    labels = [row["label"] for row in rows]
    if answer.rating is None:
        return plain_table(
            ["Method", "Likes it"],
            zip(labels, likes, strict=True),
            f"Probability {event}, by method",
        )
    ratings = ["–" if row["rating"] is None else f"{row['rating']:.2f}" for row in rows]
    distributions = [
        (row["label"], row["distribution"]) for row in rows if row["distribution"]
    ] or [(answer.label, answer.rating["distribution"])]
    least = next(iter(distributions[0][1]))
    return plain_table(
        ["Method", f"Rating ({least}–5)", "Likes it"],
        zip(labels, ratings, likes, strict=True),
        f"Expected rating and probability {event}, by method",
    ) + plain_table(
        ["Probability of", *distributions[0][1]],
        [(label, *map(percent, d.values())) for label, d in distributions],
        "Probability of each rating",
    )


def prompt_markup(recommender, parts: list[dict]) -> str:
    """The prompt with its collaborative tokens and its answer as marked boxes."""
    names = {"user_token": "user token", "item_token": "item token"}
    shown = []
    for part in parts:
        kind = part["kind"]
        text = names.get(kind) or escape(part["text"])
        if kind in names or kind == "answer":
            text = f'<mark class="ckf-token ckf-{kind}">{text}</mark>'
        shown.append(text)
    return (
        '<p class="ckf-facts">Boxes are collaborative tokens: vectors made from '
        f"{opinions(recommender)} by this person’s bridges, which stand where a word would stand. "
        "The last box is where the answer is read.</p>"
        f'<pre class="ckf-prompt" tabindex="0">{"".join(shown)}</pre>'
    )


def history_markup(recommender, pair: Pair) -> str:
    """The profile in one line and the history as a table, newest first."""
    domain, prepared = recommender.domain, recommender.prepared
    rated, history = not prepared.positive_only, known_of(recommender, pair)
    facts = [profile_of(recommender, pair)]
    if pair.taste:
        facts.append(f"says: “{pair.taste}”")
    if history:
        mean = sum(row["rating"] for row in history) / len(history)
        about = f"n = {len(history)}"
        facts.append(f"mean rating {mean:.2f} ({about})" if rated else about)
        if prepared.has_genres:
            facts.append(likes_of(history, prepared.liked_from))
    if untitled := sum(not row["title"] for row in history):
        facts.append(f"{counted(untitled, domain.things)} without a title")
    rows = [row | {"order": place} for place, row in enumerate(history, start=1)]
    # what has a title first, as a number says nothing to a visitor
    rows.sort(key=lambda row: (bool(row["title"]), row["order"]), reverse=True)
    known = table_of(
        rows,
        [
            name_column(recommender),
            (Column("Rated", numeric=True, shown=rated), lambda row: stars_cell(row["rating"])),
            genres_column(recommender),
            ("When", _when) if prepared.has_times else ("Order", itemgetter("order")),
        ],
        pick=itemgetter("item"),
        anchor=lambda row: f"rated-{row['item']}",
        selected=lambda row: row["item"] == pair.item,
        caption="Rated before the moment" if rated else "Liked before the moment",
        empty=f"No {opinions(recommender)} are known at this moment. The answers use the profile, "
        f"the sentence and the average opinion of the {domain.thing}. Add {domain.things} under "
        "“New person” to see them change.",
        height=400,
    )
    described = escape(" · ".join(filter(None, facts)))
    return card("What is known of them", f'<p class="ckf-facts">{described}</p>', known)


def _when(row: dict) -> Cell:
    timestamp = row["timestamp"]
    return Cell(escape(date_text(timestamp)), timestamp) if present(timestamp) else Cell("now", 0)


class PredictTab:
    """Builds the tab's components in the current Blocks context and answers pairs into them."""

    def __init__(self, recommender, stops: Stops, first_answer: Answer) -> None:
        self.recommender, self.stops = recommender, stops
        pair, thing = first_answer.pair, recommender.domain.thing
        self._rates = "rating" in recommender.tasks
        question = f"Would this person like this {thing}, and why?"
        if self._rates:
            question = f"How would this person rate this {thing}, would they like it, and why?"
        compared = "with the collaborative model alone, and with everybody’s average"
        if recommender.prepared.positive_only:
            compared = "and with the collaborative model alone"
        lead(
            f"{question} The marks compare CKF with the same model without collaborative tokens, "
            f"{compared}."
        )
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(min_width=300, visible=self._rates):
                truth = later_rating(recommender.store, pair)
                before = rated_before(known_of(recommender, pair), pair.item)
                self.rating = panel(rating_card(first_answer, truth, before), elem_id="rating")
            with gr.Column(min_width=300):
                self.click = panel(click_card(recommender, first_answer), elem_id="click")
                words = ExplanationPanel(recommender, first_answer, "predict", linked=True)
                self.panels = [words]
                self.times = gr.State(0)
        self.history = panel(history_markup(recommender, pair), elem_id="history")
        self.downloads = Downloads("history", "Save what is known:")
        with gr.Accordion("Figures as tables", open=False):
            self.figures = panel(figures(recommender, first_answer), elem_id="figures")
        with gr.Accordion("The prompt as the model got it", open=False):
            tasks = [(label, task) for task, label in TASKS.items() if task in recommender.tasks]
            self.task = radio("prompt-task", "Task", tasks)
            self.prompt = panel(self.prompt_of(pair, tasks[0][1]), elem_id="prompt")
        self.contrast = ContrastPanel(recommender, stops)

    def wire(self, page: Page) -> None:
        """Answer the pair whenever it changes, and explain it again on request."""
        pair, model = page.pair, page.service.model
        page.chooses_item(self.history)
        page.show(self.history, lambda current: history_markup(self.recommender, current))
        self.downloads.wire(lambda current: history_rows(self.recommender, current), [pair])
        words = [part for shown in self.panels for part in shown.components]
        pair.change(
            page.gated(self.answer, model, "page: predict"),
            [pair, self.task],
            [self.rating, self.click, self.figures, self.prompt, *words],
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
        explain = page.gated(self.explain, model, "page: explain")
        for shown in self.panels:
            shown.again.click(explain, [pair, self.times], [*words, self.times], **ONCE)
            shown.stop.click(self.stops.halt, **QUIET)
        self.contrast.wire(page)

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
        before = rated_before(known_of(self.recommender, pair), pair.item)
        answer = Answer(pair)
        try:
            for answer in answer_steps(self.recommender, pair, stop):
                updates = self._words(answer, running=not answer.finished)
                if answer.explanation is None:
                    updates |= {
                        self.rating: rating_card(answer, truth, before),
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

    def explain(self, pair: Pair, times: int, request: gr.Request) -> Iterator[dict]:
        """Write the explanation in other words; ``times`` is how often that was done."""
        stop = self.stops.begin(request.session_hash, pair)
        answer, times = Answer(pair), times + 1
        yield {self.times: times}
        for answer in explained(self.recommender, Answer(pair), stop, again=times):
            yield self._words(answer, running=not answer.finished)
        yield self._words(replace(answer, finished=True), running=False)

    def _words(self, answer: Answer, *, running: bool) -> dict:
        updates: dict = {}
        for shown in self.panels:
            updates |= shown.show(answer, running)
        return updates
