"""Stop signals of what is being answered, one per browser session."""

import threading
from typing import NamedTuple

import gradio as gr

from ckf_demo.ui.pair import Pair


class _Running(NamedTuple):
    pair: Pair | None
    question: tuple | None
    signal: threading.Event


class Stops:
    """One stop signal per browser session, so that a button or a newer pair ends an answer."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()

    def begin(
        self, session: str, pair: Pair | None, question: tuple | None = None
    ) -> threading.Event:
        """The signal for an answer about the pair; another answer of the session is stopped.

        Answers to the same ``question`` share one signal, stopped or not, until `resume` or
        `forget`.
        """
        with self._lock:
            before = self._running.get(session)
            if before and question is not None and question == before.question:
                return before.signal
            self._running[session] = _Running(pair, question, threading.Event())
            if before:
                before.signal.set()
            return self._running[session].signal

    def stop(self, session: str, unless: Pair | None = None, *, forget: bool = False) -> None:
        """Stop the session's answer, except one about the pair ``unless``."""
        with self._lock:
            running = self._running.get(session)
            if running and (unless is None or unless != running.pair):
                running.signal.set()
                if forget:
                    del self._running[session]

    def forget(self, session: str, unless: Pair | None = None) -> None:
        """Stop the session's answer likewise and drop it, so that its question may come again."""
        self.stop(session, unless, forget=True)

    def halt(self, request: gr.Request) -> None:
        """Stop what the session of a request generates."""
        self.stop(request.session_hash)

    def leave(self, request: gr.Request) -> None:
        """Stop and drop the session of a request, which has ended."""
        self.forget(request.session_hash)

    def stopped(self, session: str) -> bool:
        with self._lock:
            return session in self._running and self._running[session].signal.is_set()

    def resume(self, session: str) -> None:
        """Let the rest of a stopped question be answered."""
        if self.stopped(session):
            self.forget(session)
