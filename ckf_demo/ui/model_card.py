"""The Model card tab: what is loaded, how it was trained, what was measured, and its limits."""

from pathlib import Path

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.markup import date_text, escape, notice, panel, plain_table
from ckf_demo.ui.stored_results import RESULTS, Measured, Results, read_results


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
    if not (folder / RESULTS).exists():
        return notice("No measured results lie beside this checkpoint.")
    try:
        results = read_results(folder / RESULTS)
    except UserError as error:
        return notice(str(error))
    about = f"Measured on the {results.split} part of {results.dataset}"
    tables = "".join(
        f"<div>{_table(results, task, metric)}</div>"
        for task in results.tasks()
        for metric in results.metrics(task)
    )
    return (
        f"<h3>Measured results</h3><p class='ckf-facts'>{escape(about)}; each figure with its 95 % "
        "interval (bootstrap over users) and the number of rows it rests on.</p>"
        f'<div class="ckf-results">{tables}</div>'
    )


def _table(results: Results, task: str, metric: str) -> str:
    """A metric of every method, a column per group (HTML)."""
    groups = results.groups(task, metric)
    rows = [row for row in results.rows if (row.task, row.metric) == (task, metric)]
    figures = {(row.method, row.group): _figure(row) for row in rows}
    return plain_table(
        ["Method", *groups],
        [
            (method, *(figures.get((method, group), "–") for group in groups))
            for method in dict.fromkeys(row.method for row in rows)
        ],
        f"{task}: {metric}",
    )


def _figure(row: Measured) -> str:
    if row.value is None:
        return "–"
    measured = row.low is not None and row.high is not None
    interval = f" [{row.low:.3f}, {row.high:.3f}]" if measured else ""
    return f"{row.value:.3f}{interval}, n = {row.n:,}"
