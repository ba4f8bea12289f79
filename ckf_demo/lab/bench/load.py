"""The served app under load: how long answers take when many ask, who is turned away, what memory
does, and how soon the model is free again when a client hangs up.

    ckf bench --load --seconds 300 --json load.json

The server runs in a process of its own. Clients speak HTTP to it as ``gradio_client`` does, each
with a session of its own, ask all named endpoints in a fixed random mix about random people and
films, and rest for `REST` seconds on average between two questions. Where there are many, two of
them read explanations slowly and two hang up in the middle of what they asked.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import write_json
from ckf_demo.runtime.timing import Row

SECONDS = 300
CLIENTS = (1, 4, 16)
SHARE_OF_TIME = {1: 0.2, 4: 0.2, 16: 1.0}
"""How much of the time each number of clients gets."""

REST = 1.0
START = 600
"""Seconds that the server has for its start; the first may measure and prepare."""

POLITE = "try again in a moment"
SLOWLY = 0.25
"""Seconds that a slow reader rests after each piece."""

FLAT = 0.05
WINDOWS = 6
"""So many medians of memory are compared, after the first fifth of the time."""

HANG_UPS = 5
OTHERS = {"slow": 2, "leaving": 2}
MODEL = ("rate", "click", "rank", "explain", "compare", "why")
LIGHT = ("search_items", "history", "query")
WORDS = ("star", "love", "man", "night", "the", "dog", "new")


class Refusal(Exception):
    """The server said politely that its queue is full."""


@dataclass
class Heard:
    """What the clients of one phase met, by endpoint."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    errors: list[str] = field(default_factory=list)
    left: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Visitor:
    """One client with a session of its own."""

    def __init__(self, address: str, world: dict, seed: int) -> None:
        self._base, self._world = f"{address}/gradio_api/call", world
        self._random = random.Random(seed)
        self._session = f"load{seed}-{self._random.random()}"
        self._http = httpx.Client(timeout=httpx.Timeout(600, connect=30))

    def data(self, endpoint: str) -> list:
        """Arguments for an endpoint, in their order."""
        user = self._random.choice(self._world["users"])
        item = self._random.choice(self._world["items"])
        if endpoint == "search_items":
            return [self._random.choice(WORDS), 10]
        if endpoint == "history":
            return [user, None]
        if endpoint == "query":
            return ["SELECT title, count(*) n FROM ratings GROUP BY 1 ORDER BY n DESC LIMIT 20"]
        person = [user, None, None, None]
        if self._random.random() < 0.25:
            rated = [{"item": i, "rating": 5} for i in self._random.sample(self._world["items"], 5)]
            person = [None, rated, None, {"age": self._random.randint(18, 70)}]
        # behind a moment, a method and a strength stand the filters of a list
        if endpoint == "rank":
            return [*person, 10, *[None] * 6]
        return [*person, item, *[None] * (2 if endpoint in ("compare", "why") else 3)]

    @contextmanager
    def asked(self, endpoint: str, data: list) -> Iterator[Iterator[str]]:
        """The lines of the answer as they come."""
        body = {"data": data, "session_hash": self._session}
        accepted = self._http.post(f"{self._base}/{endpoint}", json=body)
        accepted.raise_for_status()
        event = accepted.json()["event_id"]
        with self._http.stream("GET", f"{self._base}/{endpoint}/{event}") as answer:
            answer.raise_for_status()
            yield answer.iter_lines()

    def ask(self, endpoint: str, rest: float = 0.0, data: list | None = None):
        """The answer; ``rest`` seconds pass between two pieces of it.

        Raises
        ------
        Refusal, UserError
            When the server refuses, or answers with an error.
        """
        event, last = "", None
        with self.asked(endpoint, self.data(endpoint) if data is None else data) as lines:
            for line in lines:
                kind, _, text = line.partition(": ")
                if kind == "event":
                    event = text
                elif kind == "data" and event == "error":
                    if POLITE in text:
                        raise Refusal
                    raise UserError(f"/{endpoint}: {text[:200]}")
                elif kind == "data" and event in ("generating", "complete"):
                    last = text
                    if event == "complete":
                        return json.loads(last)[0]
                    time.sleep(rest)
        raise UserError(f"/{endpoint}: the answer broke off after {event or 'nothing'}")

    def until(self, end: float, heard: Heard, role: str) -> None:
        """Ask until ``end`` (monotonic seconds) as a plain, slow or leaving client."""
        left: list[str] = []
        while time.monotonic() < end:
            # each as often as any other, also where time is short
            left = left or self._random.sample(MODEL + LIGHT, len(MODEL + LIGHT))
            endpoint = "explain" if role == "slow" else left.pop()
            began = time.monotonic()
            try:
                if role == "leaving":
                    with self.asked(endpoint, self.data(endpoint)):
                        time.sleep(self._random.uniform(0, 1))
                    with heard.lock:
                        heard.left += 1
                else:
                    self.ask(endpoint, SLOWLY if role == "slow" else 0.0)
                    seconds = time.monotonic() - began
                    with heard.lock:
                        heard.seconds["slow reader" if role == "slow" else endpoint].append(seconds)
            except Refusal:
                with heard.lock:
                    heard.refused[endpoint] += 1
            except (UserError, httpx.HTTPError) as error:
                with heard.lock:
                    heard.errors.append(f"{type(error).__name__}: {error}")
            time.sleep(self._random.expovariate(1 / REST))


