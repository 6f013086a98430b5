"""`/openapi.json`: the file `openapi.json`, and the routes that plugins add."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from starlette.responses import Response

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


def path_of(route: Route) -> str:
    path = route.path.replace(":path}", "}")
    return f"/v1{path}" if route.versioned else path


def _operation(route: Route) -> dict[str, Any]:
    """A plugin's."""
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path_of(route))
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
    return Response(await asyncio.to_thread(call.state.openapi), media_type="application/json")


ROUTES = (Route("GET", "/openapi.json", openapi, "OpenAPI description", versioned=False, public=True),)
