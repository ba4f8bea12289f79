"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], seconds: float = 60.0) -> Value:
    """Ask until the condition holds, and return what it gave; fail after ``seconds``.

    The default leaves room for a busy machine.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} seconds"
        time.sleep(0.02)
    return value


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only its parent has yet to learn of its end."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
