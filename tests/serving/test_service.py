"""The queue for the model, work that nobody waits for, health and logs, around a recommender that
computes for as long as it is let."""

import asyncio
import io
import json
import logging
import os
import re
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.context import LocalContext
from gradio_client import Client
from gradio_client.exceptions import AppError

from ckf_demo.lab.bench import load
from ckf_demo.lab.bench.report import load_markdown
from ckf_demo.runtime.cancellation import Stopped, check, stopped_by
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import LOGGER, JsonLines, start_logging
from ckf_demo.ui import page
from ckf_demo.ui.fair_queue import Gate, Refused, queue_size
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair
from support.fakes import FakeRecommender
from support.serving import served
from support.waiting import wait_until

ROOM = 4
"""Questions that may wait in these tests; one visitor may have a quarter of them."""
SECRET = "Zebrafink-Zuckerguss-4711"


class BusyRecommender(FakeRecommender):
    """Ranks, explains and replays until it is let go or stopped, as the model does: looking now and
    then whether it is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self.let_go = threading.Event()
        self.let_go.set()

    @contextmanager
    def _at_work(self):
        self.busy += 1
        try:
            while not self.let_go.wait(0.01):
                check()
            yield
        finally:
            self.busy -= 1

    def rank(self, *args, **kwargs):
        with self._at_work():
            return super().rank(*args, **kwargs)

    def explain(self, *args, **kwargs):
        for piece in super().explain(*args, **kwargs):
            yield piece
            with self._at_work():
                pass

    def rate(self, *args, **kwargs):
        if kwargs.get("taste") == SECRET:
            raise ValueError(f"cannot read {kwargs['taste']} of {kwargs.get('user')}")
        return super().rate(*args, **kwargs)


PROMPTLY = 5.0
"""Seconds within which work that nobody waits for ends: far less on a machine that is not busy."""


@pytest.fixture(scope="module")
def busy() -> BusyRecommender:
    return BusyRecommender()


@pytest.fixture(scope="module")
def app(busy, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CKF_QUEUE", str(ROOM))
        with served(busy, tmp_path_factory.mktemp("cache")) as demo:
            yield demo
            busy.let_go.set()


@pytest.fixture
def held(busy):
    """The model is at work on whatever comes, until ``let_go`` is set or the test ends."""
    busy.let_go.clear()
    yield busy
    busy.let_go.set()
    wait_until(lambda: busy.busy == 0)


class Visitor:
    """A client over HTTP with a session of its own, or with none."""

    def __init__(self, app, session: str | None = None) -> None:
        self._base = f"{app.local_url}gradio_api/call"
        self._session = {} if session is None else {"session_hash": session}
        self.http = httpx.Client(timeout=30)

    def ask(self, endpoint: str, *data) -> "Visitor":
        body = {"data": list(data), **self._session}
        event = self.http.post(f"{self._base}/{endpoint}", json=body).json()["event_id"]
        self._address = f"{self._base}/{endpoint}/{event}"
        return self

    def read(self) -> str:
        return self.http.get(self._address).text


RANK = ("3", None, None, None, 3, None, None, None, None, None, None)


def ranks(app, session: str | None = None) -> Visitor:
    """A visitor who has asked for a ranking."""
    return Visitor(app, session).ask("rank", *RANK)


def expect_answers(*visitors: Visitor) -> None:
    assert all("event: complete" in visitor.read() for visitor in visitors)


def test_visitors_are_called_up_in_turn_and_nobody_has_more_than_a_share():
    async def scene() -> tuple[list[str], str]:
        gate, order = Gate(1, 8, 3), []

        async def question(visitor: str) -> None:
            await gate.enter(visitor)
            order.append(visitor)

        await gate.enter("first")
        waiting = [asyncio.ensure_future(question(v)) for v in ("a", "a", "a", "b", "c", "b")]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await gate.enter("a")
        for _ in waiting:
            gate.leave()
            await asyncio.sleep(0)
        gate.leave()
        assert gate.inside == gate.waiting == 0
        return order, str(refused.value)

    order, said = asyncio.run(scene())
    assert order == ["a", "b", "c", "a", "b", "a"]
    assert "3 of your questions wait" in said and "3 people wait" in said
    assert "try again in a moment" in said


def test_who_leaves_the_queue_frees_the_place():
    async def scene() -> None:
        gate = Gate(1, 2, 1)
        await gate.enter("first")
        gone = asyncio.ensure_future(gate.enter("a"))
        stays = asyncio.ensure_future(gate.enter("b"))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="2 people wait for it with 2 questions"):
            await gate.enter("c")
        gone.cancel()
        # the turn may be given back before the one who left has noticed
        gate.leave()
        await asyncio.wait({gone, stays})
        assert gone.cancelled() and stays.result() is None
        assert (gate.inside, gate.waiting) == (1, 0)
        late = asyncio.ensure_future(gate.enter("d"))
        await asyncio.sleep(0)
        gate.leave()
        late.cancel()
        await asyncio.wait({late})
        assert (gate.inside, gate.waiting) == (0, 0)

    asyncio.run(scene())


@pytest.mark.parametrize("given", ["0", "-1", "many", "1001", "٣"])
def test_a_wrong_size_of_the_queue_is_a_message(given, monkeypatch):
    monkeypatch.setenv("CKF_QUEUE", given)
    with pytest.raises(UserError, match="CKF_QUEUE"):
        queue_size()


def test_work_ends_at_its_next_look():
    stop = threading.Event()
    check()
    with pytest.raises(Stopped), stopped_by(stop):
        check()
        stop.set()
        check()
    check()


def test_a_full_queue_is_a_friendly_message_and_a_search_is_still_answered(app, held):
    gate = app.service.model
    visitors = [ranks(app, f"visitor{n}") for n in range(ROOM + 1)]
    wait_until(lambda: gate.waiting == ROOM)
    assert held.busy == 1
    refused = ranks(app, "late").read()
    assert "event: error" in refused
    assert f"{ROOM} people wait for it" in refused and "try again in a moment" in refused
    assert "Winter" in Visitor(app, "late").ask("search_items", "winter", 3).read()
    held.let_go.set()
    expect_answers(*visitors)
    wait_until(lambda: gate.inside == 0)


def test_one_visitor_cannot_fill_the_queue(app, held):
    gate = app.service.model
    first = ranks(app, "first")
    wait_until(lambda: gate.inside == 1)
    # a client of Gradio's own has the message as its error
    greedy = Client(app.local_url, verbose=False)
    jobs = [greedy.submit(user="3", k=3, api_name="/rank") for _ in range(2)]
    wait_until(lambda: any(job.done() for job in jobs))
    with pytest.raises(AppError, match="1 of your questions wait already"):
        next(job for job in jobs if job.done()).result()
    other = ranks(app, "other")
    wait_until(lambda: gate.waiting == 2)
    held.let_go.set()
    expect_answers(first, other)
    wait_until(lambda: all(job.done() for job in jobs))


def test_callers_without_a_session_share_by_address(app, held):
    gate = app.service.model
    asked = [ranks(app) for _ in range(2)]
    wait_until(lambda: gate.waiting == 1)
    assert "1 of your questions wait" in ranks(app).read()
    held.let_go.set()
    expect_answers(*asked)


@pytest.mark.parametrize(
    ("endpoint", "question"),
    {"rank": "rank", "explain": "explain", "compare": "rate", "why": "leave_one_out"}.items(),
)
def test_a_client_that_hangs_up_frees_the_model(app, busy, endpoint, question, monkeypatch):
    """Each in the way of its kind: one long computation, or pieces one after another."""
    at_work, never = threading.Event(), threading.Event()

    def computes(*args, **kwargs):
        at_work.set()
        while True:
            check()
            never.wait(0.01)

    def yields(*args, **kwargs):
        while True:
            at_work.set()
            never.wait(0.01)
            yield {"text": "more"}

    owner = busy.counterfactuals if endpoint == "why" else busy
    monkeypatch.setattr(owner, question, yields if endpoint == "explain" else computes)
    data = ("3", None, None, None, "7", None, None)
    data = {"rank": RANK, "explain": (*data, None)}.get(endpoint, data)
    gate = app.service.model
    asked = Visitor(app, "leaves").ask(endpoint, *data)
    with asked.http.stream("GET", asked._address):
        assert at_work.wait(10)
    wait_until(lambda: gate.inside == 0, PROMPTLY)


def test_a_cancelled_job_frees_the_model(app, held):
    client = Client(app.local_url, verbose=False)
    running = client.submit(user="3", k=3, api_name="/rank")
    wait_until(lambda: held.busy == 1)
    other = Client(app.local_url, verbose=False)
    waits = other.submit(user="3", k=3, api_name="/rank")
    wait_until(lambda: app.service.model.waiting == 1)
    # a client can cancel what it knows to have been accepted
    wait_until(lambda: waits.communicator.event_id and running.communicator.event_id)
    waits.cancel()
    wait_until(lambda: app.service.model.waiting == 0, PROMPTLY)
    running.cancel()
    wait_until(lambda: held.busy == 0 and app.service.model.inside == 0, PROMPTLY)


@pytest.mark.parametrize("meta", [{}, {"_meta": {"progressToken": 1}}])
def test_an_assistant_that_hangs_up_frees_the_model(app, held, meta):
    call = {"name": "rank", "arguments": {"user": "3", "k": 3}, **meta}
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    accept = {"accept": "application/json, text/event-stream"}
    address = f"{app.local_url}gradio_api/mcp/"
    with httpx.stream("POST", address, json=ask, headers=accept, timeout=20) as answer:
        assert answer.status_code == 200
        wait_until(lambda: held.busy == 1)
    wait_until(lambda: held.busy == 0 and app.service.model.inside == 0, PROMPTLY)


def test_all_questions_to_the_model_share_one_thread(app, busy, monkeypatch):
    """Libraries keep memory for every thread that computes."""
    threads, rank, all_asked = [], busy.rank, threading.Event()

    def noted(*args, **kwargs):
        threads.append(threading.current_thread().name)
        assert all_asked.wait(30)
        return rank(*args, **kwargs)

    monkeypatch.setattr(busy, "rank", noted)
    visitors = [ranks(app, f"one of {n}") for n in range(ROOM)]
    all_asked.set()
    expect_answers(*visitors)
    assert len(threads) == ROOM and len(set(threads)) == 1


def test_a_client_that_reads_slowly_holds_up_nobody(app):
    slow = Visitor(app, "slow").ask("explain", "3", None, None, None, "7", None, None, None)
    with slow.http.stream("GET", slow._address) as stream:
        wait_until(lambda: app.service.model.inside == 0)
        assert "event: complete" in ranks(app, "fast").read()
        assert "polarity" in stream.read().decode()


def test_health_is_ok_while_the_store_answers(app, held):
    ranks(app, "somebody")
    wait_until(lambda: held.busy == 1)
    answer = httpx.get(f"{app.local_url}healthz")
    assert answer.status_code == 200 and answer.json()["uptime"] > 0
    said = {"status": "ok", "running": 1, "waiting": 0, "queue": ROOM, "dataset": "made-up"}
    assert answer.json().items() >= said.items()


def test_health_notices_a_store_that_is_cut_off(app, busy, monkeypatch, tmp_path):
    part = tmp_path / "part.duckdb"
    part.write_bytes(busy.store.path.read_bytes()[:4096])
    monkeypatch.setattr(busy.store, "path", part)
    answer = httpx.get(f"{app.local_url}healthz")
    assert answer.status_code == 503 and str(tmp_path) not in answer.text


def test_health_says_why_not(app, busy, monkeypatch, log):
    def broken(item):
        raise OSError("disk of the store is gone")

    monkeypatch.setattr(busy.store, "item", broken)
    answer = httpx.get(f"{app.local_url}healthz")
    assert answer.status_code == 503
    assert "the store does not answer (OSError)" in answer.json()["reason"]
    # the answer of a visitor before may come in between
    assert "unhealthy" in [line["event"] for line in log()]


@pytest.fixture
def log(monkeypatch):
    """The lines that were logged so far, as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "propagate", False)
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    LOGGER.manager._clear_cache()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    LOGGER.manager._clear_cache()


