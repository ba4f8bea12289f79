"""The Python tab: code that asks the shown pair's questions from outside the page, ready to run."""

import json
from pathlib import Path

import gradio as gr

from ckf_demo.runtime.assets import asset
from ckf_demo.ui.controls import lead
from ckf_demo.ui.events import QUIET
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair

ROOT = Path(__file__).resolve().parents[2]
RATING = "rate", "{answer['rating']:.2f} of 5"
CLICK = "click", "{answer['probability']:.0%} likely to be liked"
"""What is asked, and how its answer is printed."""
ADDRESS = "http://127.0.0.1:7860"

BLOCKS = asset("python_tab.toml")["block"]


class PythonTab:
    """Builds the tab's components in the current Blocks context."""

    def __init__(self, recommender, pair: Pair) -> None:
        self.checkpoint, self.thing = recommender.checkpoint, recommender.domain.thing
        self.asks = RATING if "rating" in recommender.tasks else CLICK
        lead(
            "Every answer of the page can be had from a program. The code below asks about the "
            f"person and the {self.thing} in the bar, and runs as it stands."
        )
        blocks = list(zip(BLOCKS, self.texts(pair, ADDRESS), strict=True))
        self.outputs = []
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            for column in (blocks[:2], blocks[2:]):
                with gr.Column(min_width=300):
                    for block, code in column:
                        gr.Markdown(block["text"])
                        self.outputs.append(_code(code, block["name"]))

    def wire(self, page: Page) -> None:
        """Write the code for each pair, and for the visitor's address."""
        gr.on([page.demo.load, page.pair.change], self.show, page.pair, self.outputs, **QUIET)

    def show(self, pair: Pair, request: gr.Request) -> tuple[str, ...]:
        """The code for the pair, with the address under which the page was asked for."""
        return self.texts(pair, page_address(request))

    def texts(self, pair: Pair, address: str) -> tuple[str, ...]:
        """The code blocks as Markdown: client, recommender, tools, an assistant's settings."""
        call, answer = self.asks
        names = {
            "address": json.dumps(address),
            "mcp": json.dumps(f"{address}/gradio_api/mcp/"),
            "person": literal(person_fields(pair)),
            "thing": self.thing,
            "item": literal(pair.item),
            "call": call,
            "answer": answer,
            "checkpoint": json.dumps(_readable(self.checkpoint)),
        }
        return tuple(
            f"```{block['language']}\n{block['code'].format(**names).strip()}\n```"
            for block in BLOCKS
        )


def person_fields(pair: Pair) -> dict:
    """The arguments that describe the person of the pair, without those that are left out."""
    fields = {**pair.person, "method": pair.method}
    return {name: value for name, value in fields.items() if value is not None}


def literal(value: object) -> str:
    """A value made of text, numbers, lists and mappings, written in Python as well as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def page_address(request: gr.Request) -> str:
    """The address of the page as its visitor has it, without a slash at the end."""
    headers = request.headers
    origin = headers.get("origin") or f"http://{headers.get('host')}"
    return origin + request.request.scope.get("root_path", "").rstrip("/")


def _readable(folder: Path) -> str:
    return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)


def _code(text: str, name: str) -> gr.Markdown:
    return gr.Markdown(text, elem_id=name, elem_classes="ckf-code", latex_delimiters=[])
