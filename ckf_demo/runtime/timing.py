"""Times alternatives in alternating rounds, so that their ratios are comparable within a run."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import psutil


@dataclass(frozen=True)
class Row:
    """One figure: the median over rounds, with the smallest and the largest value."""

    name: str
    value: float
    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, name: str, values: np.ndarray, unit: str) -> "Row":
        """``values`` float (rounds,)."""
        return cls(name, float(np.median(values)), float(values.min()), float(values.max()), unit)


def alternate(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    before: Mapping[str, Callable[[], object]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Seconds of each alternative, float64 (rounds,), after one round that is not counted.

    ``before`` is run before the clock of an alternative starts. ``clock`` gives wall-clock seconds;
    ``time.process_time`` gives the CPU seconds of this process.
    """
    out = {name: np.empty(rounds) for name in ways}
    names = list(ways)
    for number in range(-1, rounds):
        # the order rotates, so that no alternative always follows the same one
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if before and name in before:
                before[name]()
            began = clock()
            ways[name]()
            if number >= 0:
                out[name][number] = clock() - began
    return out


class PeakMemory:
    """The largest growth of the process's memory within a block of code, as ``peak`` in bytes.

    The resident set is read every few milliseconds, so a short peak may be missed.
    """

    def __enter__(self) -> "PeakMemory":
        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._most = max(self._most, self._process.memory_info().rss)
        self._over.set()
        self._watcher.join()

    @property
    def peak(self) -> int:
        return self._most - self._before
