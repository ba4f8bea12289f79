"""The layer between Gradio and the functions that answer: a queue for the model, an end to work
whose client has left, errors as messages, and a log.

Waiting for a turn holds no thread. A function runs in one worker thread, and what it yields is
handed over at once: a client that reads slowly holds up neither the thread nor the model.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from threading import Event
from typing import Any

import gradio as gr
from anyio import CapacityLimiter, to_thread
from gradio.context import LocalContext
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ckf_demo.runtime.cancellation import Stopped, stopped_by
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import LOGGER
from ckf_demo.ui.fair_queue import Gate, Refused, queue_size

LOOK = 0.2
"""Seconds between two looks at whether somebody still waits for an answer."""

THREADS = 40
"""Workers for what passes no gate, and Gradio's own."""

_END = object()


class Service:
    """The gates of one app, its wrapped functions and its health.

    ``model`` lets one question at a time ask the language model; ``long`` lets two replays or
    measurements run, which share the model with everybody's questions piece by piece. A page
    ``beside`` another one in the same process passes the same gates.
    """

    def __init__(self, recommender, beside: "Service | None" = None) -> None:
        if beside is None:
            most = queue_size()
            share = max(1, most // 4)
            self.model, self.long = Gate(1, most, share), Gate(2, most, share)
            # Threads of their own, as many as may run: libraries keep memory for each.
            self._workers = {
                self.model: ThreadPoolExecutor(self.model.places, "model"),
                self.long: ThreadPoolExecutor(self.long.places, "long"),
            }
        else:
            self.model, self.long, self._workers = beside.model, beside.long, beside._workers
        self.pages: dict[str, Callable[[], str]] = {}
        """States of other data sets' pages in the same process, by their paths."""
        self._recommender = recommender
        self._began = time.time()
        self._limiter = CapacityLimiter(THREADS)

    @property
    def threads(self) -> int:
        """How many events Gradio has to carry at once: all that may wait, and the rest."""
        return sum(gate.most + gate.places for gate in (self.model, self.long)) + THREADS

    def answering(
        self,
        function: Callable,
        gate: Gate | None = None,
        *,
        name: str | None = None,
        when: Callable[..., bool] | None = None,
        first: Callable[[], None] | None = None,
    ) -> Callable:
        """The same function or generator for Gradio, behind a gate (None for what needs no turn).

        ``name`` stands in the log, the function's own if it is None. ``when`` says of the same
        positional arguments whether this call asks the model at all: others pass by the gate and
        are not logged. ``first`` is called before the function, in its thread.
        """
        generator = inspect.isgeneratorfunction(inspect.unwrap(function))

        async def pieces(*args, **kwargs) -> AsyncIterator[Any]:
            needed = when is None or when(*args)

            def steps() -> Iterator[Any]:
                if first is not None and needed:
                    first()
                result = function(*args, **kwargs)
                yield from result if generator else (result,)

            passed = gate if needed else None
            answer = _Answer(self, name or function.__name__, passed, logged=needed)
            async for piece in answer.pieces(steps):
                yield piece

        @wraps(function)
        async def call(*args, **kwargs):
            (piece,) = [piece async for piece in pieces(*args, **kwargs)]
            return piece

        return wraps(function)(pieces) if generator else call

    def in_thread(self, work: Callable[[], None], gate: Gate | None) -> Awaitable[None]:
        """Run ``work`` in a thread: one of those for what has passed ``gate``, or any."""
        if gate is None:
            return to_thread.run_sync(work, limiter=self._limiter)
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._workers[gate], copy_context().run, work)

    def health(self) -> tuple[int, dict]:
        """The status code and what `/healthz` says."""
        recommender = self._recommender
        state: dict[str, Any] = {
            "checkpoint": recommender.manifest.get("name"),
            "dataset": recommender.manifest["dataset"],
            "uptime": round(time.time() - self._began, 1),
            "waiting": self.model.waiting,
            "running": self.model.inside,
            "long_waiting": self.long.waiting,
            "long_running": self.long.inside,
            "queue": self.model.most,
        }
        if self.pages:
            state["pages"] = {path: page_state() for path, page_state in self.pages.items()}
        try:
            recommender.store.check_file()
            recommender.store.item(recommender.item_order[0])
        except Exception as error:
            # the balancer is told of any fault of the store, and the log says where
            LOGGER.error("unhealthy", exc_info=error)
            reason = f"the store does not answer ({type(error).__name__})"
            return 503, {"status": "unavailable", "reason": reason, **state}
        return 200, {"status": "ok", **state}

    @property
    def route(self) -> Route:
        """GET /healthz, for a load balancer."""

        async def healthz(request: Request) -> JSONResponse:
            status, state = await to_thread.run_sync(self.health)
            return JSONResponse(state, status)

        return Route("/healthz", healthz)


