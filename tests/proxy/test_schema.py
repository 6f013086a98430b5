"""The proxy's answers keep to OpenAI's own OpenAPI file, and to the proxy's."""

import importlib
import json
from pathlib import Path

import jsonschema
from tests.cases import case

from batchmeter_proxy.app import ROUTES
from batchmeter_proxy.openapi import path_of

CHAT = "/v1/chat/completions"
FILE = Path(__file__).parents[2] / "plugins" / "batchmeter_proxy" / "openapi.json"
SPEC = json.loads((Path(__file__).parent.parent / "data" / "openai" / "openapi-files-batches.json").read_text())


def keeps_to(name: str, answer: dict, components: dict | None = None) -> None:
    """OpenAI's file knows no null, OpenAI sends them all the same: they count as absent."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": components or SPEC["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer if components else _without_nulls(answer))


def _without_nulls(value):
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


async def test_every_answer_has_openais_shape(http, lines, clock, client):
    ours = (await http.get("/openapi.json")).json()["components"]

    async def get(path: str, theirs: str, mine: str) -> dict:
        answer = (await http.get(path)).json()
        keeps_to(theirs, answer)
        keeps_to(mine, answer, ours)
        return answer

    async def run(script: str) -> str:
        upload = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", lines(10))}}
        file = (await http.post("/v1/files", **upload)).json()
        asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        batch = (await http.post("/v1/batches", json=asked | {"metadata": {"sandbox": script}})).json()
        for _ in range(4):
            clock.advance(600)
            seen = await get(f"/v1/batches/{batch['id']}", "Batch", "Batch")
            await get("/v1/batches", "ListBatchesResponse", "BatchList")
        for one in (await get("/v1/files", "ListFilesResponse", "FileList"))["data"]:
            await get(f"/v1/files/{one['id']}", "OpenAIFile", "FileObject")
        gone = (await http.delete(f"/v1/files/{file['id']}")).json()
        keeps_to("DeleteFileResponse", gone)
        keeps_to("FileDeleted", gone, ours)
        return seen["status"]

    for script in ("", "fail=0.2", "outcome=failed", "outcome=expired", "outcome=cancelled"):
        with case(script):
            assert await run(script) in ("completed", "failed", "expired", "cancelled", "in_progress")
    keeps_to("Error", (await http.get("/v1/batches/none")).json(), ours)
    await client.tracker.idle()


async def test_the_ledgers_answer_is_the_providers_answer(http, lines, clock, sandbox, client):
    """A caller that asks after the end cannot tell who answered."""
    upload = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", lines(10))}}
    file = (await http.post("/v1/files", **upload)).json()
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h", "metadata": {"a": "ü", "b": ""}}
    batch = (await http.post("/v1/batches", json=body)).json()
    clock.advance(2000)
    seen = [(await http.get(f"/v1/batches/{batch['id']}")).json() for _ in range(3)]
    assert seen[0]["status"] == "completed"
    assert seen[0] == seen[1] == seen[2]
    assert seen[0]["metadata"] == {"a": "ü", "b": ""}
    sandbox.engine.faults.add("server_error*5 GET /v1/batches")
    assert (await http.get(f"/v1/batches/{batch['id']}")).json() == seen[0]
    await client.tracker.idle()


def test_the_openapi_file_has_every_route_and_no_other():
    routes = {(route.method.lower(), path_of(route)) for route in ROUTES if route.described}
    described = json.loads(FILE.read_text(encoding="utf-8"))["paths"]
    assert {(method, path) for path, methods in described.items() for method in methods} == routes
    for route in (one for one in ROUTES if one.described):
        operation = described[path_of(route)][route.method.lower()]
        assert (operation["summary"], operation["operationId"]) == (route.summary, route.name)
        assert (operation["security"] == []) == route.public


def test_the_openapi_file_has_the_models_as_they_are(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs"))
    page = importlib.import_module("_pages.openapi").page()
    assert FILE.read_text(encoding="utf-8") == page, "run python docs/generate.py"
