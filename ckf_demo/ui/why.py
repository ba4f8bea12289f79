"""The Why tab: what the answers for the pair would be with another history, another person's bridge
or a part switched off, where the item stands among those not seen, and which stage of a top list
lost what was liked later."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import card
from ckf_demo.ui.controls import lead, radio, stop_button
from ckf_demo.ui.events import ANSWER, QUIET
from ckf_demo.ui.markup import escape, film_text, notice, panel
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.stops import Stops
from ckf_demo.ui.why_markup import (
    FILMS,
    LATER,
    OTHER_STARS,
    PARTS,
    QUANTITIES,
    SECTIONS,
    STANDING,
    WhyMarkup,
    progress_markup,
    stars_hint,
    stars_markup,
)
from ckf_demo.ui.words import words_of

TOP = 10


@dataclass(frozen=True)
class Findings:
    """What has been computed so far, with the question that it answers.

    ``results`` hold a section's result, or a text that says why there is none; ``done`` are the
    sections that are finished.
    """

    pair: Pair
    other: str = ""
    k: int = TOP
    results: dict[str, Any] = field(default_factory=dict)
    done: frozenset[str] = frozenset()

    def reused_for(self, pair: Pair, other: str, k: int) -> "Findings":
        """The findings that still answer another question."""
        changed: set[str] = set()
        if pair != self.pair:
            changed |= {FILMS, PARTS, STANDING}
        if other != self.other:
            changed.add(PARTS)
        if pair.who != self.pair.who or k != self.k:
            changed.add(LATER)
        kept = {name: result for name, result in self.results.items() if name not in changed}
        return Findings(pair, other, k, kept, self.done - changed)

    def with_result(self, name: str, result: Any) -> "Findings":
        return replace(self, results={**self.results, name: result})


class WhyTab:
    """Builds the tab's components in the current Blocks context and computes into them."""

    def __init__(self, recommender) -> None:
        self.store, self.counterfactuals = recommender.store, recommender.counterfactuals
        self.by_prior = bool(recommender.by_prior & {"rating", "ctr"})
        # a stop holds for all events about its question, and a running event overwrites findings
        self.stops, self.words = Stops(), words_of(recommender)
        quantities = self.counterfactuals.quantities
        self._labels, self._method = recommender.labels, recommender.methods[0]
        lead(
            "What would the answer be with another history, or with a part of the system taken "
            "away? Everything here is computed with that one change, and answered by "
            f"{escape(self._labels[self._method])}, whichever method is chosen above."
        )
        self.method = panel("", elem_id="why-method")
        with gr.Row(elem_classes="ckf-controls"):
            self.by = radio(
                "why-by",
                "Compare",
                [(QUANTITIES[name].label, name) for name in quantities],
                200,
                visible=len(quantities) > 1,
            )
        with gr.Row(elem_classes="ckf-buttons"):
            self.halt = stop_button("why-stop")
            self.again = stop_button("why-again", "Go on")
        waiting = notice("This is computed when the tab is opened.")
        self.films = panel(waiting, elem_id="why-films")
        self.stars = panel(stars_hint(self.words), visible=self.words.stars, elem_id="why-stars")
        with gr.Row(elem_classes="ckf-controls"):
            self.other = gr.Textbox(
                label="Whose bridges to put in the person’s place (user id, optional)",
                placeholder="for example 13",
                elem_id="why-other",
                min_width=220,
                visible=self.counterfactuals.has_bridges,
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
        self.boxes = dict(
            zip(SECTIONS, [self.films, self.parts, self.standing, self.later], strict=True)
        )
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
                latest: Findings | None,
                by: str | None,
                other: str,
                k: float,
                request: gr.Request,
            ):
                yield from self.answer(name, current, latest, by, other, k, request)

            return {
                "fn": page.gated_in(["why"], answer, model, f"page: why {name}", self.latest),
                "inputs": [page.active, pair, self.latest, self.by, self.other, self.k],
                "outputs": [*self.boxes.values(), self.stars, self.halt, self.again, self.latest],
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
            "outputs": [*self.boxes.values(), self.latest],
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
            gr.on(
                [pair.change, self.other.submit, self.other.blur, self.k.release],
                **section(first),
            ),
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
            **ANSWER | {"trigger_mode": "multiple"},
        )
        self.halt.click(self.stop, self.latest, [self.halt, self.again], **QUIET)

    def answer(
        self,
        section: str,
        pair: Pair,
        latest: Findings | None,
        by: str | None,
        other: str | None,
        k: float,
        request: gr.Request,
    ) -> Iterator[dict]:
        """Compute one section unless it is done, and show it as it comes.

        Each section is an event of its own, so that other visitors have their turn between two.
        A missing section before it is computed too: an event of an earlier round, which began
        without it, may have written its findings last. Nothing is computed after a stop, until the
        rest is wanted or another question comes.
        """
        session = request.session_hash
        pair = _without_method(pair)
        findings = (latest or Findings(pair)).reused_for(pair, (other or "").strip(), int(k))
        stop = self.stops.begin(session, pair, (pair, findings.other, findings.k))
        shown = {self.latest: findings} | self._buttons(findings, session)
        if section == FILMS:
            shown |= self._shown(SECTIONS, findings, by, session)
            if latest is None or latest.pair != pair:
                shown[self.stars] = stars_hint(self.words)
        yield shown
        upto = SECTIONS[: SECTIONS.index(section) + 1]
        for name in upto:
            if name in findings.done or stop.is_set():
                continue
            try:
                for result in self._results(name, findings, stop):
                    findings = findings.with_result(name, result)
                    yield {self.boxes[name]: self.markup(name, findings, by)}
            except UserError as error:
                findings = findings.with_result(name, str(error))
            if not stop.is_set():
                findings = replace(findings, done=findings.done | {name})
        last = self.stops.stopped(session) or section == SECTIONS[-1]
        shown = self._shown(SECTIONS if last else upto, findings, by, session)
        yield {self.latest: findings} | shown | self._buttons(findings, session)

    def method_markup(self, pair: Pair) -> str:
        """Which method answers here, where another one is chosen (HTML)."""
        if pair.method in (None, self._method):
            return ""
        answering = self._labels[self._method]
        return notice(
            f"“{self._labels[pair.method]}” is chosen above. This tab is about {answering} all the "
            f"same: only {answering} has all the parts that are changed here."
        )

    def stop(self, latest: Findings | None, request: gr.Request) -> dict:
        """Stop the session's question; the step that runs is the last."""
        self.stops.halt(request)
        return self._buttons(latest, request.session_hash)

    def enter(self, request: gr.Request) -> None:
        """Let everything that is missing be computed."""
        self.stops.resume(request.session_hash)

    def leave(self, request: gr.Request, unless: Pair | None = None) -> None:
        """End the session's question, so that nobody waits for what nobody looks at."""
        self.stops.forget(request.session_hash, unless and _without_method(unless))

    def _buttons(self, findings: Findings | None, session: str) -> dict:
        left = findings is None or len(findings.done) < len(SECTIONS)
        stopped = self.stops.stopped(session)
        return {
            self.halt: gr.update(interactive=left and not stopped),
            self.again: gr.update(interactive=left and stopped),
        }

    def _shown(
        self, sections: Sequence[str], findings: Findings, by: str | None, session: str
    ) -> dict:
        stopped = self.stops.stopped(session)
        return {
            self.boxes[name]: self.markup(name, findings, by, stopped=stopped) for name in sections
        }

    def show(self, latest: Findings | None, by: str | None, request: gr.Request) -> dict:
        """The findings compared on another quantity."""
        if latest is None:
            return {self.latest: gr.skip()}
        return self._shown(SECTIONS, latest, by, request.session_hash)

    def _results(self, name: str, findings: Findings, stop: threading.Event) -> Iterator:
        """A section's result as it grows."""
        pair, what_if = findings.pair, self.counterfactuals
        question = {**pair.person, "item": pair.item}
        if name == FILMS:
            yield from what_if.leave_one_out(**question, stop=stop)
        elif name == PARTS:
            rows = what_if.swap_components(**question, other=findings.other or None, stop=stop)
            yield from accumulate((row,) for row in rows)
        elif name == STANDING:
            yield from map(tuple, what_if.percentile(**question, stop=stop))
        else:
            yield what_if.trace_later_likes(pair.user, at=pair.at, k=findings.k)

    def choose(self, pair: Pair, event: gr.EventData) -> str:
        """What other stars for the chosen item of the history would change (HTML)."""
        try:
            rows = self.counterfactuals.with_stars(event.pick, **pair.person, item=pair.item)
        except UserError as error:
            return card(OTHER_STARS, notice(str(error)))
        given = dict(pair.history)
        if pair.user:
            history = self.store.history(pair.user, pair.at)
            given |= dict(zip(history["item"], history["rating"].astype(float), strict=True))
        changed, film = (film_text(self.store.item(item)) for item in (event.pick, pair.item))
        return stars_markup(changed, given[event.pick], rows, film)

    def markup(
        self, name: str, findings: Findings, by: str | None, *, stopped: bool = False
    ) -> str:
        """One section (HTML)."""
        item = self.store.item(findings.pair.item)
        markup = WhyMarkup(self.words, item, by, self.counterfactuals.missing, self.by_prior)
        progress = progress_markup(name in findings.done, stopped)
        return markup.section(name, findings.results.get(name), progress)


def _without_method(pair: Pair) -> Pair:
    """The pair as this tab answers it: by the recommender's own method, whichever is chosen."""
    return replace(pair, method=None)
