"""The Why tab: what the answers for the pair would be with another history, another person's bridge
or a part switched off, where the film stands among those not seen, and which stage of a top list
lost what was liked later."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.events import ANSWER, QUIET
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    escape,
    film_text,
    notice,
    panel,
    percent,
    stars_text,
    table,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair

FILMS, PARTS, STANDING, LATER = SECTIONS = ("films", "parts", "standing", "later")
TOP = 10


@dataclass(frozen=True)
class Quantity:
    """A figure that is compared: how it and a change of it are written, and the ends of its scale
    (None for those of the figures shown)."""

    label: str
    written: Callable[[float], str]
    change: Callable[[float], str]
    ends: tuple[float, float] | None = None


def signed(value: float, decimals: int = 2) -> str:
    """A change with its sign; what rounds to zero has none."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def points(value: float) -> str:
    """A change of a probability in percentage points."""
    return f"{signed(100 * value, 1)} pts"


QUANTITIES = {
    "rating": Quantity("Expected stars", "{:.2f}".format, signed, (1, 5)),
    "probability": Quantity("Likes it", percent, points, (0, 1)),
    "score": Quantity("Score", "{:.2f}".format, signed),
}
STAGES = {
    "candidates": "Candidate stage",
    "prior": "Collaborative prior",
    "own": "The full answer",
}
OUTCOMES = {
    "kept": "in the top list",
    "moved in": "in the top list, moved in by re-ranking",
    "moved out": "moved out by re-ranking",
    "not moved in": "a candidate that re-ranking left below",
    "no candidate": "lost by the candidate stage",
}


@dataclass(frozen=True)
class Found:
    """What has been computed so far, with what it was asked for.

    ``done`` are the sections that are finished, ``problems`` says why one cannot be answered.
    """

    pair: Pair
    other: str = ""
    k: int = TOP
    films: dict | None = None
    parts: tuple[dict, ...] = ()
    standing: tuple[dict, ...] = ()
    later: dict | None = None
    done: frozenset[str] = frozenset()
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[Pair, str, int]:
        """The question that these findings answer."""
        return self.pair, self.other, self.k

    @property
    def complete(self) -> bool:
        return len(self.done) == len(SECTIONS)

    def asked_again(self, pair: Pair, other: str, k: int) -> "Found":
        """What of this still answers another question."""
        changed: set[str] = set()
        if pair != self.pair:
            changed |= {FILMS, PARTS, STANDING}
        if other != self.other:
            changed.add(PARTS)
        if pair.who != self.pair.who or k != self.k:
            changed.add(LATER)
        return replace(
            self,
            pair=pair,
            other=other,
            k=k,
            films=None if FILMS in changed else self.films,
            parts=() if PARTS in changed else self.parts,
            standing=() if STANDING in changed else self.standing,
            later=None if LATER in changed else self.later,
            done=self.done - changed,
            problems={n: text for n, text in self.problems.items() if n not in changed},
        )


class Wanted:
    """What each browser session wants computed: the question, and a signal that stops it.

    A stop holds for all events about its question until the rest is wanted. It is kept here and
    not with the findings, because an event that runs meanwhile writes those anew.
    """

    def __init__(self) -> None:
        self._asked: dict[str, tuple[tuple, threading.Event]] = {}
        self._lock = threading.Lock()

    def begin(self, session: str, asked: tuple) -> threading.Event:
        """The signal of a question, which is set if it was stopped; other questions are ended."""
        with self._lock:
            before, stop = self._asked.get(session, (None, None))
            if before == asked:
                return stop
            self._asked[session] = asked, threading.Event()
            if stop is not None:
                stop.set()
            return self._asked[session][1]

    def stop(self, session: str) -> None:
        """Nothing more of the session's question is wanted for now."""
        with self._lock:
            if session in self._asked:
                self._asked[session][1].set()

    def stopped(self, session: str) -> bool:
        with self._lock:
            return session in self._asked and self._asked[session][1].is_set()

    def go_on(self, session: str) -> None:
        """The rest of what was stopped is wanted."""
        with self._lock:
            if session in self._asked and self._asked[session][1].is_set():
                del self._asked[session]

    def leave(self, session: str, unless: Pair | None = None) -> None:
        """End the session's question, except one about the pair ``unless``; it may come again."""
        with self._lock:
            asked, stop = self._asked.get(session, (None, None))
            if asked is not None and (unless is None or asked[0] != unless):
                stop.set()
                del self._asked[session]


