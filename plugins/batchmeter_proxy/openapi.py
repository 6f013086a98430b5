"""`/openapi.json` and `/docs`: the file `openapi.json`, and the routes that plugins add."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from starlette.responses import HTMLResponse, Response

from batchmeter import __version__

from .call import ACCOUNT_HEADER, Call
from .routes import Route

_ERROR = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_ACCOUNT = {"name": ACCOUNT_HEADER, "in": "header", "schema": {"type": "string"}}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes; the shortest spelling of each path stands for all."""
    text = files(__package__ or "").joinpath("openapi.json").read_text(encoding="utf-8")
    described: dict[str, Any] = json.loads(text)
    known: Mapping[str, Mapping[str, Any]] = described["paths"]
    paths: dict[str, dict[str, Any]] = {}
    for route in (route for route in routes if route.described):
        path, method = path_of(route), route.method.lower()
        operation = known.get(path, {}).get(method) or _operation(route)
        paths.setdefault(path, {}).setdefault(method, operation)
    described["paths"] = paths
    described["info"]["version"] = __version__
    return described


def docs_page(description: Mapping[str, Any]) -> bytes:
    """A page without scripts or anything from elsewhere."""
    paths: Mapping[str, Mapping[str, Any]] = description["paths"]
    rows = "".join(
        _row(method, path, operation) for path, methods in paths.items() for method, operation in methods.items()
    )
    return _PAGE.replace("ROWS", rows).replace("VERSION", __version__).encode()


def path_of(route: Route) -> str:
    return f"/v1{route.path}" if route.versioned else route.path


def _operation(route: Route) -> dict[str, Any]:
    """A plugin's."""
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    account = [_ACCOUNT] if route.versioned else []
    return {
        **route.operation,
        "summary": route.summary,
        "operationId": route.name,
        "tags": [route.path.split("/")[1]],
        "parameters": [*named, *route.operation.get("parameters", ()), *account],
        "responses": {**route.operation.get("responses", {"200": {"description": "Done"}}), "default": _ERROR},
        "security": [] if route.public else [{"bearer": []}, {"x-api-key": []}],
    }


async def openapi(call: Call) -> Response:
    return Response(call.state.openapi, media_type="application/json")


async def docs(call: Call) -> Response:
    return HTMLResponse(call.state.docs)


def _row(method: str, path: str, operation: Mapping[str, Any]) -> str:
    asked = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    more = f" <small>?{html.escape(', '.join(asked))}</small>" if asked else ""
    summary = html.escape(operation["summary"])
    return f"<tr><td>{method.upper()}<td><code>{html.escape(path)}</code>{more}<td>{summary}"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>batchmeter</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem}
td{padding:.3rem 1rem .3rem 0;border-top:1px solid #8884}code{font-size:1em}</style>
<h1>batchmeter VERSION</h1>
<p>Files and batches as OpenAI's API has them: point any OpenAI client's <code>base_url</code> at <code>/v1</code> here.
Each path is there without <code>/v1</code> too, and as <code>/{account}/v1/…</code>. The account comes from the path, the
header <code>custom-llm-provider</code>, the query or the form, else from what is known of the id, else it is the default.
The whole description: <a href="openapi.json">openapi.json</a>.</p>
<table>ROWS</table></html>"""

ROUTES = (
    Route("GET", "/docs", docs, "This page", versioned=False, public=True),
    Route("GET", "/openapi.json", openapi, "OpenAPI description", versioned=False, public=True),
)
