"""Broken lines of reviews: counted, reported and left out; a file of another kind is refused.

Dumps of reviews hold a few lines that cannot be used. They are no reason to refuse the file, but
they must be reported.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ckf_demo.runtime.errors import UserError

MOST = 0.5
"""The share of broken lines from which a file is taken for one of another kind."""


class Skipping:
    """The lines that were left out of one file, and the reasons.

    Parameters
    ----------
    path
        The file, for messages.
    expected
        Describes a usable line, in words.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self.path, self.expected = path, expected
        self.lines = 0
        self._first: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def leave(self, number: int, reason: str) -> None:
        """Leave out line ``number`` (from 1); equal reasons must have the same text."""
        self._counts[reason] += 1
        self._first.setdefault(reason, number)

    def note(self) -> str:
        """One sentence on the lines that were left out; empty if there are none.

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
        summary = f"{left:,} of {self.lines:,} lines of {self.path.name} cannot be used: {reasons}"
        if left >= MOST * self.lines:
            raise UserError(
                f"{summary}. Each line must hold {self.expected}; check that it is the right file"
            )
        return f"{summary}. They were left out."