def test_each_answer_is_one_line_and_none_is_about_a_person(app, busy, log, capfd):
    person = ("15", [{"item": "4", "rating": 5}], f"films of {SECRET}", {"age": 119})
    calls = [
        ("rate", (*person, "7", None, None, None)),
        ("explain", (*person, "7", None, None, None)),
        ("rate", (SECRET, None, None, None, "7", None, None, None)),
        ("rate", ("15", None, SECRET, {"age": 119, "occupation": SECRET}, "7", None, None, None)),
        ("search_items", (SECRET, 3)),
        ("history", ("15", None)),
        ("query", (f"SELECT '{SECRET}'",)),
        ("query", (f"SELECT {SECRET}",)),
    ]
    said = [Visitor(app, SECRET).ask(endpoint, *data).read() for endpoint, data in calls]
    lines = log()
    answers = [line for line in lines if line["event"] == "answer"]
    assert [line["endpoint"] for line in answers] == [endpoint for endpoint, _ in calls]
    assert [line["outcome"] for line in answers] == [
        *("ok", "ok", "user error", "error", "ok", "ok", "ok", "user error")
    ]
    assert all(line["seconds"] >= 0 and line["waiting"] == 0 for line in answers)
    failure = next(line for line in lines if line["event"] == "failure")
    assert failure["error"] == "ValueError" and "rate" in failure["at"][-1]
    assert "could not be answered (ValueError)" in said[3] and SECRET not in said[3]
    printed = capfd.readouterr()
    for text in (json.dumps(lines), printed.out, printed.err):
        assert not {word for word in (SECRET, '"15"', "127.0.0.1") if word in text}
        # the age alone: the digits may stand in a duration or a line's number
        assert not re.search(r"(?<![\d.:])119(?![\d.])", text)


