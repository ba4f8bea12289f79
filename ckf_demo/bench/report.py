"""A benchmark's figures as Markdown between the markers of a document.

python -m ckf_demo.bench.report speed.json docs/speed.md
"""

import json
import sys
from pathlib import Path

from ckf_demo.bench.profile import PARTS
from ckf_demo.errors import UserError
from ckf_demo.evaluation.report import write_between_markers
from ckf_demo.tasks.registry import TASKS

APART = ("growth_", "profile_")


def markdown(result: dict) -> str:
    """The machine, all figures but profiles and growth, one row each, then tables of those two."""
    machine = result["machine"]
    bf16 = ", ".join(machine["bf16_instructions"]) or "none"
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    lines = [
        f"Measured on {machine['processor']}, {machine['threads']} threads, "
        f"{machine['memory_gib']} GiB; instructions for bf16: {bf16}; weights held as "
        f"`{machine['quantization']}`; {versions}. Medians of {result['rounds']} rounds, with the "
        "least and the greatest.",
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


def publish(result: Path, document: Path) -> None:
    """Write the tables of a benchmark's JSON into a document.

    Raises
    ------
    UserError
        When there is no such result, or the document has no markers.
    """
    if not result.exists():
        raise UserError(f"No figures at {result}; write them with `ckf bench --json`.")
    write_between_markers(document, markdown(json.loads(result.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]))
