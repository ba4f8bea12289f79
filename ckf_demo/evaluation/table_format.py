"""Measured values as cells of tables, and rows of results as tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ckf_demo.evaluation.stored_rows import read_rows

Table = tuple[str, list[str], list[list[str]]]
"""Title, headings, and rows of cells; a table without rows is left out."""

Cell = Mapping[str, Any] | None
"""A row of results, or None where nothing was measured."""

Column = tuple[str, str, str, str]
"""Task, metric, group and heading."""


def with_half_width(row: Cell) -> str:
    """``0.781 ±0.023``: the value and half the width of its interval."""
    if row is None or row["low"] is None:
        return plain(row)
    return f"{row['value']:.3f} ±{(row['high'] - row['low']) / 2:.3f}"


def with_interval(row: Cell) -> str:
    """``+0.0288 (+0.0223 to +0.0346)``, for differences."""
    if row is None or row["low"] is None:
        return plain(row)
    return f"{row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"


def plain(row: Cell) -> str:
    """``0.781``, or a dash where nothing was measured."""
    return "–" if row is None or row["value"] is None else f"{row['value']:.3f}"


class ResultTables:
    """Rows of results by what they measure, and tables of them.

    ``methods`` and ``differences`` are the names of what was measured, in the rows' order.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]):
        whole = read_rows(rows)
        self.cells = {(r["method"], r["task"], r["metric"], r["group"]): r for r in whole}
        names = {row["method"]: row["kind"] for row in whole}
        self.methods = [name for name, kind in names.items() if kind != "difference"]
        self.differences = [name for name, kind in names.items() if kind == "difference"]

    def has(self, names: Iterable[str], task: str, metric: str, group: str) -> bool:
        """Whether any of the names was measured."""
        return any((name, task, metric, group) in self.cells for name in names)

    def by_metric(
        self,
        title: str,
        names: Sequence[str],
        columns: Sequence[Column],
        form: Callable[[Cell], str] = with_half_width,
        first: str = "method",
    ) -> Table:
        """One row for each name and one column for each metric of which anything was measured."""
        shown = [column for column in columns if self.has(names, *column[:3])]
        rows = []
        for name in names:
            cells = [self.cells.get((name, *column[:3])) for column in shown]
            if any(cells):
                rows.append([name, *map(form, cells)])
        return title, [first, *(heading for *_, heading in shown)], rows

    def by_group(
        self,
        title: str,
        names: Sequence[str],
        task: str,
        metric: str,
        form: Callable[[Cell], str] = with_half_width,
        first: str = "method",
        groups: Sequence[str] | None = None,
    ) -> Table:
        """One row for each name and one column for each measured group; their n comes first.

        ``groups`` gives the order of columns, which is that of the rows without it.
        """
        if groups is None:
            there = [k for k in self.cells if k[0] in names and k[1:3] == (task, metric)]
            groups = list(dict.fromkeys(k[3] for k in there))
        shown = [group for group in groups if self.has(names, task, metric, group)]
        rows = []
        for name in names:
            cells = [self.cells.get((name, task, metric, group)) for group in shown]
            if any(cells):
                rows.append([name, *map(form, cells)])
        if rows:
            measured = [
                next(
                    self.cells[k] for name in names if (k := (name, task, metric, g)) in self.cells
                )
                for g in shown
            ]
            rows.insert(0, ["n", *(str(row["n"]) for row in measured)])
        return title, [first, *shown], rows
