"""The Compare tab: every method at hand on the same film, or on the same candidates, for the pair's
person and, if one likes, for a second one beside them. Baselines can be added, which are fitted
before they are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from operator import attrgetter, itemgetter

import gradio as gr

from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import FittedBaseline, MethodComparison, TrainedMethod
from ckf_demo.ui.charts import (
    DISC,
    NONE,
    PROBABILITY,
    SQUARE,
    Axis,
    card,
    cell,
    facts,
    listing,
    number,
    points,
    stars_cell,
    table_of,
    two_lines,
)
from ckf_demo.ui.charts import STARS as FIVE_STARS
from ckf_demo.ui.controls import lead, radio
from ckf_demo.ui.events import ANSWER, QUIET
from ckf_demo.ui.items import directed_by
from ckf_demo.ui.markup import (
    Cell,
    Column,
    date_text,
    escape,
    film_text,
    name_cell,
    notice,
    panel,
    percent,
    plain_table,
    spread,
    stars_text,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, history_of, known_user, later_rating
from ckf_demo.ui.words import Words, words_of

FILM, LIST = "film", "list"
TOP = 10
CANDIDATES = 20
CHOSEN = 5
"""Methods that are compared before anybody chooses."""

COLOURED = 5
"""Items of the first method's list that are drawn in colour."""

ROW_HEIGHT = 22
MARKS = DISC, SQUARE
"""One mark per person."""

GAVE = "What they gave it"
HALVES = replace(PROBABILITY, parts=2)
BY = {"ranking": "Ordered by ranking", "ctr": "By the probability that they like it"}


@dataclass(frozen=True)
class Comparison:
    """A question, which alone tells two comparisons apart, and its answers so far.

    ``answers`` hold one tuple per person: the rows of `MethodComparison.compare_item` or
    `compare_list`, as many as there are so far.
    """

    mode: str
    people: tuple[Pair, ...]
    methods: tuple[str, ...]
    answers: tuple[tuple[dict, ...], ...] = field(default=(), compare=False)

    @property
    def finished(self) -> bool:
        """Whether everything is answered: a row per method, and the last one about all."""
        return all(len(rows) == len(self.methods) + 1 for rows in self.answers)