@contextmanager
def served(checkpoint: Path, quantization: str | None = None) -> Iterator[tuple[str, int]]:
    """A server of a checkpoint on a free port of this machine: its address and process id.

    Raises
    ------
    UserError
        When it ends, or does not say within `START` seconds that it is well.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ckf_demo", "serve", "--port", str(port)]
    command += ["--checkpoint", str(checkpoint)]
    command += ["--quantization", quantization] if quantization else []
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, "CKF_LOG": "off"}
        )
        try:
            end = time.monotonic() + START
            while not _well(address):
                if server.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    raise UserError(f"The server did not start; it said: {said.read()[-500:]}")
                time.sleep(0.5)
            yield address, server.pid
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _well(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def world_of(address: str) -> dict:
    """Users and items to ask about."""
    visitor = Visitor(address, {"users": [""], "items": [""]}, 0)
    asked = {
        name: f"SELECT {key} FROM ratings GROUP BY 1 ORDER BY hash({key}) LIMIT 400"
        for name, key in (("users", "user_id"), ("items", "item_id"))
    }
    return {
        name: [row[0] for row in visitor.ask("query", data=[sql])["rows"]]
        for name, sql in asked.items()
    }


def phase(address: str, pid: int, world: dict, clients: int, seconds: float) -> tuple:
    """One number of clients for some seconds: what they met, and the server's memory (n, 2) as
    seconds and bytes."""
    heard, memory = Heard(), []
    roles = ["plain"] * clients
    if clients > 2 * sum(OTHERS.values()):
        others = [role for role, n in OTHERS.items() for _ in range(n)]
        roles[-len(others) :] = others
    began = time.monotonic()
    threads = [
        threading.Thread(
            target=Visitor(address, world, 1000 * clients + n).until,
            args=(began + seconds, heard, role),
        )
        for n, role in enumerate(roles)
    ]
    for thread in threads:
        thread.start()
    process = psutil.Process(pid)
    while any(thread.is_alive() for thread in threads):
        memory.append((time.monotonic() - began, process.memory_info().rss))
        time.sleep(1)
    return heard, np.array(memory)


def hang_up(address: str, world: dict, endpoint: str, seed: int) -> float | None:
    """Seconds from a client's hanging up to a free model; None where the answer came first."""
    visitor = Visitor(address, world, seed)
    with visitor.asked(endpoint, visitor.data(endpoint)):
        if not _until(lambda: _running(address) == 1, 1):
            return None
        time.sleep(0.05)
        if _running(address) == 0:
            return None
    began = time.monotonic()
    _until(lambda: _running(address) == 0, 60)
    return time.monotonic() - began


