"""Broken lines of reviews: counted, reported and left out; a file of another kind is refused.

Dumps of reviews hold the odd line that cannot be used. One such line is no reason to refuse a
million others, but nobody should learn of it from a wrong figure either.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ckf_demo.runtime.errors import UserError

MOST = 0.5
"""Share of broken lines from which on a file is taken for one of another kind."""


class Skipping:
    """What was left out of one file, and why.

    Parameters
    ----------
    path
        The file, for messages.
    expected
        What a usable line is, in words.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self.path, self.expected = path, expected
        self.lines = 0
        self._first: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def leave(self, number: int, reason: str) -> None:
        """Leave out line ``number`` (from 1); reasons of the same kind must be the same text."""
        self._counts[reason] += 1
        self._first.setdefault(reason, number)

    def note(self) -> str:
        """One sentence on what was left out, empty when nothing was.

        Raises
        ------
        UserError
            When the file is empty, or half of its lines or more are broken.
        """
        left = self._counts.total()
        if not self.lines:
            raise UserError(f"{self.path} is empty; each line must hold {self.expected}")
        if not left:
            return ""
        reasons = "; ".join(
            f"{count:,} with {reason} (first: line {self._first[reason]})"
            for reason, count in self._counts.most_common()
        )
        said = f"{left:,} of {self.lines:,} lines of {self.path.name} cannot be used: {reasons}"
        if left >= MOST * self.lines:
            raise UserError(
                f"{said}. Each line must hold {self.expected}; check that it is the right file"
            )
        return f"{said}. They were left out."
