"""Cancels work whose client has left, before its next forward pass.

The service runs the work inside ``stopped_by(event)``, and long computations call ``check()`` now
and then. The code between the two is not involved.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_event: ContextVar[Event | None] = ContextVar("stopped_by", default=None)


class Stopped(Exception):
    """The work was cancelled. The client has left, so no message is sent."""


@contextmanager
def stopped_by(event: Event) -> Iterator[None]:
    """Let ``check`` end the work inside, in this thread, once ``event`` is set."""
    before = _event.set(event)
    try:
        yield
    finally:
        _event.reset(before)


def check() -> None:
    """Raise `Stopped` if the current work was cancelled."""
    event = _event.get()
    if event is not None and event.is_set():
        raise Stopped
