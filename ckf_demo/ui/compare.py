"""The Compare tab: every method at hand on the same film, or on the same candidates, for the pair's
person and, if one likes, for a second one beside them. Baselines can be added, which are fitted
before they are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import FittedBaseline, MethodComparison, TrainedMethod
from ckf_demo.ui.events import ANSWER, QUIET
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    date_text,
    escape,
    film_text,
    notice,
    panel,
    percent,
    plain_table,
    spread,
    stars_text,
    table,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import LIKED, Pair, history_of, known_user, later_rating

FILM, LIST = "film", "list"
TOP = 10
CANDIDATES = 20
# So many methods are asked before anybody chooses.
CHOSEN = 5
# So many of the first method's films are drawn in colour.
COLOURED = 5
ROW_HEIGHT = 22
# One mark per person: shape first, colour second.
MARKS = (
    '<circle cx="8" cy="8" r="6" class="ckf-fill"/>',
    '<rect x="3" y="3" width="10" height="10" class="ckf-open"/>',
)
BY = {"ranking": "Ordered by ranking", "ctr": "By the probability that they like it"}


@dataclass(frozen=True)
class Comparison:
    """What was asked, which alone tells two comparisons apart, and what has been answered.

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
        self.store, self.method_comparison = recommender.store, method_comparison
        methods, baselines = method_comparison.methods, method_comparison.baselines
        self._labels = {method.name: method.label for method in (*methods, *baselines)}
        gr.HTML(
            "<p>The same question to every method that was trained on these data with the same "
            "language model: what each thinks of the film, or how each orders the same "
            f"{CANDIDATES} candidates.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        panel(availability(method_comparison), elem_id="compare-available")
        with gr.Row(elem_classes="ckf-controls"):
            self.mode = gr.Radio(
                [("This film", FILM), ("Top list", LIST)],
                value=FILM,
                label="Compare on",
                min_width=200,
                elem_id="compare-mode",
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
                min_width=180,
                elem_id="compare-second",
            )
        with gr.Accordion("Add baselines", open=False):
            self.baselines = gr.CheckboxGroup(
                [each.name for each in baselines],
                show_label=False,
                container=False,
                elem_id="compare-baselines",
            )
            panel(
                '<p class="ckf-facts">They have no language model. Each is fitted to the training '
                "part when it is first chosen, its settings on the validation part: a moment for "
                "means and popularity, half a minute or more for small networks, minutes for "
                "RECFORMER. From then on it answers at once, whoever asks.</p>"
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
            [page.active.change, page.pair.change, *self.changes],
            page.gated_in(
                ["compare"], self.compare, page.service.model, "page: compare", self.latest
            ),
            [page.active, page.pair, self.latest, *self.controls],
            self.outputs,
            show_progress_on=self.shown,
            **ANSWER,
        )
        self.baselines.change(
            page.gated(self.fit, page.service.long, "page: fit baselines", when=self.needs_fitting),
            self.baselines,
            [self.fitting, self.ready],
            **(ANSWER | QUIET),
        )

    @property
    def controls(self) -> list:
        """The inputs of ``compare`` after the pair and the latest comparison."""
        return [self.mode, self.methods, self.second, self.ready]

    @property
    def changes(self) -> list:
        """The events of the controls after which one compares anew."""
        return [
            self.mode.change,
            self.methods.change,
            self.second.submit,
            self.second.blur,
            self.ready.change,
        ]

    @property
    def outputs(self) -> list:
        """Every component that ``compare`` may update."""
        return [self.shown, self.latest]

    def needs_fitting(self, chosen: Sequence[str]) -> bool:
        """Whether one of the chosen baselines is not fitted yet."""
        return bool(self._missing(chosen))

    def _missing(self, chosen: Sequence[str]) -> list[str]:
        return [name for name in chosen if name not in self.method_comparison.fitted.seconds]

    def fit(self, chosen: Sequence[str]) -> Iterator[dict]:
        """Fit what is chosen and not fitted, and say so; each is compared as soon as it is."""
        fitted, missing = self.method_comparison.fitted, self._missing(chosen)
        for done, name in enumerate(missing):
            left = f"{done} of {len(missing)} baselines are fitted; " if len(missing) > 1 else ""
            yield {self.fitting: notice(f"{left}fitting {name} to the training part now.")}
            fitted.fit(name)
            yield {self.ready: tuple(each for each in chosen if each in fitted.seconds)}
        took = ", ".join(f"{name} ({fitted.seconds[name]:.1f} s)" for name in chosen)
        said = f'<p class="ckf-facts">Fitted: {escape(took)}.</p>' if chosen else ""
        yield {self.ready: tuple(chosen), self.fitting: said}

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
        # a list depends on the person alone; the film is only marked in it
        asked = tuple(person.who if mode == LIST else person for person in people)
        chosen = tuple(name for name in self._labels if name in {*methods, *ready})
        question = Comparison(mode, asked, chosen)
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

    def _steps(self, asked: Comparison) -> Iterator[Comparison]:
        """The comparison as it grows, each method in turn for everybody."""
        ask = self._film if asked.mode == FILM else self._list
        streams = [ask(asked.methods, person) for person in asked.people]
        answers: list[tuple[dict, ...]] = [()] * len(streams)
        if asked.methods:
            yield Comparison(asked.mode, asked.people, asked.methods, tuple(answers))
        for _ in range(len(asked.methods) + 1):
            for place, stream in enumerate(streams):
                answers[place] += (next(stream),)
                yield Comparison(asked.mode, asked.people, asked.methods, tuple(answers))

    def _film(self, methods: Sequence[str], pair: Pair) -> Iterator[dict]:
        return self.method_comparison.compare_item(methods, **pair.person, item=pair.item)

    def _list(self, methods: Sequence[str], pair: Pair) -> Iterator[dict]:
        return self.method_comparison.compare_list(
            methods, **pair.person, k=TOP, candidates=CANDIDATES
        )

    def markup(self, comparison: Comparison, pair: Pair) -> str:
        """What is answered so far (HTML)."""
        if comparison.mode == FILM:
            shown = film_markup(comparison, self._labels, self.store)
        else:
            shown = "".join(
                list_markup(person, rows, comparison.methods, self._labels, self.store, pair.item)
                for person, rows in zip(comparison.people, comparison.answers, strict=True)
            )
            shown = f'<div class="ckf-beside">{shown}</div>'
        return progress(comparison, self._labels) + shown


def availability(method_comparison: MethodComparison) -> str:
    """What is missing on the shelf, and how to get it (HTML); nothing where all is well."""
    parts = [notice(text, "problem") for text in method_comparison.problems]
    methods = method_comparison.methods
    if len(methods) == 1:
        parts.append(
            notice(
                f"Only {methods[0].label} is at hand for "
                f"{method_comparison.served.manifest['dataset']}. Train "
                "another method on the same data and backbone with ckf train --config "
                "assets/configs/NAME.toml, put its checkpoint beside "
                f"{methods[0].checkpoint}, and start again."
            )
        )
    return "".join(parts)


def methods_markup(methods: Sequence[TrainedMethod]) -> str:
    """Every method with what it is and what it cost (HTML)."""
    rows = [
        Row(
            pick=None,
            cells=[
                Cell(
                    f"{escape(method.label)}"
                    f'<span class="ckf-below">{escape(_arxiv(method.paper))}</span>',
                    method.label,
                ),
                method.summary,
                ", ".join(method.tasks),
                method.checkpoint,
                *(
                    Cell("–", "") if value is None else Cell(f"{value:{style}}", value)
                    for value, style in ((method.parameters, ",d"), (method.minutes, ".0f"))
                ),
            ],
        )
        for method in methods
    ]
    columns = [
        Column("Method"),
        Column("What it does", wide=True),
        Column("Trained for"),
        Column("Checkpoint"),
        Column("Trainable parameters", numeric=True),
        Column("Training, minutes", numeric=True),
    ]
    return table(columns, rows, caption="Methods at hand", empty="There are none.")


def baselines_markup(baselines: Sequence[FittedBaseline]) -> str:
    """Every baseline with what it is and what it stands on (HTML); nothing without any."""
    if not baselines:
        return ""
    rows = [
        Row(
            pick=None,
            cells=[each.name, each.summary, ", ".join(each.needs), ", ".join(each.tasks)],
        )
        for each in baselines
    ]
    columns = [
        Column("Baseline"),
        Column("What it does", wide=True),
        Column("Knows"),
        Column("Answers"),
    ]
    return table(columns, rows, caption="Baselines", empty="There are none.")


def _arxiv(number: str) -> str:
    return f"arXiv {number}" if number else ""


def progress(comparison: Comparison, labels: dict[str, str]) -> str:
    """One line about who is being asked (HTML); its room stays when there is nothing to say."""
    done = min((len(rows) for rows in comparison.answers), default=0)
    text = "What was asked before is remembered and answered in no time."
    if done < len(comparison.methods):
        text = (
            f"{done} of {len(comparison.methods)} methods have answered; asking "
            f"{labels[comparison.methods[done]]}, which is loaded first when it is new."
        )
    elif not comparison.finished:
        text = "All methods have answered; putting them side by side."
    return f'<p class="ckf-facts" role="status">{escape(text)}</p>'


def name_of(pair: Pair) -> str:
    """ "User 405", or "New person"."""
    return f"User {pair.user}" if pair.user else "New person"


def _mark(place: int) -> str:
    return (
        '<svg class="ckf-mark" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        f"{MARKS[place]}</svg>"
    )


# --- one film -----------------------------------------------------------------------------------


def film_markup(comparison: Comparison, labels: dict[str, str], store) -> str:
    """Both quantities on lines, one lane per method, beside a table per person (HTML)."""
    people = comparison.people
    truths = [later_rating(store, person) for person in people]
    answers = [{row["method"]: row for row in rows} for rows in comparison.answers]
    names = {name: labels[name] for name in comparison.methods}
    names |= {
        name: row["label"] for rows in answers for name, row in rows.items() if name not in names
    }

    def lanes(key: str) -> list[tuple[str, list[float | None]]]:
        return [
            (label, [rows[name][key] if name in rows else None for rows in answers])
            for name, label in names.items()
        ]

    stars = lanes("rating")
    if any(truths):
        stars.append(("What they gave it", [truth and truth[0] for truth in truths]))
    plots = _lanes(
        "Which rating would they give?",
        stars,
        people,
        (1, 5),
        [(n, str(n)) for n in range(1, 6)],
        lambda value: f"{value:.2f}",
    ) + _lanes(
        "Would they like it?",
        lanes("probability"),
        people,
        (0, 1),
        [(n / 2, percent(n / 2)) for n in range(3)],
        percent,
    )
    tables = "".join(
        _film_table(person, names, rows, truth, store)
        for person, rows, truth in zip(people, answers, truths, strict=True)
    )
    return (
        f'<div class="ckf-beside"><div class="ckf-stack">{plots}</div>'
        f'<div class="ckf-stack">{tables}</div></div>'
    )


def _lanes(
    heading: str,
    lanes: list[tuple[str, list[float | None]]],
    people: Sequence[Pair],
    ends: tuple[float, float],
    ticks: list[tuple[float, str]],
    written,
) -> str:
    """A dot plot: a lane per method, a mark per person; its figures are in the table beside it."""
    low, high = ends

    def left(value: float) -> str:
        return f"left:{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    drawn = []
    for label, values in lanes:
        marks = "".join(
            f'<span class="ckf-point" style="{left(value)}" '
            f'title="{escape(f"{label}, {name_of(person)}: {written(value)}")}">{_mark(place)}'
            "</span>"
            for place, (person, value) in enumerate(zip(people, values, strict=True))
            if value is not None
        )
        drawn.append(
            f'<span class="ckf-lane-name">{escape(label)}</span>'
            f'<span class="ckf-lane"><span class="ckf-track"></span>{marks}</span>'
        )
    scale = "".join(
        f'<span class="ckf-tick" style="{left(value)}">{escape(text)}</span>'
        for value, text in ticks
    )
    legend = ""
    if len(people) > 1:
        entries = "".join(
            f"<li>{_mark(place)}<span>{escape(name_of(person))}</span></li>"
            for place, person in enumerate(people)
        )
        legend = f'<ul class="ckf-legend">{entries}</ul>'
    return (
        f'<section class="ckf-card"><h3>{escape(heading)}</h3>{legend}'
        f'<div class="ckf-lanes" aria-hidden="true">{"".join(drawn)}'
        f'<span></span><span class="ckf-lane ckf-scale">{scale}</span></div></section>'
    )


def _film_table(person: Pair, names: dict[str, str], rows: dict[str, dict], truth, store) -> str:
    listed = []
    for name, label in names.items():
        row = rows.get(name)
        if row is None:
            listed.append(Row(pick=None, cells=[label, *[Cell("…", "")] * 3]))
            continue
        seconds = row["seconds"]
        said = label
        if row["rating"] is None and row["probability"] is None:
            why = "answers neither question; see “Top list”"
            said = Cell(f'{escape(label)}<span class="ckf-below">{why}</span>', label)
        listed.append(
            Row(
                pick=None,
                cells=[
                    said,
                    _stars(row["rating"], row["distribution"]),
                    _or_dash(row["probability"], percent),
                    _or_dash(seconds, lambda value: f"{value:.2f}"),
                ],
            )
        )
    if truth is not None:
        rating, timestamp = truth
        given = Cell(
            f"What they gave it<span class='ckf-below'>{escape(date_text(timestamp))}</span>",
            "What they gave it",
        )
        listed.append(
            Row(
                pick=None,
                cells=[given, Cell(f"{stars_text(rating)}&nbsp;★", rating), *[Cell("–", "")] * 2],
            )
        )
    known = [row["rating"] for row in history_of(store, person) if row["item"] == person.item]
    note = f" They rated it before, {stars_text(known[-1])} of 5." if known else ""
    listing = table(
        [
            Column("Method", wide=True),
            Column("Stars", numeric=True),
            Column("Likes it", numeric=True),
            Column("Seconds", numeric=True),
        ],
        listed,
        caption="Expected stars ± one standard deviation; probability of 4 or 5 stars",
        empty="No method is chosen.",
        height=640,
    )
    return (
        f'<section class="ckf-card"><h3>{escape(name_of(person))}</h3>'
        f'<p class="ckf-facts">{escape(film_text(store.item(person.item)))}.{escape(note)}</p>'
        f"{listing}</section>"
    )


def _stars(rating: float | None, distribution: dict | None) -> Cell:
    if rating is None:
        return Cell("–", "")
    below = ""
    if distribution:
        below = f'<span class="ckf-below">± {spread(distribution)[1]:.2f}</span>'
    return Cell(f"{rating:.2f}{below}", rating)


def _or_dash(value: float | None, written) -> Cell:
    return Cell("–", "") if value is None else Cell(escape(written(value)), value)


# --- a list of candidates -----------------------------------------------------------------------


def list_markup(
    person: Pair,
    answers: Sequence[dict],
    methods: Sequence[str],
    labels: dict[str, str],
    store,
    item: str,
) -> str:
    """One person's candidates by every method: ranks as lines and as a table, and how far the
    methods agree (HTML). ``item`` is the film that is marked."""
    rows = [row for row in answers if "items" in row]
    ordered = [row for row in rows if row["items"]]
    heading = f"<h3>{escape(name_of(person))}</h3>"
    if not ordered:
        none = len(rows) == len(methods)
        text = (
            "None of these methods was trained to order films; choose another one."
            if none
            else "The candidates are being ordered."
        )
        return f'<section class="ckf-card">{heading}{notice(text)}</section>'
    films = {film["item"]: film for film in ordered[0]["items"]}
    ranks = {
        row["method"]: {film["item"]: film["rank"] for film in row["items"]} for row in ordered
    }
    said = _said(rows)
    agreed = next((row["agreement"] for row in answers if "agreement" in row), [])
    return (
        f'<section class="ckf-card">{heading}<p class="ckf-facts">{escape(said)}.</p>'
        f"{_slopes(films, ranks, labels, item)}"
        f"{_ranks_table(person, films, ranks, methods, labels, store, item)}"
        f"{_agreement(agreed, labels)}</section>"
    )


def _said(rows: Sequence[dict]) -> str:
    """By what each method put the candidates in order, and how long that took."""
    parts = []
    for by, words in BY.items():
        own = [f"{r['label']} ({r['seconds']:.2f} s)" for r in rows if r["orders_by"] == by]
        if own:
            parts.append(f"{words}: {', '.join(own)}")
    if none := [row["label"] for row in rows if row["orders_by"] is None]:
        parts.append(f"Not made to order films: {', '.join(none)}")
    return ". ".join(parts)


def _slopes(
    films: dict[str, dict], ranks: dict[str, dict[str, int]], labels: dict[str, str], item: str
) -> str:
    """Every film's rank from the candidate stage through all methods, as one line each."""
    stages = [{film: row["collaborative_rank"] for film, row in films.items()}, *ranks.values()]
    heads = ["Candidate stage", *(labels[name] for name in ranks)]
    xs = [100 * (place + 0.5) / len(stages) for place in range(len(stages))]
    first = next(iter(ranks.values()))
    lines = []
    # what is to be seen is drawn last, on top
    for film in sorted(films, key=lambda film: (film == item, first[film] <= COLOURED)):
        ys = [stage[film] - 0.5 for stage in stages]
        path = f"M{xs[0]:.1f} {ys[0]}"
        for (x, y), (x_next, y_next) in zip(
            zip(xs, ys, strict=True), zip(xs[1:], ys[1:], strict=True), strict=False
        ):
            middle = (x + x_next) / 2
            path += f" C{middle:.1f} {y} {middle:.1f} {y_next} {x_next:.1f} {y_next}"
        dots = " ".join(f"M{x:.1f} {y}h0" for x, y in zip(xs, ys, strict=True))
        lines.append(
            f'<g class="{_emphasis(film, first, item)}" data-pick="{escape(film)}">'
            f"<title>{escape(film_text(films[film]))}</title>"
            f'<path d="{path}"/><path class="ckf-dots-of" d="{dots}"/></g>'
        )
    last = list(stages[-1].items())
    names = "".join(
        f'<li class="{_emphasis(film, first, item)}" data-pick="{escape(film)}" '
        f'title="{escape(film_text(films[film]))}">{escape(film_text(films[film]))}</li>'
        for film, _ in sorted(last, key=lambda entry: entry[1])
    )
    numbers = "".join(f"<li>{rank}</li>" for rank in range(1, len(films) + 1))
    heading = "".join(f"<span>{escape(text)}</span>" for text in heads)
    about = (
        f"Ranks of {len(films)} candidates: {', '.join(heads)}. The table below holds the figures."
    )
    cut = (
        f'<path class="ckf-cut" d="M0 {TOP}H100"><title>The top {TOP} end here</title></path>'
        if len(films) > TOP
        else ""
    )
    chosen = ", and the chosen film" if item in films else ""
    return (
        f'<div class="ckf-scroll ckf-slopes" style="--columns:{len(stages)};'
        f'--row:{ROW_HEIGHT}px" role="img" aria-label="{escape(about)}" tabindex="0">'
        f'<div class="ckf-slopes-in"><span></span><div class="ckf-slopes-head">{heading}</div>'
        f"<span></span><ol>{numbers}</ol>"
        f'<svg viewBox="0 0 100 {len(films)}" preserveAspectRatio="none">{cut}{"".join(lines)}'
        f'</svg><ol class="ckf-slopes-films">{names}</ol></div></div>'
        f'<p class="ckf-facts">In colour: the {COLOURED} films that '
        f"{escape(labels[next(iter(ranks))])} puts first{chosen}. Titles stand in the "
        "order of the last column.</p>"
    )


def _emphasis(film: str, first: dict[str, int], item: str) -> str:
    if film == item:
        return "ckf-chosen"
    return "ckf-first" if first[film] <= COLOURED else "ckf-rest"


def _ranks_table(
    person: Pair,
    films: dict[str, dict],
    ranks: dict[str, dict[str, int]],
    methods: Sequence[str],
    labels: dict[str, str],
    store,
    item: str,
) -> str:
    later = {}
    if person.user:
        given = store.later(person.user, person.at)
        later = dict(zip(given["item"], given["rating"], strict=True))
    rows = [
        Row(
            pick=film,
            selected=film == item,
            cells=[
                Cell(escape(film_text(about)), about["title"]),
                about["collaborative_rank"],
                *(ranks[name][film] if name in ranks else Cell("–", "") for name in methods),
                *([_later(later.get(film))] if person.user else []),
            ],
        )
        for film, about in films.items()
    ]
    columns = [
        Column("Film", pick=True, wide=True),
        Column("Candidate stage", numeric=True),
        *(Column(labels[name], numeric=True) for name in methods),
        *([Column("Later rated", numeric=True)] if person.user else []),
    ]
    return table(
        columns, rows, caption="Rank by every method", empty="There are no candidates.", height=420
    )


def _later(rating: float | None) -> Cell:
    if rating is None:
        return Cell("–", 0)
    liked = ' class="ckf-liked"' if rating >= LIKED else ""
    return Cell(f"<span{liked}>{stars_text(rating)}&nbsp;★</span>", rating)


def _agreement(agreed: Sequence[dict], labels: dict[str, str]) -> str:
    """Kendall's τ and shared top films of every two methods, as a square (HTML)."""
    if not agreed:
        return ""
    names = list(dict.fromkeys(name for each in agreed for name in each["methods"]))
    cells = {frozenset(each["methods"]): each for each in agreed}

    def cell(one: str, other: str) -> str:
        if one == other:
            return "–"
        found = cells[frozenset((one, other))]
        tau = found["kendall_tau"]
        tau = "–" if tau is None else f"{tau:.2f}".replace("-", "−")
        return f"{tau} · {found['shared']}"

    return plain_table(
        ["", *(labels[name] for name in names)],
        [(labels[one], *(cell(one, other) for other in names)) for one in names],
        f"Agreement: Kendall’s τ over all candidates · films shared in the top {agreed[0]['k']}",
    )
