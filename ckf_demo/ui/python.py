"""The Python tab: code that asks the shown pair's questions from outside the page, ready to run."""

import json
from pathlib import Path

import gradio as gr

from ckf_demo.ui.events import QUIET
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair

ROOT = Path(__file__).resolve().parents[2]
RATING = "rate", "{answer['rating']:.2f} of 5"
CLICK = "click", "{answer['probability']:.0%} likely to be liked"
"""What is asked, and how its answer is printed."""
ADDRESS = "http://127.0.0.1:7860"

CLIENT = """\
from gradio_client import Client

client = Client({address})
person = {person}
{thing} = {item}

answer = client.predict(**person, item={thing}, api_name="/{call}")
print(f"{answer}")

for row in client.predict(**person, k=5, api_name="/rank"):
    print(row["rank"], row["title"])
"""

RECOMMENDER = """\
from ckf_demo.recommender import Recommender

recommender = Recommender.load({checkpoint})
person = {person}
{thing} = {item}

answer = recommender.{call}(**person, item={thing})
print(f"{answer}")

for row in recommender.rank(**person, k=5):
    print(row["rank"], row["title"])
"""

MCP = """\
import asyncio
import json

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

address = {mcp}
person = {person}
{thing} = {item}


async def main():
    async with (
        streamable_http_client(address) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = await session.list_tools()
        print("Tools:", ", ".join(tool.name for tool in tools.tools))
        result = await session.call_tool("{call}", {{**person, "item": {thing}}})
        answer = json.loads(result.content[0].text)
        print(f"{answer}")


asyncio.run(main())
"""


class PythonTab:
    """Builds the tab's components in the current Blocks context."""

    def __init__(self, recommender, pair: Pair) -> None:
        self.checkpoint, self.thing = recommender.checkpoint, recommender.domain.thing
        self.asks = RATING if "rating" in recommender.tasks else CLICK
        gr.HTML(
            "<p>Every answer of the page can be had from a program. The code below asks about the "
            f"person and the {self.thing} in the bar, and runs as it stands.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        client, inside, tools, assistant = self.texts(pair, ADDRESS)
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(min_width=300):
                gr.Markdown(
                    "### Over the network\n\n`pip install gradio_client`, while this page is "
                    "served. The page's footer lists every endpoint with its fields."
                )
                self.client = _code(client, "python-client")
                gr.Markdown(
                    "### Without the page\n\nIn a copy of the repository after `make install`: the "
                    "same answers in one process, for notebooks and batches."
                )
                self.inside = _code(inside, "python-recommender")
            with gr.Column(min_width=300):
                gr.Markdown(
                    "### As tools of an assistant\n\nThe endpoints are tools of the Model Context "
                    "Protocol. `pip install mcp` to call them yourself; tools answer in JSON."
                )
                self.tools = _code(tools, "python-mcp")
                gr.Markdown("An assistant that speaks the protocol needs the address alone:")
                self.assistant = _code(assistant, "python-assistant")

    def wire(self, page: Page) -> None:
        """Write the code for each pair, and for the visitor's address."""
        gr.on([page.demo.load, page.pair.change], self.show, page.pair, self.outputs, **QUIET)

    @property
    def outputs(self) -> list:
        """Every component that ``show`` updates."""
        return [self.client, self.inside, self.tools, self.assistant]

    def show(self, pair: Pair, request: gr.Request) -> tuple[str, ...]:
        """The code for the pair, with the address under which the page was asked for."""
        return self.texts(pair, page_address(request))

    def texts(self, pair: Pair, address: str) -> tuple[str, ...]:
        """The code blocks as Markdown: client, recommender, tools, an assistant's settings."""
        tools = f"{address}/gradio_api/mcp/"
        call, answer = self.asks
        names = {
            "address": json.dumps(address),
            "mcp": json.dumps(tools),
            "person": literal(person_fields(pair)),
            "thing": self.thing,
            "item": literal(pair.item),
            "call": call,
            "answer": answer,
            "checkpoint": json.dumps(_readable(self.checkpoint)),
        }
        settings = json.dumps({"mcpServers": {"ckf": {"url": tools}}}, indent=2)
        return (
            *(fence(code.format(**names), "python") for code in (CLIENT, RECOMMENDER, MCP)),
            fence(settings, "json"),
        )


def person_fields(pair: Pair) -> dict:
    """The arguments that describe the person of the pair, without those that are left out."""
    fields = {**pair.person, "method": pair.method}
    return {name: value for name, value in fields.items() if value is not None}


def literal(value: object) -> str:
    """A value made of text, numbers, lists and mappings, written in Python as well as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def fence(code: str, language: str) -> str:
    """Code as a Markdown block."""
    return f"```{language}\n{code.strip()}\n```"


def page_address(request: gr.Request) -> str:
    """The address of the page as its visitor has it, without a slash at the end."""
    headers = request.headers
    origin = headers.get("origin") or f"http://{headers.get('host')}"
    return origin + request.request.scope.get("root_path", "").rstrip("/")


def _readable(folder: Path) -> str:
    return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)


def _code(text: str, name: str) -> gr.Markdown:
    return gr.Markdown(text, elem_id=name, elem_classes="ckf-code", latex_delimiters=[])