class CompareTab:
    """Builds the tab's components in the current Blocks context and compares methods into them."""

    def __init__(self, recommender, method_comparison: MethodComparison) -> None:
        self._directed = partial(directed_by, recommender)
        self.store, self.method_comparison = recommender.store, method_comparison
        self.words = words_of(recommender)
        methods, baselines = method_comparison.methods, method_comparison.baselines
        self._labels = {method.name: method.label for method in (*methods, *baselines)}
        lead(
            "The same question to every method that was trained on these data with the same "
            f"language model: what each thinks of the {self.words.thing}, or how each orders the "
            f"same {CANDIDATES} candidates."
        )
        panel(availability(method_comparison), elem_id="compare-available")
        with gr.Row(elem_classes="ckf-controls"):
            self.mode = radio(
                "compare-mode",
                "Compare on",
                [(f"This {self.words.thing}", FILM), ("Top list", LIST)],
                200,
            )
            self.methods = gr.CheckboxGroup(
                [(method.label, method.name) for method in methods],
                value=[method.name for method in methods[:CHOSEN]],
                label="Methods",
                scale=2,
                min_width=200,
                elem_id="compare-methods",
            )
            self.second = gr.Textbox(
                label="Second person (optional)",
                placeholder="user id, for example 405",
                elem_id="compare-second",
                min_width=180,
            )
        with gr.Accordion("Add baselines", open=False):
            self.baselines = gr.CheckboxGroup(
                [each.name for each in baselines],
                show_label=False,
                container=False,
                elem_id="compare-baselines",
            )
            panel(
                facts(
                    "They have no language model. Each is fitted to the training part when it is "
                    "first chosen, its settings on the validation part: a moment for means and "
                    "popularity, half a minute or more for small networks, minutes for RECFORMER. "
                    "From then on it answers at once, for all visitors."
                )
            )
        self.fitting = panel("", elem_id="compare-fitting")
        # Those of the chosen baselines that are fitted.
        self.ready = gr.State(())
        self.shown = panel(notice("The methods are about to be asked."), elem_id="compare")
        with gr.Accordion("The methods", open=False):
            panel(methods_markup(methods) + baselines_markup(baselines), elem_id="compare-about")
        # The latest finished comparison of this session.
        self.latest = gr.State(None)

    def wire(self, page: Page) -> None:
        """Compare while the tab is open, and fit the baselines that are chosen."""
        page.chooses_item(self.shown)
        gr.on(
            [
                page.active.change,
                page.pair.change,
                self.mode.change,
                self.methods.change,
                self.second.submit,
                self.second.blur,
                self.ready.change,
            ],
            page.gated_in(
                ["compare"], self.compare, page.service.model, "page: compare", self.latest
            ),
            [page.active, page.pair, self.latest, self.mode, self.methods, self.second, self.ready],
            [self.shown, self.latest],
            show_progress_on=self.shown,
            **ANSWER,
        )
        self.baselines.change(
            page.gated(self.fit, page.service.long, "page: fit baselines", when=self.needs_fitting),
            self.baselines,
            [self.fitting, self.ready],
            **(ANSWER | QUIET),
        )

    def needs_fitting(self, chosen: Sequence[str]) -> bool:
        """Whether one of the chosen baselines is not fitted yet."""
        return not set(chosen) <= set(self.method_comparison.fitted.seconds)

    def fit(self, chosen: Sequence[str]) -> Iterator[dict]:
        """Fit what is chosen and not fitted, and say so; each is compared as soon as it is."""
        fitted = self.method_comparison.fitted
        missing = [name for name in chosen if name not in fitted.seconds]
        for done, name in enumerate(missing):
            left = f"{done} of {len(missing)} baselines are fitted; " if len(missing) > 1 else ""
            yield {self.fitting: notice(f"{left}fitting {name} to the training part now.")}
            fitted.fit(name)
            yield {self.ready: tuple(each for each in chosen if each in fitted.seconds)}
        took = ", ".join(f"{name} ({fitted.seconds[name]:.1f} s)" for name in chosen)
        done = facts(f"Fitted: {took}.") if chosen else ""
        yield {self.ready: tuple(chosen), self.fitting: done}

    def compare(
        self,
        pair: Pair,
        latest: Comparison | None,
        mode: str,
        methods: Sequence[str],
        second: str | None,
        ready: Sequence[str] = (),
    ) -> Iterator[dict]:
        """Ask method by method, unless the latest comparison already answers the same."""
        problem, people, second = "", [pair], (second or "").strip()
        try:
            if second:
                people.append(known_user(self.store, second, pair.item, method=pair.method))
        except UserError as error:
            problem = warn(error)
        if people[1:] == [pair]:
            problem = notice(f"User {pair.user} is on the page already; give another id.")
            people = [pair]
        # a list depends on the person alone; the item is only marked in it
        persons = tuple(person.who if mode == LIST else person for person in people)
        chosen = tuple(name for name in self._labels if name in {*methods, *ready})
        question = Comparison(mode, persons, chosen)
        if question == latest:
            yield {self.shown: problem + self.markup(latest, pair)}
            return
        try:
            for comparison in self._steps(question):
                yield {self.shown: problem + self.markup(comparison, pair)}
        except UserError as error:
            yield {self.shown: problem + warn(error)}
            return
        yield {self.latest: comparison}

    def _steps(self, question: Comparison) -> Iterator[Comparison]:
        """The comparison as it grows, each method in turn for everybody."""
        streams = [
            self.method_comparison.compare_item(question.methods, **who.person, item=who.item)
            if question.mode == FILM
            else self.method_comparison.compare_list(
                question.methods, **who.person, k=TOP, candidates=CANDIDATES
            )
            for who in question.people
        ]
        answers: list[tuple[dict, ...]] = [()] * len(streams)
        if question.methods:
            yield replace(question, answers=tuple(answers))
        for _ in range(len(question.methods) + 1):
            for place, stream in enumerate(streams):
                answers[place] += (next(stream),)
                yield replace(question, answers=tuple(answers))

    def markup(self, comparison: Comparison, pair: Pair) -> str:
        """What is answered so far (HTML)."""
        markup = ComparisonMarkup(
            comparison, pair.item, self._labels, self.store, self.words, self._directed
        )
        answers = markup.films() if comparison.mode == FILM else markup.lists()
        return markup.progress() + answers


def availability(method_comparison: MethodComparison) -> str:
    """Which methods are missing, and how to get them (HTML); empty where none is."""
    parts = [notice(text, "problem") for text in method_comparison.problems]
    methods = method_comparison.methods
    if len(methods) == 1:
        parts.append(
            notice(
                f"{methods[0].label} is the only method for "
                f"{method_comparison.served.manifest['dataset']}. Train another one on the same "
                "data and backbone with ckf train --config assets/configs/NAME.toml, put its "
                f"checkpoint beside {methods[0].checkpoint}, and start again."
            )
        )
    return "".join(parts)


