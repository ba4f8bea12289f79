"""Steps of a command that touch the disk or the machine: counted, and killed at one of them."""

import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import torch

from ckf_demo.data import store
from ckf_demo.model import system

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
TOUCHES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "subprocess.Popen", "socket.bind"}


class Points:
    """Counts steps in a child, and kills it at one of them."""

    def __init__(self, kill_at: int | None, report: int):
        self.kill_at, self.report, self.count = kill_at, report, 0
        self.root = str(Path.cwd().parent)

    def __call__(self, label: str) -> None:
        self.count += 1
        if self.kill_at is None or self.count == self.kill_at:
            os.write(self.report, f"{self.count}\t{label}\n".encode())
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITES and isinstance(path, str | bytes | os.PathLike):
                path = os.fsdecode(path)
                if os.path.abspath(path).startswith(self.root) and not path.endswith(".txt"):
                    self(f"open {_plain(path)}")
        elif event in TOUCHES:
            what = arguments[0] if event != "socket.bind" else arguments[1]
            if event == "subprocess.Popen" and "ckf" not in str(arguments[1]):
                return
            self(f"{event.split('.')[-1]} {_plain(what)}")

    def install(self) -> None:
        """Watch audited events, and wrap what writes or computes without any."""
        sys.addaudithook(self.audit)

        def before(owner: object, name: str, label: str) -> None:
            inner = getattr(owner, name)

            def outer(*given: object, **options: object) -> object:
                self(label)
                return inner(*given, **options)

            setattr(owner, name, outer)

        before(os, "fsync", "fsync")
        before(torch, "save", "write the state")
        before(system, "save_file", "write safetensors")
        before(np, "savez", "write arrays")
        before(np, "savez_compressed", "write arrays")
        before(torch.optim.AdamW, "step", "optimiser step")
        before(pq.ParquetWriter, "write_table", "write rows")
        before(shutil, "copytree", "copy the checkpoint")

        if "prepare" in sys.argv:
            connect = store.duckdb.connect
            watched = {"connect": lambda *a, **o: WatchedConnection(self, connect(*a, **o))}
            store.duckdb = SimpleNamespace(**{**vars(store.duckdb), **watched})


class WatchedConnection:
    """A connection of DuckDB's, whose every call is a point."""

    def __init__(self, points: Points, inner: object):
        self._points, self._inner = points, inner

    def __getattr__(self, name: str) -> object:
        self._points(f"DuckDB {name}")
        return getattr(self._inner, name)

    def __enter__(self) -> "WatchedConnection":
        return self

    def __exit__(self, *error: object) -> None:
        self._points("DuckDB close")
        self._inner.close()


def _plain(path: object) -> str:
    """The name of a file without what is drawn at random."""
    name = Path(os.fsdecode(path)).name if isinstance(path, str | bytes | os.PathLike) else ""
    return f"{name.split('.')[1]} (scratch)" if name.endswith(".partial") else name[:40]
