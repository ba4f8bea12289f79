"""A benchmark's figures as Markdown between the markers of a document.

python -m ckf_demo.bench.report speed.json docs/speed.md

With ``time`` behind the document, the figures of ``ckf bench --only methods`` alone are written,
between the markers of that name; with ``scale`` those of ``ckf_demo.bench.scale``.
"""

import json
import sys
from pathlib import Path

from ckf_demo.bench.methods import CANDIDATES, ROWS
from ckf_demo.bench.profile import PARTS
from ckf_demo.errors import UserError
from ckf_demo.evaluation.report import RESULTS, write_between_markers
from ckf_demo.tasks.registry import TASKS

APART = ("growth_", "profile_", "methods_")
TIME, SCALE = "time", "scale"


def markdown(result: dict) -> str:
    """The machine, all figures but profiles and growth, one row each, then tables of those two."""
    lines = [
        _machine(result),
        "",
        "| figure | median | least | greatest | unit |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    rows = {row["name"]: row for row in result["rows"]}
    for name, row in rows.items():
        if not name.startswith(APART):
            figures = " | ".join(f"{row[key]:.4g}" for key in ("value", "low", "high"))
            lines.append(f"| {name} | {figures} | {row['unit']} |")
    tasks = [t for t in TASKS if f"profile_{t}_seconds" in rows]
    if tasks:
        columns = ("seconds", *PARTS, "python", "gradio_seconds", "vs_matmul_rate")
        lines += ["", f"| task | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
        for task in tasks:
            figures = (f"{rows[f'profile_{task}_{c}']['value']:.3f}" for c in columns)
            lines.append(f"| {task} | {' | '.join(figures)} |")
    sizes = [name.split("_")[1:3] for name in rows if name.startswith("growth_")]
    if sizes:
        lines += ["", "| what grows | size | seconds | megabytes |", "| --- | ---: | ---: | ---: |"]
        for what, size in dict.fromkeys(map(tuple, sizes)):
            seconds, megabytes = (
                rows[f"growth_{what}_{size}_{unit}"]["value"] for unit in ("seconds", "megabytes")
            )
            lines.append(f"| {what} | {size} | {seconds:.3f} | {megabytes:.1f} |")
    return "\n".join(lines)


def methods_markdown(result: dict) -> str:
    """The machine, and one row for each checkpoint: training, rows and rankings."""
    rows = {row["name"]: row for row in result["rows"] if row["name"].startswith("methods_")}
    seconds = [f"rows_{ROWS}", f"ranking_{CANDIDATES}"]
    end = f"_{seconds[0]}_seconds"
    names = [n.removeprefix("methods_").removesuffix(end) for n in rows if n.endswith(end)]
    first = result["checkpoint"]
    lines = [
        _machine(result),
        "",
        f"| checkpoint | minutes of training | seconds for {ROWS} rows | over {first}'s "
        f"| seconds for a ranking of {CANDIDATES} | over {first}'s |",
        f"| --- |{' ---: |' * 5}",
    ]
    for name in names:
        minutes = rows.get(f"methods_{name}_training_minutes")
        cells = ["–" if minutes is None else f"{minutes['value']:.1f}"]
        for what in seconds:
            cells.append(_spread(rows[f"methods_{name}_{what}_seconds"]))
            ratio = rows.get(f"methods_{name}_{what}_vs_{first}")
            cells.append("1" if ratio is None else _spread(ratio))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def scale_markdown(result: dict) -> str:
    """The machine, and a table of what was measured by ways of holding the data."""
    machine, rows = result["machine"], result["rows"]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        way, _, what = row["name"].partition(": ")
        spread = row["low"] != row["high"]
        figure = _spread(row) if spread else f"{row['value']:.4g}"
        cells.setdefault(f"{what}, {row['unit']}", {})[way] = figure
    ways = list(dict.fromkeys(row["name"].partition(": ")[0] for row in rows))
    lines = [
        f"{result['ratings']:,} ratings, on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB.",
        "",
        f"| measured | {' | '.join(ways)} |",
        f"| --- |{' ---: |' * len(ways)}",
    ]
    for what, by_way in cells.items():
        lines.append(f"| {what} | {' | '.join(by_way.get(way, '–') for way in ways)} |")
    return "\n".join(lines)


def _spread(row: dict) -> str:
    return f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"


def _machine(result: dict) -> str:
    machine = result["machine"]
    bf16 = ", ".join(machine["bf16_instructions"]) or "none"
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    return (
        f"Measured on {machine['processor']}, {machine['threads']} threads, "
        f"{machine['memory_gib']} GiB; instructions for bf16: {bf16}; weights held as "
        f"`{machine['quantization']}`; {versions}. Medians of {result['rounds']} rounds, with the "
        "least and the greatest."
    )


def publish(result: Path, document: Path, name: str = RESULTS) -> None:
    """Write the tables of a benchmark's JSON between the markers ``name`` of a document.

    With the name `TIME` those of methods alone are written, with `SCALE` those of the store.

    Raises
    ------
    UserError
        When there is no such result, or the document has no markers.
    """
    if not result.exists():
        raise UserError(f"No figures at {result}; write them with `ckf bench --json`.")
    found = json.loads(result.read_text(encoding="utf-8"))
    written = {TIME: methods_markdown, SCALE: scale_markdown}.get(name, markdown)
    write_between_markers(document, written(found), name)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
