"""Buttons that save rows as CSV, Parquet or JSON.

The file is made when a button is pressed and travels within the page's own answer. No file is
written on the server.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Sequence

import gradio as gr
from gradio.components import Component

from ckf_demo.data.exports import KINDS, exported
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.events import PRIVATE, QUIET
from ckf_demo.ui.markup import warn

LABELS = {"csv": "CSV", "parquet": "Parquet", "json": "JSON"}
Rows = list[dict]


class Downloads:
    """Builds the buttons in the current Blocks context; ``what`` says what they save."""

    def __init__(self, name: str, what: str, kinds: Sequence[str] = tuple(KINDS)) -> None:
        with gr.Row(elem_classes="ckf-downloads") as self.row:
            gr.HTML(
                f'<span class="ckf-facts">{what}</span>', apply_default_css=False, padding=False
            )
            self.buttons = {
                kind: gr.Button(
                    LABELS[kind], size="sm", elem_id=f"{name}-save-{kind}", scale=0, min_width=60
                )
                for kind in kinds
            }
        self.file = gr.Textbox(visible=False)

    def wire(
        self, rows: Callable[..., tuple[str, Rows]], inputs: Sequence[Component], **options
    ) -> None:
        """Save what ``rows(*inputs)`` returns: the file's name without an ending, and its rows."""
        for kind, button in self.buttons.items():
            button.click(
                lambda *values, kind=kind: saved(rows, kind, values),
                list(inputs),
                self.file,
                **QUIET | options,
            ).then(None, self.file, js="(file) => window.ckf.saveFile(file)", **PRIVATE)


def saved(rows: Callable[..., tuple[str, Rows]], kind: str, values: Sequence[object]) -> str:
    """A file as text for the page, which saves it; "" after a message where there is none."""
    try:
        name, table = rows(*values)
        if not table:
            raise UserError("There is nothing to save yet.")
    except UserError as error:
        warn(error)
        return ""
    content = b64encode(exported(table, kind)).decode()
    return json.dumps({"name": f"{name}.{kind}", "type": KINDS[kind], "content": content})
