"""The page of a recommender, served for tests, and its tools."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from ckf_demo.ui.app import build, launch


@contextmanager
def served(recommender, cache: Path) -> Iterator[gr.Blocks]:
    """The launched page; what building it would keep in the user's cache goes to ``cache``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        demo = build(recommender)
    launch(demo)
    try:
        yield demo
    finally:
        demo.close()


def ask_tools(address: str, *calls: tuple[str, dict]):
    """The tools on offer by name, and the results of calls, of one session with a page."""

    async def talk():
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            return tools, [await session.call_tool(name, given) for name, given in calls]

    return asyncio.run(talk())
