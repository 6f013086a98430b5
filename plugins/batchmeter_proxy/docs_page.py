"""`/docs`: Swagger UI over this proxy's own description, all of it served from here; without scripts, a table."""

import asyncio
import gzip
import html
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.responses import HTMLResponse, Response

from batchmeter import __version__

from .call import Call
from .errors import Refusal
from .routes import Route

VERSION = "5.35.0"
"""Of Swagger UI: swagger-ui-bundle.js and swagger-ui.css as its makers built them (LICENSE.swagger-ui), without the
lines that name their source maps."""
TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "docs.js": "text/javascript"}
"""The page's parts, and their media types."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""The bundle draws its icons from `data:` addresses; nothing else is loaded that is not ours."""
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def docs_page(description: Mapping[str, Any]) -> bytes:
    """The page, with the operations as a table for browsers without scripts."""
    paths: Mapping[str, Mapping[str, Any]] = description["paths"]
    rows = "".join(
        _row(method, path, operation) for path, methods in paths.items() for method, operation in methods.items()
    )
    return _PAGE.replace("ROWS", rows).replace("VERSION", f"{VERSION}-{__version__}").encode()


async def docs(call: Call) -> Response:
    return HTMLResponse(await asyncio.to_thread(call.state.docs), headers=HEADERS)


async def part(call: Call) -> Response:
    """One of the page's files; small where the client takes gzip."""
    name = call.ids["name"]
    if name not in TYPES:
        raise Refusal(404, f"No such part of this page: {name[:80]}", code="unknown_url")
    small = "gzip" in call.request.headers.get("accept-encoding", "")
    headers = HEADERS | {"cache-control": "public, max-age=86400", "vary": "accept-encoding"}
    if small:
        headers["content-encoding"] = "gzip"
    return Response(_compressed(name) if small else _content(name), media_type=TYPES[name], headers=headers)


@cache
def _content(name: str) -> bytes:
    return (files(__package__ or "") / "static" / name).read_bytes()


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_content(name), mtime=0)


def _row(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    more = f" <small>?{html.escape(', '.join(parameters))}</small>" if parameters else ""
    summary = html.escape(operation["summary"])
    return f"<tr><td>{method.upper()}<td><code>{html.escape(path)}</code>{more}<td>{summary}"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>batchmeter: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css?VERSION">
<script src="docs/swagger-ui-bundle.js?VERSION" defer></script>
<script src="docs/docs.js?VERSION" defer></script>
<div id="api"></div>
<noscript><h1>batchmeter</h1><p>The whole description: <a href="openapi.json">openapi.json</a>.</p>
<table>ROWS</table></noscript></html>"""

ROUTES = (
    Route("GET", "/docs", docs, "This description, as a page to try it on", versioned=False, public=True),
    Route("GET", "/docs/{name}", part, "A part of that page", versioned=False, public=True, described=False),
)
