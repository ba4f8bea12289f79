"""Renew the tables under docs/tables from the stored results.

    python -m ckf_demo.lab.report --all
    python -m ckf_demo.lab.report papers ml-100k

Each table is made from the JSON alone, so that a page never says anything else than the results.
`TOPICS` lists the pages and the results that each of them shows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ckf_demo.evaluation import report as evaluated
from ckf_demo.evaluation.table_format import Table
from ckf_demo.lab.analyses import ANALYSES
from ckf_demo.lab.bench import report as bench
from ckf_demo.lab.commands import one_line_errors
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

ROOT = Path(__file__).resolve().parents[2]
TABLES = Path("docs/tables")
RESULTS = "ckf_demo/lab/results"

TOPICS: dict[str, tuple[str, ...]] = {
    "ml-100k": ("checkpoints/ml-100k/results.json", "checkpoints/ml-100k/methods.json"),
    "collm-ml-1m": ("checkpoints/collm-ml-1m/results.json",),
    "xrec-yelp": ("checkpoints/xrec-yelp/results.json",),
    "amazon-musical-instruments": ("checkpoints/amazon-musical-instruments/results.json",),
    "leaderboard": ("checkpoints/ml-100k/field.json", "checkpoints/collm-ml-1m/field.json"),
    "robustness": (
        "checkpoints/collm-ml-1m/robustness.json",
        "checkpoints/collm-ml-1m/ranks.json",
        "checkpoints/ml-100k/robustness.json",
        "checkpoints/ml-100k/settings.json",
    ),
    "papers": (
        f"{RESULTS}/forgetting.json",
        f"{RESULTS}/sampled-ranking.json",
        f"{RESULTS}/cross-domain.json",
        f"{RESULTS}/popularity-strata.json",
        f"{RESULTS}/favourite-genres.json",
    ),
    "method-ablations": (
        f"{RESULTS}/collaborative-ckf.json",
        f"{RESULTS}/ablations-collm.json",
        f"{RESULTS}/few-shot.json",
        f"{RESULTS}/ablations-cora.json",
        f"{RESULTS}/ablations-allmrec.json",
        f"{RESULTS}/collaborative-allmrec.json",
        f"{RESULTS}/prompt4nr.json",
    ),
    "words": ("checkpoints/ml-100k/words.json",),
    "search": (f"{RESULTS}/search.json", f"{RESULTS}/search-ml-100k.json"),
    "explanations": ("checkpoints/ml-100k/reasons.json",),
    "reference-explanations": (
        f"{RESULTS}/reference-explanations-xrec-yelp.json",
        f"{RESULTS}/reference-explanations-amazon-musical-instruments.json",
    ),
    "poisoning": (f"{RESULTS}/poisoning.json",),
    "speed": (f"{RESULTS}/speed.json",),
    "method-times": (f"{RESULTS}/method-times.json",),
    "load": (f"{RESULTS}/load.json",),
    "scale": (f"{RESULTS}/scale.json",),
    "sizing": (f"{RESULTS}/sizing.json",),
}
"""Pages by name, and the results that each shows, as paths from the project's folder."""

BENCHES = {
    "method-times": bench.methods_markdown,
    "load": bench.load_markdown,
    "scale": bench.scale_markdown,
}
"""Pages of benchmarks that have a form of their own."""


def tables(results: dict) -> list[Table]:
    """The tables of an analysis or, for results without one, those of an evaluation."""
    if "analysis" not in results:
        return evaluated.tables(results)
    return [table for table in ANALYSES[results["analysis"]](results) if table[2]]


def markdown(results: dict) -> str:
    """`tables` as Markdown."""
    return evaluated.to_markdown(tables(results))


def show(results: dict) -> None:
    """`tables` on the terminal."""
    evaluated.print_tables(tables(results))


def is_measured(topic: str, root: Path = ROOT) -> bool:
    """Whether all results of a topic are stored."""
    return all((root / name).exists() for name in TOPICS[topic])


def page(topic: str, root: Path = ROOT) -> str:
    """The page of a topic as Markdown: one section for each file of results.

    Raises
    ------
    UserError
        For an unknown topic, or when results are missing.
    """
    if topic not in TOPICS:
        raise UserError(f"No page {topic!r}; choose among {', '.join(TOPICS)}.")
    parts = [
        f"# {topic}",
        f"Written by `python -m ckf_demo.lab.report {topic}`; do not edit by hand.",
    ]
    for name in TOPICS[topic]:
        path = root / name
        if not path.exists():
            raise UserError(f"No results at {path}, which the page {topic!r} shows.")
        results = json.loads(path.read_text(encoding="utf-8"))
        is_bench = "machine" in results
        text = BENCHES.get(topic, bench.markdown)(results) if is_bench else markdown(results)
        parts += [f"## {name}", text]
    return "\n\n".join(parts) + "\n"


def renew(topics: Sequence[str], root: Path = ROOT) -> list[Path]:
    """Write the pages of some topics; returns their paths."""
    pages = {root / TABLES / f"{topic}.md": page(topic, root) for topic in topics}
    for path, text in pages.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(pages)


@one_line_errors
def main(
    topics: Annotated[list[str] | None, typer.Argument(help="Pages to renew.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Renew every measured page.")] = False,
) -> None:
    """Renew the tables under docs/tables from the stored results."""
    if not topics and not everything:
        raise UserError(f"Name pages to renew, or --all: {', '.join(TOPICS)}.")
    chosen = [topic for topic in TOPICS if is_measured(topic, ROOT)] if everything else topics or []
    for path in renew(chosen, ROOT):
        print(path.relative_to(ROOT))
    if everything and (left := [topic for topic in TOPICS if topic not in chosen]):
        print(f"Not measured yet: {', '.join(left)}.")


if __name__ == "__main__":
    typer.run(main)