def methods_markup(methods: Sequence[TrainedMethod]) -> str:
    """Every method with what it is and what it cost (HTML)."""

    def name(method: TrainedMethod) -> Cell:
        paper = f"arXiv {method.paper}" if method.paper else ""
        return two_lines(method.label, paper, method.label)

    return table_of(
        methods,
        [
            (Column("Method"), name),
            (Column("What it does", wide=True), attrgetter("summary")),
            (Column("Trained for"), lambda method: ", ".join(method.tasks)),
            (Column("Checkpoint"), attrgetter("checkpoint")),
            ("Trainable parameters", lambda method: cell(method.parameters, "{:,d}".format)),
            ("Training, minutes", lambda method: cell(method.minutes, "{:.0f}".format)),
        ],
        caption="Methods",
        empty="There are none.",
    )


def baselines_markup(baselines: Sequence[FittedBaseline]) -> str:
    """Every baseline with what it is and what it is fitted to (HTML); empty without any."""
    if not baselines:
        return ""
    return table_of(
        baselines,
        [
            (Column("Baseline"), attrgetter("name")),
            (Column("What it does", wide=True), attrgetter("summary")),
            (Column("Knows"), lambda baseline: ", ".join(baseline.needs)),
            (Column("Answers"), lambda baseline: ", ".join(baseline.tasks)),
        ],
        caption="Baselines",
    )


def name_of(pair: Pair) -> str:
    """ "User 405", or "New person"."""
    return f"User {pair.user}" if pair.user else "New person"


