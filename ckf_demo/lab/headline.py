"""Write the README's two tables from the stored results of MovieLens-100K.

    python -m ckf_demo.lab.headline

The first table has a few methods with the whole history, the second the same rows with histories
cut to their last k ratings.
"""

import json
from pathlib import Path

from ckf_demo.evaluation.report import write_between_markers
from ckf_demo.evaluation.table_format import with_half_width

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "checkpoints" / "ml-100k" / "results.json"

METHODS = {
    "item mean": "item mean",
    "bias folded in": "bias folded in",
    "biased MF": "biased MF",
    "item k-NN": "item k-NN",
    "gradient boosting": "gradient boosting",
    "ckf": "**CKF**",
}
"""Methods of the first table by their name in the results, and what the README calls them."""

COLD_METHODS = ("item mean", "biased MF", "gradient boosting", "ckf")
CUTS = ("k=0", "k=1", "k=3", "k=10")


def headline(results: dict) -> str:
    """Both tables as Markdown, from the JSON of `ckf evaluate`."""
    cells = {(r["method"], r["metric"], r["group"]): r for r in results["rows"]}

    def plain(name: str, group: str) -> str:
        rmse, auc = (cells[name, metric, group]["value"] for metric in ("rmse", "auc"))
        return f"{rmse:.3f} / {auc:.3f}"

    lines = ["| whole history | RMSE | AUC | NDCG@10 |", "| --- | ---: | ---: | ---: |"]
    for name, label in METHODS.items():
        values = [
            with_half_width(cells.get((name, metric, "all")))
            for metric in ("rmse", "auc", "ndcg@10")
        ]
        lines.append(f"| {label} | {' | '.join(values)} |")
    lines += ["", "| new people, RMSE / AUC | 0 ratings | 1 | 3 | 10 |", "|---|--:|--:|--:|--:|"]
    for name in COLD_METHODS:
        values = [plain(name, cut) for cut in CUTS]
        lines.append(f"| {METHODS[name]} | {' | '.join(values)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_between_markers(ROOT / "README.md", headline(results), "headline")
