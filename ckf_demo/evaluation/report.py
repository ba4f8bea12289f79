"""Results as tables: on the terminal, and as Markdown between markers in the README and model card.

    python -m ckf_demo.evaluation.report checkpoints/NAME/results.json README.md \\
        checkpoints/NAME/MODEL_CARD.md

Several results, named first, are written one below the other.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import table as rich_table
from rich.console import Console
from scipy.stats import kendalltau

from ckf_demo.evaluation.table_format import (
    ResultTables,
    Table,
    plain,
    with_half_width,
    with_interval,
)
from ckf_demo.runtime.assets import asset
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

RESULTS = "results"
START, END = "<!-- results:start -->", "<!-- results:end -->"

SHOWN = asset("result_tables.toml")
COLUMNS: list[tuple[str, str, str]] = [tuple(column) for column in SHOWN["columns"]]
"""Task, metric and heading of the columns."""

GROUPS: list[str] = SHOWN["groups"]
EXPLANATION_LABELS: dict[str, str] = SHOWN["explanation_labels"]


def tables(results: dict) -> list[Table]:
    """Title, headings and cells of each table; the first column names the method or the measure."""
    made = ResultTables(results["rows"])
    columns = [(task, metric, "all", heading) for task, metric, heading in COLUMNS]
    title = f"Results on {results['dataset']}, {results['split']} part"
    shown = [made.by_metric(title, made.methods, columns)]
    accepting = any(group == "accept" for *_, group in made.cells)
    for group, title in SHOWN["difference_groups"].items():
        if group in ("all", "pooled") or accepting:
            columns = [(t, m, group, h) for t, m, h in COLUMNS if m in SHOWN["difference_metrics"]]
            shown.append(
                made.by_metric(title, made.differences, columns, with_interval, "difference")
            )
    for task, metric, name in SHOWN["group_columns"]:
        if settings := results.get("settings"):
            shown += _by_setting(made, name, task, metric, settings)
        else:
            title = f"{name} by group"
            shown.append(made.by_group(title, made.methods, task, metric, plain, groups=GROUPS))
    shown.append(_explanations(made))
    return [table for table in shown if table[2]]


def to_markdown(made: Sequence[Table]) -> str:
    """Tables as Markdown, one below the other."""
    parts = []
    for title, headings, rows in made:
        rule = ["---", *["---:"] * (len(headings) - 1)]
        parts.append("\n".join([f"**{title}**", "", *map(_line, [headings, rule, *rows])]))
    return "\n\n".join(parts)


def print_tables(made: Sequence[Table], console: Console | None = None) -> None:
    """Print tables on the terminal."""
    console = console or Console()
    for title, headings, rows in made:
        table = rich_table.Table(title=title, title_justify="left")
        for i, heading in enumerate(headings):
            table.add_column(heading, justify="right" if i else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown(results: dict) -> str:
    """All tables of the results as Markdown."""
    return to_markdown(tables(results))


def show(results: dict, console: Console | None = None) -> None:
    """Print all tables of the results on the terminal."""
    print_tables(tables(results), console)


def write_between_markers(path: Path, text: str, name: str = RESULTS) -> None:
    """Replace the text between the markers of that name in a Markdown file; UserError without."""
    path = Path(path)
    start, end = (f"<!-- {name}:{edge} -->" for edge in ("start", "end"))
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    if start not in content or end not in content.split(start, 1)[1]:
        raise UserError(f"{path} has no {start} … {end}; add both lines where the results belong.")
    before, rest = content.split(start, 1)
    after = rest.split(end, 1)[1]
    with replacing(path) as temporary:
        temporary.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def publish(results: Sequence[Path], documents: Sequence[Path]) -> None:
    """Write the tables of results files between the markers of each document."""
    parts = []
    for path in results:
        if not path.exists():
            raise UserError(f"No results at {path}; write them with `ckf evaluate --json`.")
        parts.append(markdown(json.loads(path.read_text(encoding="utf-8"))))
    for document in documents:
        write_between_markers(document, "\n\n".join(parts))


def order_agreement(first: dict[str, float | None], second: dict[str, float | None]) -> float:
    """Kendall's τ-b between two orders of methods, of those that both have a value for.

    1 for the same order, −1 for the reverse; NaN for fewer than two methods.
    """
    both = [m for m in first if first[m] is not None and second.get(m) is not None]
    if len(both) < 2:
        return float("nan")
    return float(kendalltau([first[m] for m in both], [second[m] for m in both]).statistic)


def _by_setting(
    made: ResultTables, name: str, task: str, metric: str, settings: list[str]
) -> list[Table]:
    """Values and differences by setting of the data, and whether the order of methods holds."""
    title = f"{name} under other settings of the data"
    title, headings, rows = made.by_group(title, made.methods, task, metric, groups=settings)
    if rows:
        values = {key: row["value"] for key, row in made.cells.items()}
        orders = [
            {method: values.get((method, task, metric, group)) for method in made.methods}
            for group in headings[1:]
        ]
        agreements = (order_agreement(orders[0], order) for order in orders)
        line = [f"{x:.2f}" if x == x else "–" for x in agreements]
        rows.append([f"order as under {headings[1]} (Kendall's τ)", *line])
    differences = made.by_group(
        f"Differences in {name} under each setting (95 % interval, paired over users)",
        made.differences,
        task,
        metric,
        with_interval,
        "difference",
        settings,
    )
    return [(title, headings, rows), differences]


def _explanations(made: ResultTables) -> Table:
    rows = []
    for (method, task, metric, group), row in made.cells.items():
        if task == "explanation":
            label = EXPLANATION_LABELS.get(metric, metric)
            name = label if group == "all" else f"{label}, {group}"
            rows.append([name, method, with_half_width(row), str(row["n"])])
    return "Explanations", ["measure", "method", "value", "n"], rows


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    names = [Path(name) for name in sys.argv[1:]]
    publish(
        [name for name in names if name.suffix == ".json"],
        [name for name in names if name.suffix != ".json"],
    )