def test_the_log_is_chosen_by_the_environment(monkeypatch):
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(LOGGER, name, getattr(LOGGER, name))
    for given, least in {"json": logging.INFO, "off": logging.ERROR}.items():
        monkeypatch.setenv("CKF_LOG", given)
        start_logging()
        assert LOGGER.isEnabledFor(least)
        assert LOGGER.isEnabledFor(logging.INFO) == (given == "json")
    monkeypatch.setenv("CKF_LOG", "loud")
    with pytest.raises(UserError, match="CKF_LOG='loud'"):
        start_logging()


@pytest.mark.long
def test_two_servers_give_the_same_answers(app, tmp_path_factory):
    """Everything that an endpoint needs is in the request."""
    person = (None, [{"item": "4", "rating": 5}], "slow films", {"age": 40})
    known = ("15", None, None, None, "7", None, None)
    calls = {
        "search_items": ("winter", 3),
        "history": ("15", None),
        "rate": (*person, "7", None, None, None),
        "click": (*known, None),
        "rank": (*person, 5, None, None, None),
        "explain": (*known, None),
        "compare": (*person, "7", None, None),
        "why": known,
        "query": ("SELECT title, count(*) FROM ratings GROUP BY 1 ORDER BY 2, 1",),
    }
    with served(FakeRecommender(), tmp_path_factory.mktemp("other")) as other:
        for endpoint, data in calls.items():
            one, two = (Visitor(each).ask(endpoint, *data).read() for each in (app, other))
            assert "event: complete" in one
            ends = [answer.partition("event: complete")[2] for answer in (one, two)]
            first, second = (re.sub(r'seconds": [\d.e-]+', "", end) for end in ends)
            assert first == second, endpoint


