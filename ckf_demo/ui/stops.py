"""Stop signals of what is being answered, one per browser session."""

import threading

import gradio as gr

from ckf_demo.ui.pair import Pair


class Stops:
    """One stop signal per browser session, so that a button or a newer pair ends a generation."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Pair, threading.Event]] = {}
        self._lock = threading.Lock()

    def begin(self, session: str, pair: Pair) -> threading.Event:
        """The signal for a new generation; whatever ran before in the session is stopped."""
        event = threading.Event()
        with self._lock:
            _, previous = self._running.get(session, (None, None))
            self._running[session] = (pair, event)
        if previous is not None:
            previous.set()
        return event

    def stop(self, session: str, unless: Pair | None = None) -> None:
        """Stop the session's generation, except one that already answers the pair ``unless``."""
        with self._lock:
            pair, event = self._running.get(session, (None, None))
        if event is not None and (unless is None or pair != unless):
            event.set()

    def halt(self, request: gr.Request) -> None:
        """Stop what the session of a request generates."""
        self.stop(request.session_hash)

    def forget(self, session: str) -> None:
        """Stop and drop a session that has ended."""
        self.stop(session)
        with self._lock:
            self._running.pop(session, None)
