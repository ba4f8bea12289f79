"""What of the web server a visitor may ask: the page's own addresses, in small bodies, no others.

Gradio serves every app with routes that this one does not need: uploads and recordings of any size,
a fetcher of addresses elsewhere, session states written to disk, calls that pass the queue by.
"""

from collections.abc import Sequence

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ckf_demo.data.rating_files import LARGEST_FILE

LARGEST_BODY = 1 << 18
"""Bytes of a request's body. The largest that the page sends is a list of rated titles."""
RATINGS = "/ratings"
"""Where files of somebody's own ratings are read (`ckf_demo.ui.reading`)."""
LARGEST = {RATINGS: LARGEST_FILE}
"""The bytes of a body where others than `LARGEST_BODY` are read."""

PAGE = frozenset({"/", "/config", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json"})
# Where something answers for the process itself, beside the page.
HEALTH = frozenset({"/healthz"})
LIBRARY = ("/static/", "/assets/", "/svelte/", "/pwa_icon")
API = "/gradio_api/"
API_ROUTES = frozenset(
    "app_id cancel component_server info login_check openapi.json queue/data queue/join "
    "queue/status reset startup-events theme.css token user".split()
)
API_FAMILIES = ("call/", "heartbeat/", "mcp/", "file=")
REMOTE = "://"


def is_open(path: str) -> bool:
    """Whether a path, as the server has decoded it, is one that the page answers."""
    if path.startswith(API):
        route = path.removeprefix(API).rstrip("/")
        if route.startswith("file=") and REMOTE in route:
            return False
        return route in API_ROUTES or f"{route}/".startswith(API_FAMILIES)
    if path == RATINGS:
        return True
    return path in PAGE | HEALTH or path.rstrip("/") in PAGE or path.startswith(LIBRARY)


class OpenRoutes:
    """Middleware: answers 404 where nothing is open, 413 to bodies over `LARGEST_BODY`.

    ``below`` are paths without slashes where other pages stand, which answer the same.
    """

    def __init__(self, app: ASGIApp, below: Sequence[str] = ()) -> None:
        self.app, self._below = app, below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A server below a prefix hands over the whole path, and the prefix beside it.
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        path = self._within(path)
        if not is_open(path):
            await JSONResponse({"detail": "Not found"}, 404)(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, _guarded(send))
            return
        most = LARGEST.get(path, LARGEST_BODY)
        body = await _body(scope, receive, most)
        if body is None:
            problem = f"the request is larger than {most:,} bytes; send less"
            await JSONResponse({"detail": problem}, 413)(scope, receive, send)
            return
        await self.app(scope, _again(body, receive), _guarded(send))

    def _within(self, path: str) -> str:
        """The path as the page sees it to which it belongs."""
        for name in self._below:
            if path == f"/{name}" or path.startswith(f"/{name}/"):
                return path.removeprefix(f"/{name}") or "/"
        return path


async def _body(scope: Scope, receive: Receive, most: int) -> bytes | None:
    """The whole body, or None as soon as it is known to be larger than ``most`` bytes."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 9 or int(length) > most:
        return None
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` for an app behind, which is given the body that was read, and then the rest."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


def _guarded(send: Send) -> Send:
    """``send`` with a header that keeps browsers from taking data for a page."""

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": headers}
        await send(message)

    return give