def test_a_page_of_a_server_that_is_no_more_is_told_to_load_again(app, busy, monkeypatch):
    """Its state on this server is a beginner's, about somebody else than the page shows."""
    shared = Page(app, busy, app.service, Pair(item="7"))
    states = (block for block in app.blocks.values() if isinstance(block, gr.State))
    shared.opened = next(state for state in states if state.value is False)
    asked = SimpleNamespace(session_hash="of another server")
    monkeypatch.setattr(page, "OPENING", 0.1)
    token = LocalContext.request.set(asked)
    try:
        with pytest.raises(UserError, match="load the page again"):
            shared.expect_session()
        app.app.state_holder["of another server"][shared.opened._id] = True
        shared.expect_session()
    finally:
        LocalContext.request.reset(token)


@pytest.mark.long
def test_the_load_test_counts_answers_refusals_and_errors(app, busy, monkeypatch):
    # the stand-in answers sooner than anybody could hang up
    for name, value in {"HANG_UPS": 0, "REST": 0.05, "SLOWLY": 0.01, "CLIENTS": (1, 16)}.items():
        monkeypatch.setattr(load, name, value)
    address = app.local_url.rstrip("/")
    rows = list(load.measured(address, os.getpid(), 3, pytest.fail))
    found = {row.name: row.value for row in rows}
    assert found["load_1_errors"] == found["load_16_errors"] == 0
    assert found["load_16_hung_up"] > 0
    assert sum(v for name, v in found.items() if name.endswith("_count")) > 5
    assert found["load_16_memory"] > 50
    assert load.verdict(rows)[1].startswith("Carried") == load.verdict(rows)[0]
    machine = {"processor": "some", "cores": 2, "memory_gib": 4.0}
    text = load_markdown({"machine": machine, "seconds": 3, "rows": [vars(row) for row in rows]})
    assert text.count("\n| search items |") == text.count("\n| slow reader | – |") == 1
    assert f"| 16 | 0 | {found['load_16_memory']:,.0f} (" in text

    def broken(*args, **kwargs):
        raise LookupError

    monkeypatch.setattr(busy, "rate", broken)
    heard, _ = load.phase(address, os.getpid(), load.world_of(address), 4, 1.0)
    assert heard.errors and "LookupError" in heard.errors[0]
    failed = [*rows, load.Row("load_4_errors", len(heard.errors), 0, 0, "errors")]
    carried, line = load.verdict(failed)
    assert not carried and f"{len(heard.errors)} errors" in line