@dataclass(frozen=True)
class ComparisonMarkup:
    """What a comparison shows (HTML); ``item`` is marked in lists, and ``directed`` says who
    directed an item, by its id."""

    comparison: Comparison
    item: str
    labels: Mapping[str, str]
    store: InteractionStore
    words: Words
    directed: Callable[[str], str]

    def progress(self) -> str:
        """One line on which method is being asked."""
        methods = self.comparison.methods
        done = min((len(rows) for rows in self.comparison.answers), default=0)
        text = "Answers are remembered: the same question is answered at once."
        if done < len(methods):
            text = (
                f"{done} of {len(methods)} methods have answered; asking "
                f"{self.labels[methods[done]]}, which is loaded first when it is new."
            )
        elif not self.comparison.finished:
            text = "All methods have answered; putting them side by side."
        return facts(text, role="status")

    # --- one item -------------------------------------------------------------------------------

    def films(self) -> str:
        """Both quantities on lines, one lane per method, beside a table per person.

        Stars are left out where no method answers with any.
        """
        people = self.comparison.people
        truths = [later_rating(self.store, person) for person in people]
        answers = [{row["method"]: row for row in rows} for rows in self.comparison.answers]
        names = {name: self.labels[name] for name in self.comparison.methods}
        for rows in answers:
            names = {name: row["label"] for name, row in rows.items()} | names
        marks = list(zip(MARKS, map(name_of, people), strict=False))

        def plot(heading: str, key: str, axis: Axis, written, truth: Sequence) -> str:
            lanes = [
                (label, [rows[name][key] if name in rows else None for rows in answers])
                for name, label in names.items()
            ]
            if any(value is not None for value in truth):
                lanes.append((GAVE, truth))
            return card(heading, points(lanes, marks, axis, written))

        plots = plot("Would they like it?", "probability", HALVES, percent, [])
        if self.words.stars:
            given = [truth and truth[0] for truth in truths]
            stars = plot("Which rating would they give?", "rating", FIVE_STARS, number, given)
            plots = stars + plots
        tables = "".join(
            self._film_table(person, names, rows, truth)
            for person, rows, truth in zip(people, answers, truths, strict=True)
        )
        return (
            f'<div class="ckf-beside"><div class="ckf-stack">{plots}</div>'
            f'<div class="ckf-stack">{tables}</div></div>'
        )

    def _film_table(
        self,
        person: Pair,
        names: Mapping[str, str],
        rows: Mapping[str, dict],
        truth: tuple[float, int] | None,
    ) -> str:
        words = self.words
        columns: list[Column | str] = [Column("Method", wide=True), "Likes it", "Seconds"]
        if words.stars:
            columns.insert(1, "Stars")
        lines = []
        for name, label in names.items():
            row = rows.get(name)
            if row is None:
                lines.append([label, *[Cell("…", "")] * (len(columns) - 1)])
                continue
            method = label
            if row["rating"] is None and row["probability"] is None:
                method = two_lines(label, "answers neither question; see “Top list”", label)
            stars = [_stars(row["rating"], row["distribution"])] if words.stars else []
            lines.append([method, *stars, cell(row["probability"], percent), cell(row["seconds"])])
        history = history_of(self.store, person)
        before = [row["rating"] for row in history if row["item"] == person.item]
        named = (film_text(self.store.item(person.item)), self.directed(person.item))
        about = f"{', '.join(filter(None, named))}."
        if before:
            about += f" They {words.rated} it before"
            about += f", {stars_text(before[-1])} of 5." if words.stars else "."
        if truth is not None:
            rating, timestamp = truth
            if words.stars:
                gave = two_lines(GAVE, date_text(timestamp), GAVE)
                lines.append([gave, stars_cell(rating), NONE, NONE])
            else:
                about += f" They chose it later{words.since(timestamp, 'on')}."
        caption = "Probability that they like it"
        if words.stars:
            caption = "Expected stars ± one standard deviation; probability of 4 or 5 stars"
        answers = listing(columns, lines, caption=caption, empty="No method is chosen.", height=640)
        return card(name_of(person), facts(about), answers)

    # --- a list of candidates -------------------------------------------------------------------

    def lists(self) -> str:
        """The candidates of each person, side by side."""
        people = zip(self.comparison.people, self.comparison.answers, strict=True)
        return f'<div class="ckf-beside">{"".join(self._list(*each) for each in people)}</div>'

    def _list(self, person: Pair, answers: Sequence[dict]) -> str:
        """Ranks as lines and as a table, and how far the methods agree.

        ``answers`` are the rows of `MethodComparison.compare_list`, as many as there are so far.
        """
        rows = [row for row in answers if "items" in row]
        ordered = [row for row in rows if row["items"]]
        if not ordered:
            text = "The candidates are being ordered."
            if len(rows) == len(self.comparison.methods):
                things = self.words.things
                text = f"None of these methods was trained to order {things}; choose another one."
            return card(name_of(person), notice(text))
        films = {film["item"]: film for film in ordered[0]["items"]}
        ranks = {
            row["method"]: {film["item"]: film["rank"] for film in row["items"]} for row in ordered
        }
        agreement = next((row["agreement"] for row in answers if "agreement" in row), [])
        return card(
            name_of(person),
            facts(f"{_orders(rows, self.words)}."),
            self._slopes(films, ranks),
            self._ranks(person, films, ranks),
            self._agreement(agreement) if agreement else "",
        )

    def _slopes(self, films: Mapping[str, dict], ranks: Mapping[str, dict[str, int]]) -> str:
        """Every item's rank from the candidate stage through all methods, as one line each."""
        stages = [{film: row["collaborative_rank"] for film, row in films.items()}, *ranks.values()]
        heads = ["Candidate stage", *(self.labels[name] for name in ranks)]
        xs = [100 * (place + 0.5) / len(stages) for place in range(len(stages))]
        first = next(iter(ranks.values()))

        def marked(film: str) -> str:
            emphasis = "ckf-first" if first[film] <= COLOURED else "ckf-rest"
            emphasis = "ckf-chosen" if film == self.item else emphasis
            return f'class="{emphasis}" data-pick="{escape(film)}"'

        lines = []
        # what is to be seen is drawn last, on top
        for film in sorted(films, key=lambda film: (film == self.item, first[film] <= COLOURED)):
            ys = [stage[film] - 0.5 for stage in stages]
            path = f"M{xs[0]:.1f} {ys[0]}"
            for (x, y), (x_next, y_next) in pairwise(zip(xs, ys, strict=True)):
                middle = (x + x_next) / 2
                path += f" C{middle:.1f} {y} {middle:.1f} {y_next} {x_next:.1f} {y_next}"
            dots = " ".join(f"M{x:.1f} {y}h0" for x, y in zip(xs, ys, strict=True))
            lines.append(
                f"<g {marked(film)}><title>{escape(film_text(films[film]))}</title>"
                f'<path d="{path}"/><path class="ckf-dots-of" d="{dots}"/></g>'
            )
        names = "".join(
            f'<li {marked(film)} title="{escape(film_text(films[film]))}">'
            f"{escape(film_text(films[film]))}</li>"
            for film in sorted(stages[-1], key=lambda film: stages[-1][film])
        )
        numbers = "".join(f"<li>{rank}</li>" for rank in range(1, len(films) + 1))
        about = (
            f"Ranks of {len(films)} candidates: {', '.join(heads)}. The table below holds the "
            "figures."
        )
        cut = (
            f'<path class="ckf-cut" d="M0 {TOP}H100"><title>The top {TOP} end here</title></path>'
            if len(films) > TOP
            else ""
        )
        chosen = f", and the chosen {self.words.thing}" if self.item in films else ""
        heading = "".join(f"<span>{escape(text)}</span>" for text in heads)
        return (
            f'<div class="ckf-scroll ckf-slopes" style="--columns:{len(stages)};'
            f'--row:{ROW_HEIGHT}px" role="img" aria-label="{escape(about)}" tabindex="0">'
            f'<div class="ckf-slopes-in"><span></span><div class="ckf-slopes-head">{heading}</div>'
            f"<span></span><ol>{numbers}</ol>"
            f'<svg viewBox="0 0 100 {len(films)}" preserveAspectRatio="none">{cut}{"".join(lines)}'
            f'</svg><ol class="ckf-slopes-films">{names}</ol></div></div>'
            + facts(
                f"In colour: the {COLOURED} {self.words.things} that {heads[1]} puts first"
                f"{chosen}. Titles stand in the order of the last column."
            )
        )

    def _ranks(
        self, person: Pair, films: Mapping[str, dict], ranks: Mapping[str, dict[str, int]]
    ) -> str:
        """Every item with its rank by each method, and what became of it."""
        words, columns = self.words, []
        if person.user:
            rows = self.store.later(person.user, person.at)
            later = dict(zip(rows["item"], rows["rating"], strict=True))
            columns = [
                (
                    "Later rated" if words.stars else "Chosen later",
                    lambda film: _later(later.get(film["item"]), words),
                )
            ]

        def rank(method: str, film: dict) -> Cell:
            return cell(ranks.get(method, {}).get(film["item"]), str)

        return table_of(
            films.values(),
            [
                (
                    Column(words.thing.capitalize(), pick=True, wide=True),
                    lambda film: name_cell(film, self.directed(film["item"])),
                ),
                ("Candidate stage", itemgetter("collaborative_rank")),
                *((self.labels[name], partial(rank, name)) for name in self.comparison.methods),
                *columns,
            ],
            pick=itemgetter("item"),
            selected=lambda film: film["item"] == self.item,
            caption="Rank by every method",
        )

    def _agreement(self, agreement: Sequence[dict]) -> str:
        """Kendall's τ and shared top items of every two methods, as a square."""
        names = list(dict.fromkeys(name for each in agreement for name in each["methods"]))
        cells = {frozenset([name]): "–" for name in names}
        for each in agreement:
            tau = each["kendall_tau"]
            cells[frozenset(each["methods"])] = (
                f"{'–' if tau is None else number(tau)} · {each['shared']}"
            )
        return plain_table(
            ["", *(self.labels[name] for name in names)],
            [
                (self.labels[one], *(cells[frozenset((one, other))] for other in names))
                for one in names
            ],
            f"Agreement: Kendall’s τ over all candidates · {self.words.things} shared in the top "
            f"{agreement[0]['k']}",
        )


def _stars(rating: float | None, distribution: dict | None) -> Cell:
    if rating is None or not distribution:
        return cell(rating)
    return two_lines(number(rating), f"± {spread(distribution)[1]:.2f}", rating)


def _orders(rows: Sequence[dict], words: Words) -> str:
    """By what each method put the candidates in order, and how long that took."""
    parts = []
    for by, text in BY.items():
        timed = [f"{r['label']} ({r['seconds']:.2f} s)" for r in rows if r["orders_by"] == by]
        if timed:
            parts.append(f"{text}: {', '.join(timed)}")
    if none := [row["label"] for row in rows if row["orders_by"] is None]:
        parts.append(f"Not made to order {words.things}: {', '.join(none)}")
    return ". ".join(parts)


def _later(rating: float | None, words: Words) -> Cell:
    if rating is None:
        return Cell("–", 0)
    opinion = words.opinion_cell(rating)
    liked = ' class="ckf-liked"' if not words.stars or rating >= words.liked_from else ""
    return Cell(f"<span{liked}>{opinion.markup}</span>", rating)
