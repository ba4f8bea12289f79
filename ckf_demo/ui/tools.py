"""What Gradio's MCP server does not do by itself: answers in JSON, and an ear for who hangs up."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

from ckf_demo.ui.service import LOOK


def adapt_tools(demo: gr.Blocks) -> None:
    """Change the MCP server of a launched app: its tools answer in JSON where Gradio writes
    Python's own notation, and a call whose client hangs up is cancelled.
    """
    server = demo.mcp_server_obj

    def content(data: list, root_url: str) -> list:
        return [
            server.types.TextContent(type="text", text=json.dumps(value, ensure_ascii=False))
            for value in data
        ]

    server.postprocess_output_data = content
    server._execute_tool_without_progress = _heard(server, _result)
    server._execute_tool_with_progress = _heard(server, server._execute_tool_with_progress)


async def _result(job) -> list[Any]:
    """What Gradio's own function returns, awaited without a thread that could not be cancelled."""
    return [await asyncio.wrap_future(job.future)]


def _heard(server, execute: Callable[..., Awaitable]) -> Callable[..., Awaitable]:
    """``execute``, given up and its job cancelled when its client has hung up.

    Gradio's sessions are stateless, so that hanging up is the one way to cancel a call.
    """

    async def call(job, *args) -> Any:
        request = server.mcp_server.request_context.request
        task = asyncio.ensure_future(execute(job, *args))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK)
                if not task.done() and await request.is_disconnected():
                    raise RuntimeError("The answer was not waited for.")
            return task.result()
        finally:
            task.cancel()
            # in a task of its own: this one may be within a scope that has been cancelled
            ending = asyncio.ensure_future(_cancel(job))
            _ending.add(ending)
            ending.add_done_callback(_ending.discard)

    return call


# the event loop holds tasks weakly
_ending: set[asyncio.Future] = set()


async def _cancel(job) -> None:
    """Cancel a job that has not ended; only what the queue has accepted can be cancelled."""
    while not (job.future.done() or job.communicator.event_id):
        await asyncio.sleep(LOOK / 10)
    if not job.future.done():
        await asyncio.to_thread(job.cancel)
