"""The Model card tab: what is loaded, how it was trained, what was measured, and its limits."""

import json
from pathlib import Path

import gradio as gr

from ckf_demo.ui.markup import date_text, escape, notice, panel, plain_table

GROUP_ORDER = ("all", "warm", "cold")


class ModelCardTab:
    """Builds the tab's components in the current Blocks context; nothing in it changes."""

    def __init__(self, recommender) -> None:
        folder = recommender.checkpoint
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(scale=3, min_width=300):
                gr.Markdown(_card(folder), elem_id="model-card", latex_delimiters=[])
            with gr.Column(scale=2, min_width=300):
                panel(statistics_markup(recommender.store), elem_id="statistics")
        with gr.Accordion("Measured results: every figure", open=False):
            panel(results_markup(folder), elem_id="results")
        with gr.Accordion("Manifest: what exactly is loaded", open=False):
            panel(manifest_markup(recommender.manifest), elem_id="manifest")


def _card(folder: Path) -> str:
    path = folder / "MODEL_CARD.md"
    if not path.exists():
        return "This checkpoint has no model card; the manifest says what is loaded."
    return path.read_text(encoding="utf-8", errors="replace")


def _flat(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [
            pair
            for key, inner in value.items()
            for pair in _flat(inner, f"{name} · {key}" if name else str(key))
        ]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(str(entry) for entry in value))]
    return [(name, value)]


def manifest_markup(manifest: dict) -> str:
    """The manifest as a table of names and values (HTML)."""
    return plain_table(["Field", "Value"], _flat(manifest), "Manifest: what is loaded")


def statistics_markup(store) -> str:
    """The data set's figures as a table (HTML)."""
    figures = [
        (name.replace("_", " "), _readable(name, value))
        for name, value in _flat(store.statistics())
    ]
    return plain_table(["Figure", "Value"], figures, f"Data: {store.dataset}")


def _readable(name: str, value: object) -> str:
    if isinstance(value, int) and name.endswith("time"):
        return date_text(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def results_markup(folder: Path) -> str:
    """The measured results, one table per task and metric (HTML)."""
    path = folder / "results.json"
    if not path.exists():
        return notice("No measured results lie beside this checkpoint.")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        rows = results["rows"]
    except (ValueError, LookupError, TypeError):
        return notice(f"{path.name} of this checkpoint is damaged; restore it or evaluate again.")
    parts = []
    for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in rows):
        chosen = [row for row in rows if (row["task"], row["metric"]) == (task, metric)]
        groups = sorted({row["group"] for row in chosen}, key=_group_key)
        by_method: dict[str, dict[str, dict]] = {}
        for row in chosen:
            by_method.setdefault(row["method"], {})[row["group"]] = row
        parts.append(
            "<div>"
            + plain_table(
                ["Method", *groups],
                [
                    (method, *(_figure(cells.get(group)) for group in groups))
                    for method, cells in by_method.items()
                ],
                f"{task}: {metric}",
            )
            + "</div>"
        )
    about = f"Measured on the {results['split']} part of {results['dataset']}"
    return (
        f"<h3>Measured results</h3><p class='ckf-facts'>{escape(about)}; each figure with its 95 % "
        "interval (bootstrap over users) and the number of rows it rests on.</p>"
        f'<div class="ckf-results">{"".join(parts)}</div>'
    )


def _group_key(group: str) -> tuple:
    known = GROUP_ORDER.index(group) if group in GROUP_ORDER else len(GROUP_ORDER)
    digits = "".join(character for character in group if character.isdigit())
    return known, int(digits) if digits else 10**9, group


def _figure(row: dict | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    interval = (
        f" [{row['low']:.3f}, {row['high']:.3f}]"
        if row.get("low") is not None and row.get("high") is not None
        else ""
    )
    number = f", n = {row['n']:,}" if row.get("n") is not None else ""
    return f"{row['value']:.3f}{interval}{number}"
