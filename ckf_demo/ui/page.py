"""What all parts of one page share: the pair, the open tab, the gates, and the visitor's session.
Each part wires its own events with ``wire(page)``."""

import inspect
import time
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import islice

import gradio as gr
from gradio.components import Component
from gradio.context import LocalContext
from gradio.events import Dependency

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.events import CHOICE, PRIVATE, QUIET
from ckf_demo.ui.fair_queue import Gate
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.service import Service
from ckf_demo.ui.stops import Stops

OPENING = 3.0
"""Seconds within which a page is opened at the latest."""


class Page:
    """Builds the shared states in the current Blocks context.

    The states ``pair``, ``active`` and ``ranking`` hold the `Pair` that everything is about, the
    name of the open tab and the session's latest `Ranking`. ``opened`` is set when the page is
    opened, and lost with all that the server holds of a session. ``stops`` end a session's
    explanations.
    """

    def __init__(self, demo: gr.Blocks, recommender, service: Service, first: Pair) -> None:
        self.demo, self.recommender, self.service = demo, recommender, service
        self.pair = gr.State(first)
        self.active = gr.State("predict")
        self.ranking = gr.State(None)
        self.opened = gr.State(False)
        self.query = gr.Textbox(visible=False)
        self.stops = Stops()
        self._shown: list[tuple[Component, Callable, Sequence[Component]]] = []
        self._on_pair: list[Callable[[gr.Request, Pair], None]] = [
            lambda request, current: self.stops.stop(request.session_hash, unless=current)
        ]
        self._on_leave: list[Callable[[gr.Request], None]] = [
            lambda request: self.stops.forget(request.session_hash)
        ]

    def gated(
        self, function: Callable, gate: Gate | None, name: str, when: Callable | None = None
    ) -> Callable:
        """The function as an event of this page, behind a gate (None for what needs no turn).

        ``when`` is that of `Service.answering`.
        """
        return self.service.answering(
            function, gate, name=name, when=when, first=self.expect_session
        )

    def gated_in(
        self, tabs: Sequence[str], function: Callable, gate: Gate, name: str, skipped: Component
    ) -> Callable:
        """The function as an event that is answered only while one of the tabs is open.

        The event's first input is ``active``. In other tabs it passes by the gate and leaves
        ``skipped``, one of its outputs, as it is.
        """
        return self.gated(
            in_tabs(tabs, function, skipped), gate, name, when=lambda tab, *_: tab in tabs
        )

    def show(self, output: Component, show: Callable, *inputs: Component) -> None:
        """Fill ``output`` with ``show(pair, *inputs)`` whenever the pair changes; no model is
        asked."""
        self._shown.append((output, show, inputs))

    def on_pair(self, act: Callable[[gr.Request, Pair], None]) -> None:
        """Call ``act`` with the session's request whenever the pair changes."""
        self._on_pair.append(act)

    def on_leave(self, act: Callable[[gr.Request], None]) -> None:
        """Call ``act`` when a session ends."""
        self._on_leave.append(act)

    def chooses_item(self, *sources: Component) -> None:
        """Let a chosen row of each source change the pair's item."""
        for source in sources:
            self.chooses("item", source, choose_item)

    def chooses(self, what: str, source: Component, choose: Callable) -> Dependency:
        """Let a chosen row of the source change the pair; returns the event.

        ``choose`` makes the new pair from the present one and the event. ``what`` says what a row's
        pick names, "item", "user" or "pair" (fields of an address): the page writes it into its
        address at once, so that a reload before the answer keeps the choice.
        """
        source.elem_classes.append(f"ckf-chooses-{what}")
        return source.select(choose, self.pair, self.pair, **CHOICE)

    def wire(self) -> None:
        """Wire what was registered by `show`, `on_pair` and `on_leave`, and the address."""

        def show_pair(request: gr.Request, current: Pair, *values):
            for act in self._on_pair:
                act(request, current)
            rest = iter(values)
            shown = [show(current, *islice(rest, len(inputs))) for _, show, inputs in self._shown]
            return (*shown, current.query())

        def leave(request: gr.Request) -> None:
            for act in self._on_leave:
                act(request)

        self.pair.change(
            self.gated(show_pair, None, "page: pair"),
            [self.pair, *(part for _, _, inputs in self._shown for part in inputs)],
            [*(output for output, _, _ in self._shown), self.query],
            **QUIET,
        ).then(None, self.query, js="(query) => window.ckf.address(query)", **PRIVATE)
        self.demo.unload(leave)

    def expect_session(self) -> None:
        """Refuse a page that was opened on a server that has ended since.

        Gradio gives its session the state of a new visitor instead, which is about another person.

        Raises
        ------
        UserError
            When the session's page has not been opened on this server.
        """
        session = LocalContext.request.get().session_hash
        end = time.monotonic() + OPENING
        while not self.demo.app.state_holder[session][self.opened._id]:
            # what opens a page may still be on its way
            if time.monotonic() > end:
                raise UserError(
                    "The server was restarted after this page was opened. Please load the page "
                    "again; its address holds the person and the "
                    f"{self.recommender.domain.thing} that you see."
                )
            time.sleep(0.05)


def in_tabs(tabs: Sequence[str], function: Callable, skipped: Component) -> Callable:
    """``function`` behind one more argument before its own, the open tab.

    In another tab than ``tabs`` it is not called, and ``skipped`` keeps its value.
    """
    skip = {skipped: gr.skip()}
    if inspect.isgeneratorfunction(inspect.unwrap(function)):

        @wraps(function)
        def answer(tab: str, *args):
            yield from function(*args) if tab in tabs else (skip,)

    else:

        @wraps(function)
        def answer(tab: str, *args):
            return function(*args) if tab in tabs else skip

    # Gradio finds a request among the parameters by its place
    first = inspect.Parameter("tab", inspect.Parameter.POSITIONAL_ONLY)
    rest = inspect.signature(function).parameters.values()
    answer.__signature__ = inspect.Signature(
        [first, *(parameter.replace(kind=first.kind) for parameter in rest)]
    )
    return answer


def choose_item(current: Pair, event: gr.EventData) -> Pair:
    """The same person with the item of the chosen row or point."""
    return current.with_item(event.pick)
