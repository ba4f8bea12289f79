"""Work that nobody waits for any more ends before its next forward pass.

Whoever answers a visitor runs the work inside ``stopped_by(event)``; whatever takes long asks
``check()`` now and then. Nothing in between need know of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_event: ContextVar[Event | None] = ContextVar("stopped_by", default=None)


class Stopped(Exception):
    """The answer is not wanted any more. Nobody is told: there is nobody to tell."""


@contextmanager
def stopped_by(event: Event) -> Iterator[None]:
    """Let ``check`` end what runs inside, in this thread, once ``event`` is set."""
    before = _event.set(event)
    try:
        yield
    finally:
        _event.reset(before)


def check() -> None:
    """Raise `Stopped` once the answer that is being computed is not wanted any more."""
    event = _event.get()
    if event is not None and event.is_set():
        raise Stopped