def _running(address: str) -> int:
    return httpx.get(f"{address}/healthz", timeout=30).json()["running"]


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def measured(address: str, pid: int, seconds: float, say: Callable[[str], None]) -> Iterator[Row]:
    """All figures of a running server.

    Names: ``load_N_ENDPOINT`` with N clients (median, and as low and high the least and the 95 %
    quantile), ``…_times_idle`` against one client, ``…_count`` and ``…_refused``; ``load_N_errors``
    and ``load_N_memory``; ``hang_up_ENDPOINT``.
    """
    world = world_of(address)
    first = Visitor(address, world, 1)
    for endpoint in MODEL + LIGHT:
        first.ask(endpoint)
    for endpoint in MODEL:
        found = [hang_up(address, world, endpoint, 50 + n) for n in range(HANG_UPS)]
        freed = np.array([x for x in found if x is not None])
        if len(freed):
            yield Row.of(f"hang_up_{endpoint}", freed, "s")
    idle: dict[str, tuple[float, float]] = {}
    for clients in CLIENTS:
        heard, memory = phase(address, pid, world, clients, seconds * SHARE_OF_TIME[clients])
        name = f"load_{clients}"
        for endpoint in sorted({*heard.seconds, *heard.refused}):
            taken = np.array(heard.seconds[endpoint])
            own = f"{name}_{endpoint.replace(' ', '_')}"
            yield _one(f"{own}_count", len(taken), "answers")
            yield _one(f"{own}_refused", heard.refused[endpoint], "refusals")
            if not len(taken):
                continue
            middle, slow = (float(x) for x in np.quantile(taken, [0.5, 0.95]))
            yield Row(f"{own}_p50", middle, float(taken.min()), float(taken.max()), "s")
            yield Row(f"{own}_p95", slow, float(taken.min()), float(taken.max()), "s")
            if clients == CLIENTS[0]:
                idle[endpoint] = middle, slow
            elif endpoint in idle:
                yield _one(f"{own}_p50_times_idle", middle / idle[endpoint][0], "x")
                yield _one(f"{own}_p95_times_idle", slow / idle[endpoint][1], "x")
        yield _one(f"{name}_hung_up", heard.left, "clients")
        yield _one(f"{name}_errors", len(heard.errors), "errors")
        for error in heard.errors[:10]:
            say(error)
        yield from _memory(name, memory)


def _memory(name: str, memory: np.ndarray) -> Iterator[Row]:
    kept = memory[memory[:, 0] >= memory[-1, 0] / 5]
    megabytes = kept[:, 1] / 1e6
    yield Row.of(f"{name}_memory", megabytes, "MB")
    # an answer takes and gives back hundreds of megabytes; what stays is what the medians show
    windows = [np.median(part) for part in np.array_split(megabytes, WINDOWS) if len(part)]
    yield _one(f"{name}_memory_spread", float(max(windows) / min(windows) - 1), "share")
    slope = float(np.polyfit(kept[:, 0] / 60, megabytes, 1)[0]) if len(kept) > 2 else 0.0
    yield _one(f"{name}_memory_slope", slope, "MB/min")


def _one(name: str, value: float, unit: str) -> Row:
    return Row(name, float(value), float(value), float(value), unit)


def verdict(rows: list[Row]) -> tuple[bool, str]:
    """Whether the load was carried, and a line that says so or what failed."""
    found = {row.name: row.value for row in rows}
    last = f"load_{CLIENTS[-1]}"
    errors = sum(int(v) for name, v in found.items() if name.endswith("_errors"))
    spread = found[f"{last}_memory_spread"]
    late = [row.name for row in rows if row.name.startswith("hang_up_") and row.high >= 1]
    problems = [
        *([f"{errors} errors"] if errors else []),
        *([f"memory moved by {spread:.1%} under {CLIENTS[-1]} clients"] if spread > FLAT else []),
        *([f"the model was not free within a second: {', '.join(late)}"] if late else []),
    ]
    refused = sum(int(v) for name, v in found.items() if name.endswith("_refused"))
    if problems:
        return False, f"Not carried: {'; '.join(problems)}. {refused} polite refusals."
    return True, (
        f"Carried: no errors, {refused} polite refusals, memory within {spread:.1%} under "
        f"{CLIENTS[-1]} clients, the model free within a second of a hang-up."
    )


def bench_load(
    checkpoint: Path,
    *,
    seconds: float = SECONDS,
    quantization: str | None = None,
    json_path: Path | None = None,
) -> list[Row]:
    """Serve a checkpoint, load it, print a table and a verdict, and write the figures if asked.

    Parameters
    ----------
    seconds
        For the most clients; the others have a fifth of it each.
    json_path
        For ``{"machine", "checkpoint", "seconds", "carried", "rows": [{"name", "value", "low",
        "high", "unit"}]}``.
    """
    console = Console(stderr=True)
    rows = []
    with console.status("Starting the server …"), served(checkpoint, quantization) as (where, pid):
        console.print(f"Serving {checkpoint.name} on port {urlsplit(where).port}")
        for row in measured(where, pid, seconds, console.print):
            rows.append(row)
            console.print(f"{row.name}: {row.value:.4g} {row.unit}")
    carried, line = verdict(rows)
    table = Table("measurement", "value", "least", "greatest", "unit", title="Load")
    for row in rows:
        table.add_row(row.name, *(f"{x:.4g}" for x in (row.value, row.low, row.high)), row.unit)
    Console().print(table)
    print(line)
    if json_path is not None:
        import torch

        payload = {
            "machine": describe(torch.device("cpu")),
            "checkpoint": checkpoint.name,
            "seconds": seconds,
            "carried": carried,
            "rows": [vars(row) for row in rows],
        }
        write_json(json_path, payload)
    return rows
