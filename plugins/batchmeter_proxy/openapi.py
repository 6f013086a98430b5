"""`/openapi.json` and `/docs`, made from the table of routes."""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import HTMLResponse, JSONResponse, Response

from batchmeter import __version__
from batchmeter.access import CostReport
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Settlement
from batchmeter.models import Batch, FileDeleted, FileObject

from .call import ACCOUNT_HEADER, Call
from .describe import gives_text, ref
from .routes import Route

_MODELS: tuple[type[BaseModel], ...] = (
    *(Batch, FileObject, FileDeleted, Settlement, CostReport),
    *(BatchCreated, BatchSucceeded, BatchFailed),
)


def _list_of(name: str) -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref(name)},
            "first_id": text,
            "last_id": text,
            "has_more": {"type": "boolean"},
        },
    }


_EXPIRY = {
    "type": "object",
    "properties": {
        "anchor": {"const": "created_at"},
        "seconds": {"type": "integer", "minimum": 3600, "maximum": 2592000},
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string", "description": "The account that it is configured for"},
    },
}
_SCHEMAS: Mapping[str, Any] = {
    "BatchList": _list_of("Batch"),
    "FileList": _list_of("FileObject"),
    "Model": _MODEL,
    "ModelList": {
        "type": "object",
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}},
    },
    "BatchCost": {
        "anyOf": [ref("Settlement"), ref("Unsettled")],
        "required": ["object", "settled"],
        "properties": {"object": {"const": "batch.cost"}, "settled": {"type": "boolean"}},
    },
    "Unsettled": {
        "type": "object",
        "required": ["batch_id", "status", "cost"],
        "properties": {"batch_id": {"type": "string"}, "status": {"type": "string"}, "cost": {"type": "null"}},
    },
    "EventList": {
        "type": "object",
        "required": ["object", "data", "has_more", "last_id"],
        "properties": {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": {"anyOf": [ref("BatchCreated"), ref("BatchSucceeded"), ref("BatchFailed")]},
            },
            "has_more": {"type": "boolean"},
            "last_id": {"type": "string"},
        },
    },
    "Received": {"type": "object", "properties": {"received": {"type": "boolean"}, "woken": {"type": "boolean"}}},
    "Health": {"type": "object", "properties": {"status": {"type": "string"}}},
    "CreateBatch": {
        "type": "object",
        "required": ["input_file_id", "endpoint"],
        "properties": {
            "input_file_id": {"type": "string"},
            "endpoint": {"type": "string", "examples": ["/v1/chat/completions"]},
            "completion_window": {"type": "string", "default": "24h"},
            "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}, "maxProperties": 16},
            "output_expires_after": _EXPIRY,
            "custom_llm_provider": {"type": "string", "description": "An account's name"},
        },
    },
    "CreateFile": {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "purpose": {"type": "string", "examples": ["batch"]},
            "file": {"type": "string", "format": "binary"},
            "expires_after[anchor]": {"type": "string"},
            "expires_after[seconds]": {"type": "integer"},
            "custom_llm_provider": {"type": "string", "description": "An account's name"},
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                    "problems": {"type": "array", "items": {"type": "object"}},
                },
            }
        },
    },
}
_ERROR = {"description": "Refused", "content": {"application/json": {"schema": ref("Error")}}}
_ACCOUNT = {
    "name": ACCOUNT_HEADER,
    "in": "header",
    "schema": {"type": "string"},
    "description": "An account's name; else the account that the id belongs to, else the default",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1; the shortest spelling of each path stands for all."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = f"/v1{route.path}" if route.versioned else route.path
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    _, ours = models_json_schema(
        [(model, "serialization") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "batchmeter",
            "version": __version__,
            "description": "Files and batches as OpenAI's API has them; every path also without /v1 and as /{account}/v1.",
        },
        "paths": paths,
        "components": {
            "schemas": {**ours["$defs"], **_SCHEMAS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
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
    return JSONResponse(call.state.description)


async def docs(call: Call) -> Response:
    """A page without scripts or anything from elsewhere."""
    paths: Mapping[str, Mapping[str, Any]] = call.state.description["paths"]
    rows = "".join(
        _row(method, path, operation) for path, methods in paths.items() for method, operation in methods.items()
    )
    return HTMLResponse(_PAGE.replace("ROWS", rows).replace("VERSION", __version__))


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
    Route("GET", "/docs", docs, "This page", versioned=False, public=True, operation=gives_text("text/html")),
    Route("GET", "/openapi.json", openapi, "OpenAPI description", versioned=False, public=True),
)
