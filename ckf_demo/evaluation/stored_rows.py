"""Rows of stored results, with the kind of what each of them measures.

Results that were stored before rows said their kind are read by their names, here and nowhere else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ckf_demo.baselines import BASELINES
from ckf_demo.evaluation import sampled_negatives
from ckf_demo.fusion.registry import METHODS
from ckf_demo.metrics.results import Kind, ResultRow

ANSWERS = (" without tokens", "'s language model alone", "'s collaborative prior")


def read_rows(rows: Iterable[Mapping[str, Any]]) -> list[ResultRow]:
    """Rows with ``kind``, ``first`` and ``other``, which older results lack.

    A method that the results' own one is compared with is a component unless its name says that it
    is something else.
    """
    rows = list(rows)
    pairs = {r["method"]: _pair(r) for r in rows}
    owners = Counter(first for first, other in map(_pair, rows) if other)
    own = owners.most_common(1)[0][0] if owners else ""
    compared = {other for first, other in pairs.values() if other and first == own}
    kinds = {name: _kind(name, name in compared) for name, (_, other) in pairs.items() if not other}
    return [
        ResultRow(
            method=row["method"],
            kind=row.get("kind") or kinds.get(row["method"], "difference"),
            first=pairs[row["method"]][0],
            other=pairs[row["method"]][1],
            task=row["task"],
            metric=row["metric"],
            group=row["group"],
            value=row["value"],
            low=row.get("low"),
            high=row.get("high"),
            n=row["n"],
        )
        for row in rows
    ]


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    """Both methods of a difference; empty for a method's own value."""
    if row.get("kind"):
        return row["first"], row["other"]
    first, _, other = row["method"].partition(" - ")
    return (first, other) if other else ("", "")


def _kind(name: str, compared: bool) -> Kind:
    if name in BASELINES or name in sampled_negatives.BASELINES:
        return "baseline"
    if " + " in name or name == "a blend of all":
        return "blend"
    if ", seed-" in name:
        return "seed"
    if name.endswith(ANSWERS):
        return "answer"
    return "component" if compared and name not in METHODS else "method"
