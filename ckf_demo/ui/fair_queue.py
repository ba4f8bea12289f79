"""A bounded queue in front of something that few may use at once, with a turn for everybody.

Gradio has one queue for the whole page, in order of arrival: searches would wait with questions to
the model, and one visitor's many questions would go before another's only one. A gate counts only
questions to the model, limits each visitor to a share of the waiting places, and serves the
visitors in turn. All of it runs in the server's event loop, so nothing here needs a lock.
"""

import asyncio
import os
from collections import OrderedDict, deque

from ckf_demo.runtime.errors import UserError

WAITING = 32
"""How many questions may wait, unless ``CKF_QUEUE`` says otherwise."""


class Refused(UserError):
    """There is no room to wait in."""


def queue_size() -> int:
    """What ``CKF_QUEUE`` says; without it `WAITING`.

    Raises
    ------
    UserError
        When it is no whole number from 1 to 1,000.
    """
    given = os.environ.get("CKF_QUEUE") or str(WAITING)
    if not (given.isascii() and given.isdigit()) or not 1 <= int(given) <= 1000:
        raise UserError(f"CKF_QUEUE={given!r} is no whole number from 1 to 1,000; give one.")
    return int(given)


class Gate:
    """Lets ``places`` questions through at once, while ``most`` others wait at most.

    ``share`` of those who wait may be of one visitor.
    """

    def __init__(self, places: int, most: int, share: int):
        self.places, self.most, self.share = places, most, share
        self.inside = 0
        # visitors in the order in which they are called up, each with what they wait for
        self._waiting: OrderedDict[str, deque[asyncio.Future]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return sum(map(len, self._waiting.values()))

    async def enter(self, visitor: str) -> None:
        """Wait for a turn; each must be given back with ``leave``.

        Raises
        ------
        Refused
            At once, when all places to wait in are taken, or the visitor's share of them.
        """
        if self.inside < self.places and not self._waiting:
            self.inside += 1
            return
        questions = len(self._waiting.get(visitor, ()))
        n = len(self._waiting)
        people = "1 person waits" if n == 1 else f"{n} people wait"
        if questions >= self.share:
            raise Refused(
                f"{questions} of your questions wait already, the most that one visitor may have; "
                f"{people} in all. Please try again in a moment."
            )
        if self.waiting >= self.most:
            raise Refused(
                f"The model is busy: {people} for it with {self.waiting} questions. Please try "
                "again in a moment."
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(visitor, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # called up and gone in the same moment
                self.leave()
            else:
                self._forget(visitor, turn)
            raise

    def leave(self) -> None:
        """Give a turn back; the next visitor's oldest question has it."""
        self.inside -= 1
        while self._waiting:
            visitor, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            if turns:
                self._waiting.move_to_end(visitor)
            else:
                del self._waiting[visitor]
            if not turn.cancelled():
                self.inside += 1
                turn.set_result(None)
                return

    def _forget(self, visitor: str, turn: asyncio.Future) -> None:
        turns = self._waiting.get(visitor, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[visitor]