class _Answer:
    """One call: its turn, its thread, and its line in the log."""

    def __init__(self, service: Service, name: str, gate: Gate | None, *, logged: bool) -> None:
        self._service, self._name, self._gate, self._logged = service, name, gate, logged
        self._stop = Event()
        self._heard, self._visitor = _listener()

    async def pieces(self, call: Callable) -> AsyncIterator[Any]:
        began, waited, outcome = time.monotonic(), 0.0, "error"
        try:
            if self._gate is not None:
                await self._turn(self._gate)
                waited = time.monotonic() - began
            made: asyncio.Queue = asyncio.Queue()
            self._begin(call, made)
            while True:
                piece, error = await self._while_heard(made.get())
                if error is not None:
                    raise error
                if piece is _END:
                    break
                yield piece
            outcome = "ok"
        except UserError as error:
            outcome = "refused" if isinstance(error, Refused) else "user error"
            raise gr.Error(str(error), print_exception=False) from error
        except Stopped:
            outcome = "cancelled"
            raise gr.Error("The answer was not waited for.", print_exception=False) from None
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        except gr.Error:
            outcome = "user error"
            raise
        except Exception as error:
            fields = {"endpoint": self._name}
            LOGGER.error("failure", exc_info=error, extra={"fields": fields})
            raise gr.Error(
                f"This could not be answered ({type(error).__name__}); the server's log says "
                "where. Please try something else.",
                print_exception=False,
            ) from None
        finally:
            self._stop.set()
            if self._logged:
                fields = {
                    "endpoint": self._name,
                    "outcome": outcome,
                    "seconds": round(time.monotonic() - began, 3),
                    "waited": round(waited, 3),
                    "waiting": self._service.model.waiting,
                }
                LOGGER.info("answer", extra={"fields": fields})

    async def _turn(self, gate: Gate) -> None:
        """Wait for a turn as long as somebody waits for the answer."""
        turn = asyncio.ensure_future(gate.enter(self._visitor))
        try:
            await self._while_heard(turn)
        except BaseException:
            # it may have come in the moment in which the client left
            turn.add_done_callback(
                lambda turn: turn.cancelled() or turn.exception() or gate.leave()
            )
            raise

    async def _while_heard(self, awaited: Awaitable) -> Any:
        """The result; `Stopped` once the client has left."""
        task = asyncio.ensure_future(awaited)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK)
                if not task.done() and not self._heard():
                    raise Stopped
            return task.result()
        finally:
            task.cancel()

    def _begin(self, call: Callable, made: asyncio.Queue) -> None:
        """Run the generator ``call()`` in a thread, its pieces and its end put into ``made``.

        The turn is given back when the thread has ended, which may be after the client left.
        """
        loop, stop = asyncio.get_running_loop(), self._stop

        def put(piece: Any, error: BaseException | None = None) -> None:
            loop.call_soon_threadsafe(made.put_nowait, (piece, error))

        def work() -> None:
            try:
                with stopped_by(stop):
                    for piece in call():
                        if stop.is_set():
                            raise Stopped
                        put(piece)
            except BaseException as error:
                put(None, error)
            else:
                put(_END)

        task = asyncio.ensure_future(self._service.in_thread(work, self._gate))
        _running.add(task)

        def ended(task: asyncio.Future) -> None:
            _running.discard(task)
            if self._gate is not None:
                self._gate.leave()

        task.add_done_callback(ended)


# the event loop holds tasks weakly
_running: set[asyncio.Future] = set()


def _listener() -> tuple[Callable[[], bool], str]:
    """Whether somebody still waits for the present event, and a name for who asks.

    A visitor is a browser's or a client's session. Calls over plain HTTP bring none, and are told
    apart by their address.
    """
    blocks, request = LocalContext.blocks.get(None), LocalContext.request.get(None)
    event_id = LocalContext.event_id.get(None)
    event = None
    if blocks is not None and event_id is not None:
        event = blocks._queue.event_ids_to_events.get(event_id)
    session = getattr(request, "session_hash", None)
    if session is None or session == event_id:
        client = getattr(request, "client", None)
        session = f"at {getattr(client, 'host', 'nowhere')}"
    return (lambda: event is None or event.alive), session
