"""Several data sets under one address: the first page, and others that load when first asked for.

Each page and its endpoints stand below a path with its checkpoint's name. `Late` answers there
until the first visitor comes, who sees that the page loads, and then the page. All pages pass the
same gates, so that one question at a time asks a model.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from threading import Lock
from urllib.parse import quote

import gradio as gr
from anyio import to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import LOGGER
from ckf_demo.ui.reading import ratings_route
from ckf_demo.ui.tools import adapt_tools

WAITING, LOADING, READY, FAILED = "waiting", "loading", "ready", "failed"
AGAIN = 2
"""Seconds after which a page that waits asks again."""

# Gradio collects what a page is made of in one place of the process. So pages are built one at a
# time, and functions that answer return `gr.update`: a component made there would become a part of
# the page that is being built.
_BUILDING = Lock()

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:20vh auto 0;max-width:34rem;padding:0 1rem;"
    "color-scheme:light dark;background:Canvas;color:CanvasText}"
)


@dataclass(frozen=True)
class Place:
    """Where a data set is served: a path without slashes, empty for the first, and its name."""

    path: str
    label: str


def data_links(places: Sequence[Place], own: Place | None) -> str:
    """Links to the pages of all data sets, seen from one of them (HTML); empty for one alone."""
    if own is None or len(places) < 2:
        return ""
    up = "../" if own.path else "./"
    links = ""
    for place in places:
        current = ' aria-current="page"' if place == own else ""
        where = f"{up}{quote(place.path)}/" if place.path else up
        links += f'<a href="{where}"{current}>{escape(place.label)}</a>'
    return (
        f'<nav class="ckf-data" aria-label="Data"><p class="ckf-over">Data</p><p>{links}</p></nav>'
    )


class Late:
    """An ASGI app that builds its page when it is first asked for anything.

    ``build`` makes the page, in a thread; ``options`` are what `gradio.mount_gradio_app` needs
    beside it.
    """

    def __init__(self, place: Place, build: Callable[[], gr.Blocks], options: dict) -> None:
        self.place, self._build, self._options = place, build, options
        self.state, self.problem = WAITING, ""
        self._app: FastAPI | None = None
        self._task: asyncio.Task | None = None

    @property
    def routes(self) -> list[BaseRoute]:
        """What the first page's server has to know."""

        async def whole(request: Request) -> Response:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{quote(self.place.path)}/{query}")

        return [Route(f"/{self.place.path}", whole), Mount(f"/{self.place.path}", self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the page, or that it is not there yet."""
        if self._app is not None:
            await self._app(scope, receive, send)
            return
        if self._task is None:
            self.state = LOADING
            self._task = asyncio.create_task(self._live(scope))
        await self._not_yet(Request(scope))(scope, receive, send)

    async def _live(self, scope: Scope) -> None:
        """Build the page and keep it alive, in a task of its own: a request ends, this does not."""

        def build() -> gr.Blocks:
            with _BUILDING:
                return self._build()

        try:
            demo = await to_thread.run_sync(build)
            app = FastAPI(openapi_url=None, routes=[ratings_route()])
            options = {"mcp_server": True, "ssr_mode": False, "show_error": False}
            gr.mount_gradio_app(app, demo, path="/", **options, **self._options)
            # what the page asks about its sessions is in the app that serves it
            demo.app = next(route.app for route in app.routes if isinstance(route, Mount))
            host, port = scope["server"]
            demo.mcp_server_obj._local_url = f"http://{host}:{port}{scope['root_path']}/"
            adapt_tools(demo)
            demo.max_threads = demo.service.threads
        except Exception as error:
            # the other data sets are served on
            LOGGER.error("page failed", exc_info=error, extra={"fields": {"page": self.place.path}})
            self.state, self.problem = FAILED, f"{type(error).__name__}; the log says where"
            if isinstance(error, UserError):
                self.problem = str(error)
            return
        async with app.router.lifespan_context(app):
            self._app, self.state = app, READY
            await asyncio.Event().wait()

    def _not_yet(self, request: Request) -> Response:
        name, failed = self.place.label, self.state == FAILED
        state = f"{name} is loading; this takes half a minute or so."
        if failed:
            state = f"{name} could not be loaded: {self.problem}."
        if "text/html" not in request.headers.get("accept", ""):
            wait = {} if failed else {"retry-after": str(AGAIN)}
            return JSONResponse({"status": self.state, "detail": state}, 503, wait)
        again = "" if failed else f'<meta http-equiv="refresh" content="{AGAIN}">'
        return HTMLResponse(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(name)}</title>{again}<style>{_STYLE}</style></head>"
            f'<body><h1>{escape(name)}</h1><p role="status">{escape(state)}</p>'
            '<p><a href="../">Back to the first page</a></p></body></html>',
            503 if failed else 200,
        )