class WhyTab:
    """Builds the tab's components in the current Blocks context and computes into them."""

    def __init__(self, recommender) -> None:
        self.store, self.counterfactuals = recommender.store, recommender.counterfactuals
        self.wanted = Wanted()
        quantities = self.counterfactuals.quantities
        self._labels, self._own = recommender.labels, recommender.methods[0]
        gr.HTML(
            "<p>What would the answer be with another history, or with a part of the system taken "
            "away? Everything here is computed anew with that one thing changed, and answered by "
            f"{escape(self._labels[self._own])}, whichever method is chosen above.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        self.method = panel("", elem_id="why-method")
        with gr.Row(elem_classes="ckf-controls"):
            self.by = gr.Radio(
                [(QUANTITIES[name].label, name) for name in quantities],
                value=quantities[0] if quantities else None,
                label="Compare",
                min_width=200,
                visible=len(quantities) > 1,
                elem_id="why-by",
            )
        with gr.Row(elem_classes="ckf-buttons"):
            self.halt = gr.Button("Stop", size="sm", interactive=False, elem_id="why-stop")
            self.again = gr.Button("Go on", size="sm", interactive=False, elem_id="why-again")
        waiting = notice("This is computed when the tab is opened.")
        self.films = panel(waiting, elem_id="why-films")
        self.stars = panel(_no_film(), elem_id="why-stars")
        with gr.Row(elem_classes="ckf-controls"):
            self.other = gr.Textbox(
                label="Whose bridges to put in the person’s place (user id, optional)",
                placeholder="for example 13",
                min_width=220,
                visible=self.counterfactuals.has_bridges,
                elem_id="why-other",
            )
        self.parts = panel(waiting, elem_id="why-parts")
        self.standing = panel(waiting, elem_id="why-standing")
        with gr.Row(elem_classes="ckf-controls"):
            self.k = gr.Slider(
                1,
                50,
                value=TOP,
                step=1,
                label="Length of the top list (K)",
                min_width=180,
                elem_id="why-k",
            )
        self.later = panel(waiting, elem_id="why-later")
        # What this session has computed last.
        self.latest = gr.State(None)

    def wire(self, page: Page) -> None:
        """Compute section after section while the tab is open."""
        pair, model = page.pair, page.service.model
        page.chooses_item(self.later)
        page.show(self.method, self.method_markup)
        page.on_pair(lambda request, current: self.leave(request, unless=current))
        page.on_leave(self.leave)

        def section(name: str) -> dict:
            def answer(
                current: Pair,
                latest: Found | None,
                by: str | None,
                other: str,
                k: float,
                request: gr.Request,
            ):
                yield from self.answer(name, current, latest, by, other, k, request)

            return {
                "fn": page.gated_in(["why"], answer, model, f"page: why {name}", self.latest),
                "inputs": [page.active, pair, self.latest, *self.controls],
                "outputs": self.outputs,
                # a round that begins while another is on its way must not lose its sections
                **ANSWER,
            }

        def enter(tab: str, request: gr.Request) -> None:
            if tab == "why":
                self.enter(request)
            else:
                self.leave(request)

        show = {
            "fn": self.show,
            "inputs": [self.latest, self.by],
            "outputs": [*self.panels, self.latest],
            "trigger_mode": "always_last",
            **QUIET,
        }
        first, *others = SECTIONS
        rounds = [
            gr.on(
                [page.active.change, self.again.click],
                enter,
                page.active,
                trigger_mode="always_last",
                **QUIET,
            ).then(**section(first)),
            gr.on([pair.change, *self.changes], **section(first)),
        ]
        for name in others:
            rounds = [each.then(**section(name)) for each in rounds]
        for each in rounds:
            each.then(**show)
        self.by.change(**show)
        self.films.select(
            page.gated(self.choose, model, "page: why stars"),
            pair,
            self.stars,
            show_progress_on=self.stars,
            **ANSWER,
        )
        self.halt.click(self.stop, self.latest, [self.halt, self.again], **QUIET)

    @property
    def controls(self) -> list:
        """The inputs of ``answer`` after the pair and the latest findings."""
        return [self.by, self.other, self.k]

    @property
    def changes(self) -> list:
        """The events of the controls after which one computes what is not known yet."""
        return [self.other.submit, self.other.blur, self.k.release]

    @property
    def panels(self) -> list:
        """What shows the sections, in their order."""
        return [self.films, self.parts, self.standing, self.later]

    @property
    def outputs(self) -> list:
        """Every component that ``answer`` may update."""
        return [*self.panels, self.stars, self.halt, self.again, self.latest]

    def answer(
        self,
        section: str,
        pair: Pair,
        latest: Found | None,
        by: str | None,
        other: str | None,
        k: float,
        request: gr.Request,
    ) -> Iterator[dict]:
        """Compute one section unless it is known, and show it as it comes.

        Each is an event of its own, so that what was asked meanwhile has its turn between two.
        A section before it that is missing is computed too: an event of an earlier round, which
        began without it, may have written its findings last. Nothing is computed after a stop,
        until the rest is wanted or another question comes.
        """
        session = request.session_hash
        pair = _without_method(pair)
        found = (latest or Found(pair)).asked_again(pair, (other or "").strip(), int(k))
        stop = self.wanted.begin(session, found.asked)
        shown = {self.latest: found} | self._buttons(found, session)
        if section == FILMS:
            shown |= self._shown(found, by, session)
            if latest is None or latest.pair != pair:
                shown[self.stars] = _no_film()
        yield shown
        upto = SECTIONS[: SECTIONS.index(section) + 1]
        boxes = dict(zip(SECTIONS, self.panels, strict=True))
        for name in upto:
            if name in found.done or stop.is_set():
                continue
            try:
                for step in self._steps(name, found, stop):
                    found = step
                    yield {boxes[name]: self.markup(name, found, by)}
            except UserError as error:
                found = replace(found, problems={**found.problems, name: str(error)})
            if not stop.is_set():
                found = replace(found, done=found.done | {name})
        stopped = self.wanted.stopped(session)
        shown = {boxes[name]: self.markup(name, found, by, stopped=stopped) for name in upto}
        shown[self.latest] = found
        if stopped or section == SECTIONS[-1]:
            shown |= self._shown(found, by, session)
        yield shown | self._buttons(found, session)

    def method_markup(self, pair: Pair) -> str:
        """Which method answers here, where another one is chosen (HTML)."""
        if pair.method in (None, self._own):
            return ""
        own = self._labels[self._own]
        return notice(
            f"“{self._labels[pair.method]}” is chosen above. What stands here is about {own} all "
            f"the same: only {own} has all the parts that are changed here."
        )

    def stop(self, latest: Found | None, request: gr.Request) -> dict:
        """Stop the session's question; the step that runs is the last."""
        self.wanted.stop(request.session_hash)
        return self._buttons(latest, request.session_hash)

    def enter(self, request: gr.Request) -> None:
        """All that is not known yet is wanted."""
        self.wanted.go_on(request.session_hash)

    def leave(self, request: gr.Request, unless: Pair | None = None) -> None:
        """What nobody looks at must not keep others waiting."""
        self.wanted.leave(request.session_hash, unless and _without_method(unless))

    def _buttons(self, found: Found | None, session: str) -> dict:
        left = found is None or not found.complete
        stopped = self.wanted.stopped(session)
        return {
            self.halt: gr.update(interactive=left and not stopped),
            self.again: gr.update(interactive=left and stopped),
        }

    def _shown(self, found: Found, by: str | None, session: str) -> dict:
        stopped = self.wanted.stopped(session)
        return {
            box: self.markup(section, found, by, stopped=stopped)
            for section, box in zip(SECTIONS, self.panels, strict=True)
        }

    def show(self, latest: Found | None, by: str | None, request: gr.Request) -> dict:
        """What is known, compared on another quantity."""
        if latest is None:
            return {self.latest: gr.skip()}
        return self._shown(latest, by, request.session_hash)

    def _steps(self, name: str, found: Found, stop: threading.Event) -> Iterator[Found]:
        """A section as it grows."""
        pair, what_if = found.pair, self.counterfactuals
        question = {**pair.person, "item": pair.item}
        if name == FILMS:
            for piece in what_if.leave_one_out(**question, stop=stop):
                yield replace(found, films=piece)
        elif name == PARTS:
            rows: tuple[dict, ...] = ()
            for row in what_if.swap_components(**question, other=found.other or None, stop=stop):
                rows += (row,)
                yield replace(found, parts=rows)
        elif name == STANDING:
            for standing in what_if.percentile(**question, stop=stop):
                yield replace(found, standing=tuple(standing))
        else:
            later = what_if.trace_later_likes(pair.user, at=pair.at, k=found.k)
            yield replace(found, later=later)

    def choose(self, pair: Pair, event: gr.EventData) -> str:
        """What other stars for the chosen film of the history would change (HTML)."""
        question = {**pair.person, "item": pair.item}
        try:
            rows = self.counterfactuals.with_stars(event.pick, **question)
        except UserError as error:
            return _section("If it had got other stars", notice(str(error)))
        known = self.store.history(pair.user, pair.at) if pair.user else None
        given = dict(pair.history)
        if known is not None:
            given |= dict(zip(known["item"], known["rating"].astype(float), strict=True))
        return stars_markup(self.store.item(event.pick), given[event.pick], rows, pair, self.store)

    def markup(self, name: str, found: Found, by: str | None, *, stopped: bool = False) -> str:
        """One section (HTML)."""
        film = film_text(self.store.item(found.pair.item))
        progress = _progress(name in found.done, stopped)
        if name in found.problems:
            return _section(HEADINGS[name], notice(found.problems[name]))
        if name == FILMS:
            return films_markup(found.films, by, film, progress)
        if name == PARTS:
            missing = self.counterfactuals.missing
            return parts_markup(found.parts, by, missing, progress)
        if name == STANDING:
            return standing_markup(found.standing, film, progress)
        return later_markup(found.later, found.pair, progress)


HEADINGS = {
    FILMS: "Which rated films move the answer?",
    PARTS: "What if a part were swapped or switched off?",
    STANDING: "Where does the film stand among those not seen?",
    LATER: "Did a top list find what they liked later?",
}


def _without_method(pair: Pair) -> Pair:
    """The pair as this tab answers it: by the recommender's own method, whichever is chosen."""
    return replace(pair, method=None)


def _section(heading: str, body: str) -> str:
    return f'<section class="ckf-card"><h3>{escape(heading)}</h3>{body}</section>'


def _progress(done: bool, stopped: bool) -> str:
    """One line on whether more is coming (HTML)."""
    text = "" if done else "Stopped; “Go on” computes the rest." if stopped else "Computing …"
    return f'<p class="ckf-time" role="status">{text}</p>' if text else ""


def _no_film() -> str:
    return _section(
        "If it had got other stars",
        notice("Choose a film in the table above to see the answer for one to five stars."),
    )


# --- charts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A bar from the chart's base to ``value``, with an interval where there is one."""

    label: str
    value: float
    text: str
    strong: bool = False
    low: float | None = None
    high: float | None = None


def bars(
    entries: Sequence[Bar],
    ends: tuple[float, float],
    base: float,
    ticks: Sequence[tuple[float, str]],
    about: str,
) -> str:
    """Horizontal bars; ``about`` says in words what they are, the table beside has the figures."""
    low, high = ends

    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    drawn = []
    for entry in entries:
        left, right = sorted((place(base), place(entry.value)))
        side = "ckf-more" if entry.value >= base else "ckf-less"
        strong = " ckf-strong" if entry.strong else ""
        interval = ""
        if entry.low is not None and entry.high is not None and entry.low < entry.high:
            interval = (
                f'<span class="ckf-interval" style="left:{place(entry.low):.2f}%;'
                f'right:{100 - place(entry.high):.2f}%"></span>'
            )
        drawn.append(
            f'<span class="ckf-lane-name{strong}" title="{escape(entry.label)}">'
            f"{escape(entry.label)}</span>"
            f'<span class="ckf-lane"><span class="ckf-base" style="left:{place(base):.2f}%"></span>'
            f'<span class="ckf-bar-of {side}{strong}" style="left:{left:.2f}%;'
            f'width:{right - left:.2f}%"></span>{interval}</span>'
            f'<span class="ckf-bar-value{strong}">{escape(entry.text)}</span>'
        )
    scale = "".join(
        f'<span class="ckf-tick" style="left:{place(value):.2f}%">{escape(text)}</span>'
        for value, text in ticks
    )
    return (
        f'<div role="img" aria-label="{escape(about)}"><div class="ckf-lanes ckf-bars-of" '
        f'aria-hidden="true">{"".join(drawn)}<span></span>'
        f'<span class="ckf-lane ckf-scale">{scale}</span><span></span></div></div>'
    )


def _beside(chart: str, listing: str) -> str:
    return f'<div class="ckf-beside"><div>{chart}</div><div>{listing}</div></div>'


def _known(rows: Sequence[dict]) -> list[str]:
    """The quantities that the checkpoint knows."""
    return [name for name in QUANTITIES if rows and rows[0][name] is not None]


def _scale(name: str, values: Sequence[float]) -> tuple[tuple[float, float], list]:
    """Ends and ticks of a chart of a quantity itself."""
    quantity = QUANTITIES[name]
    ends = quantity.ends
    if ends is None:
        low, high = min(values), max(values)
        room = 0.1 * (high - low or 1)
        ends = low - room, high + room
    count = 4
    ticks = [ends[0] + (ends[1] - ends[0]) * i / count for i in range(count + 1)]
    short = "{:.0f}".format if name == "rating" else quantity.written
    return ends, [(value, short(value)) for value in ticks]


# --- films removed ------------------------------------------------------------------------------


def films_markup(found: dict | None, by: str | None, film: str, progress: str) -> str:
    """Each shown film removed alone: effects as bars and as a table (HTML)."""
    heading = HEADINGS[FILMS]
    if found is None:
        return _section(heading, progress)
    if not found["shown"]:
        text = (
            "No rated film is known at this moment, so none can be removed. Rate films under “New "
            "person”, or choose a user with ratings."
        )
        return _section(heading, notice(text))
    names = _known([found])
    by = by if by in names else names[0]
    rows = sorted(found["without"], key=lambda row: -abs(found[by] - row[by]))
    done = f"{len(rows)} of {found['shown']}"
    facts = (
        f"Each of the {found['shown']} films that the prompt shows (of {found['known']} rated), "
        "removed alone and everything computed anew: prompt, folded-in person and bridges. No "
        f"earlier film takes its place. {done} done in {found['seconds']:.2f} s."
    )
    if found["window_moves"]:
        facts += (
            " With one rating fewer the prompt would begin at an earlier film; that shift is left "
            "out, so that each effect is one film’s alone."
        )
    present = ", ".join(
        f"{QUANTITIES[name].label.lower()} {QUANTITIES[name].written(found[name])}"
        for name in names
    )
    now = f"As it is, for {film}: {present}."
    body = f'<p class="ckf-facts">{escape(facts)}</p><p class="ckf-facts">{escape(now)}</p>'
    if rows:
        quantity = QUANTITIES[by]
        most = max(abs(found[by] - row[by]) for row in rows) or 1.0
        chart = bars(
            [
                Bar(row["title"], found[by] - row[by], quantity.change(found[by] - row[by]))
                for row in rows
            ],
            (-most, most),
            0.0,
            [(-most, quantity.change(-most)), (0.0, "0"), (most, quantity.change(most))],
            f"Effect of each film on {quantity.label.lower()}, the greatest first.",
        )
        legend = (
            '<p class="ckf-facts">Right of the line: having rated this film raises the answer; '
            "left: it lowers it. Choose a film in the table to give it other stars.</p>"
        )
        listing = table(
            [
                Column("Film", pick=True, wide=True),
                Column("Rated", numeric=True),
                *_columns(names, "without it"),
            ],
            [
                Row(
                    pick=row["item"],
                    cells=[
                        Cell(escape(row["title"]), row["title"]),
                        Cell(f"{stars_text(row['stars'])}&nbsp;★", row["stars"]),
                        *_figures(row, found, names, sign=-1),
                    ],
                )
                for row in rows
            ],
            caption="The answer without each film, and the film’s effect",
            empty="Nothing is computed yet.",
            height=560,
        )
        body += _beside(chart + legend, listing)
    return _section(heading, body + progress)


def _columns(names: Sequence[str], what: str) -> list[Column]:
    """Two columns for each quantity: itself and its effect or change."""
    difference = "Effect" if what == "without it" else "Change"
    return [
        Column(label, numeric=True)
        for name in names
        for label in (f"{QUANTITIES[name].label} {what}".strip(), difference)
    ]


def _figures(row: dict, present: dict, names: Sequence[str], *, sign: int = 1) -> list[Cell]:
    """Each quantity of a row and its change from the answer as it is (``sign`` −1: its effect)."""
    cells = []
    for name in names:
        quantity, change = QUANTITIES[name], sign * (row[name] - present[name])
        cells.append(Cell(escape(quantity.written(row[name])), row[name]))
        cells.append(Cell(escape(quantity.change(change)), change))
    return cells


def stars_markup(film: dict, given: float, rows: Sequence[dict], pair: Pair, store) -> str:
    """The answer if a film of the history had got other stars, or had not been rated (HTML)."""
    names = _known(rows)
    present = next((row for row in rows if row["stars"] == given), None)

    def label(stars: float | None) -> str:
        text = "not rated" if stars is None else f"{stars_text(stars)} ★"
        return f"{text} (as it is)" if stars == given else text

    shown = list(rows)
    charts = []
    for name in names:
        quantity = QUANTITIES[name]
        ends, ticks = _scale(name, [row[name] for row in shown])
        charts.append(
            f'<p class="ckf-facts">{escape(quantity.label)}</p>'
            + bars(
                [
                    Bar(
                        label(row["stars"]),
                        row[name],
                        quantity.written(row[name]),
                        strong=row["stars"] == given,
                    )
                    for row in shown
                ],
                ends,
                ends[0],
                ticks,
                f"{quantity.label} for each number of stars.",
            )
        )
    against = present or shown[0]
    listing = table(
        [Column("If it had got"), *_columns(names, "")],
        [
            Row(
                pick=None,
                selected=row["stars"] == given,
                cells=[
                    Cell(escape(label(row["stars"])), row["stars"] or 0),
                    *_figures(row, against, names),
                ],
            )
            for row in shown
        ],
        caption="The answer by the stars of this film; change from "
        + ("the answer as it is" if present else "not having rated it"),
        empty="",
    )
    about = (
        f"{film_text(film)}, which got {stars_text(given)} of 5; the answer is about "
        f"{film_text(store.item(pair.item))}."
    )
    return _section(
        "If it had got other stars",
        f'<p class="ckf-facts">{escape(about)}</p>{_beside("".join(charts), listing)}',
    )


# --- parts --------------------------------------------------------------------------------------


def parts_markup(
    rows: Sequence[dict], by: str | None, missing: Sequence[str], progress: str
) -> str:
    """Every part swapped or off: the answers as bars and as a table (HTML)."""
    heading = HEADINGS[PARTS]
    if not rows:
        return _section(heading, progress)
    names = _known(rows)
    by = by if by in names else names[0]
    quantity, own = QUANTITIES[by], rows[0]
    changes = [row[by] - own[by] for row in rows]
    most = max(map(abs, changes)) or 1.0
    chart = bars(
        [
            Bar(row["label"], change, quantity.change(change))
            for row, change in zip(rows[1:], changes[1:], strict=True)
        ],
        (-most, most),
        0.0,
        [(-most, quantity.change(-most)), (0.0, "0"), (most, quantity.change(most))],
        f"Change of {quantity.label.lower()} with each part swapped or off.",
    )
    listing = table(
        [Column("System", wide=True), *_columns(names, "")],
        [
            Row(
                pick=None,
                selected=row is own,
                cells=[row["label"], *_figures(row, own, names)],
            )
            for row in rows
        ],
        caption="The answer with one part changed; change from the answer as it is",
        empty="",
    )
    facts = (
        "One part at a time; everything else, calibration included, is held. Bars are changes "
        "from the answer as it is."
    )
    if "personal bridges" not in missing:
        facts += " The average is over bridges of users with ratings at the split time."
    if missing:
        facts += f" This checkpoint has no {', no '.join(missing)}."
    return _section(
        heading, f'<p class="ckf-facts">{escape(facts)}</p>{_beside(chart, listing)}{progress}'
    )


# --- percentile ---------------------------------------------------------------------------------


def standing_markup(rows: Sequence[dict], film: str, progress: str) -> str:
    """The film's percentile by each stage, as bars and as a table (HTML)."""
    heading = HEADINGS[STANDING]
    if not rows:
        return _section(heading, progress)
    shares = [row for row in rows if row["percentile"] is not None]
    if not shares:
        return _section(heading, notice("No other film is left that they have not seen."))
    chart = bars(
        [
            Bar(
                STAGES[row["by"]],
                row["percentile"],
                percent(row["percentile"]),
                strong=row["by"] == "own",
                low=row["low"],
                high=row["high"],
            )
            for row in shares
        ],
        (0.0, 1.0),
        0.0,
        [(i / 4, percent(i / 4)) for i in range(5)],
        f"Share of films not seen that score lower than {film}.",
    )
    listing = table(
        [
            Column("Scored by", wide=True),
            Column("Score", numeric=True),
            Column("Score lower", numeric=True),
            Column("n", numeric=True),
        ],
        [
            Row(
                pick=None,
                cells=[
                    STAGES[row["by"]],
                    Cell(escape(_score(row)), row["value"]),
                    Cell(escape(_share(row)), row["percentile"]),
                    row["n"],
                ],
            )
            for row in shares
        ],
        caption="Share of the films not seen that score lower",
        empty="",
    )
    facts = (
        f"{film} against the films that they have not seen. The candidate stage and the "
        "collaborative prior score all of these; the full answer, with the language model, a fixed "
        "random sample of them, hence its 95 % interval. Films that score the same do not count as "
        "lower."
    )
    return _section(
        heading, f'<p class="ckf-facts">{escape(facts)}</p>{_beside(chart, listing)}{progress}'
    )


def _score(row: dict) -> str:
    quantity = QUANTITIES[row["quantity"]]
    return quantity.written(row["value"])


def _share(row: dict) -> str:
    if not row["sampled"]:
        return percent(row["percentile"])
    interval = f"{100 * row['low']:.0f}–{100 * row['high']:.0f} %"
    return f"{percent(row['percentile'])} ({interval})"


# --- what was liked later -----------------------------------------------------------------------


def later_markup(found: dict | None, pair: Pair, progress: str) -> str:
    """Each film liked later, its ranks and the stage that lost it, after one line on all (HTML)."""
    heading = HEADINGS[LATER]
    if found is None:
        return _section(heading, progress)
    films = found["films"]
    listing = table(
        [
            Column("Film", pick=True, wide=True),
            Column("Later rated", numeric=True),
            Column(f"Collaborative rank of {found['catalogue']}", numeric=True),
            Column(f"Among the {found['candidates']} candidates"),
            Column("Rank after re-ranking", numeric=True),
            Column("Outcome", wide=True),
        ],
        [
            Row(
                pick=film["item"],
                selected=film["item"] == pair.item,
                cells=[
                    Cell(escape(film["title"]), film["title"]),
                    Cell(f"{stars_text(film['rating'])}&nbsp;★", film["rating"]),
                    film["collaborative_rank"],
                    "no" if film["rank"] is None else "yes",
                    Cell("–", "") if film["rank"] is None else film["rank"],
                    OUTCOMES[film["outcome"]],
                ],
            )
            for film in films
        ],
        caption="Films that they later gave 4 or 5 stars",
        empty="They gave no film 4 or 5 stars after this moment; choose another user, or an "
        "earlier moment.",
        height=420,
    )
    line = f'<p class="ckf-facts">{escape(later_summary(found))}</p>' if films else ""
    return _section(heading, line + listing + progress)


def later_summary(found: dict) -> str:
    """One line on where films that were liked later ended."""
    number, k = found["outcomes"], found["k"]
    n = len(found["films"])
    films = "film" if n == 1 else "films"
    return (
        f"Of {n} {films} liked later, {number['kept'] + number['moved in']} are in the top {k}, "
        f"{number['moved in']} of these moved in by re-ranking. Re-ranking moved "
        f"{number['moved out']} out and left {number['not moved in']} other candidates below; the "
        f"candidate stage lost {number['no candidate']}. By the collaborative order alone "
        f"{found['in_top_by_collaborative']} would be in the top {k}."
    )
