"""Running a generator in one thread, whoever reads from it.

Gradio asks a generator for its next piece from whichever worker thread is free, but locks belong to
the thread that took them, and a visitor who leaves may never ask again.
"""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TypeVar

Piece = TypeVar("Piece")


def in_one_thread(pieces: Callable[[], Iterator[Piece]], stop: threading.Event) -> Iterator[Piece]:
    """Yield what ``pieces()`` yields, produced in a thread of its own.

    When the reader leaves early, ``stop`` is set, by which ``pieces`` should end soon. What
    ``pieces`` raises is raised here.
    """
    waiting: SimpleQueue[tuple[Piece | None, BaseException | None, bool]] = SimpleQueue()

    def produce() -> None:
        try:
            for piece in pieces():
                waiting.put((piece, None, False))
        except BaseException as error:
            waiting.put((None, error, True))
        else:
            waiting.put((None, None, True))

    threading.Thread(target=produce, name="explanation", daemon=True).start()
    try:
        while True:
            piece, error, ended = waiting.get()
            if error is not None:
                raise error
            if ended:
                return
            yield piece
    finally:
        stop.set()
