"""Every JSON answer of /files and /batches keeps to OpenAI's own OpenAPI file, and to what it really sent."""

import json
from pathlib import Path

import jsonschema
import pytest

from batchmeter.models import Batch

DATA = Path(__file__).parent.parent / "data" / "openai"
SPEC = json.loads((DATA / "openapi-files-batches.json").read_text())


def keeps_to(name: str, answer: dict) -> None:
    """The file knows no null, OpenAI sends them all the same: they count as absent."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}
    jsonschema.Draft202012Validator(schema).validate(_without_nulls(answer))


def _without_nulls(value):
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def get(http):
    async def raw(path: str) -> dict:
        return (await http.get(path)).json()

    return raw


@pytest.mark.parametrize("script", ["fail=0.2", "outcome=failed", "outcome=expired", "outcome=cancelled", "fail=1"])
async def test_batches_at_every_age(submit, get, clock, script):
    batch = await submit(script=script)
    for _ in range(24):
        keeps_to("Batch", await get(f"/batches/{batch.id}"))
        keeps_to("ListBatchesResponse", await get("/batches"))
        clock.advance(60)


async def test_files_of_every_purpose(http, submit, get, clock):
    await submit(script="fail=0.2")
    clock.advance(2000)
    page = await get("/files")
    keeps_to("ListFilesResponse", page)
    assert [file["purpose"] for file in page["data"]].count("batch_output") == 2
    for file in page["data"]:
        keeps_to("OpenAIFile", await get(f"/files/{file['id']}"))
    gone = await http.delete(f"/files/{page['data'][0]['id']}")
    keeps_to("DeleteFileResponse", gone.json())


def _shape(value):
    """Keys all the way down; null fits anything."""
    return {name: _shape(item) for name, item in value.items()} if isinstance(value, dict) else None


async def test_a_finished_batch_has_the_keys_of_a_real_one(submit, get, clock):
    real = json.loads((DATA / "batch_completed_with_usage_2026-09.json").read_text())
    batch = await submit()
    clock.advance(2000)
    ours = await get(f"/batches/{batch.id}")
    assert _shape(ours | {"metadata": None}) == _shape(real | {"metadata": None})
    assert Batch.model_validate(ours).ended


async def test_a_failed_batch_has_the_errors_of_a_real_one(submit, get, clock):
    real = json.loads((DATA / "batch_failed_validation_2026-09.json").read_text())
    batch = await submit(b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}')
    clock.advance(2000)
    ours = await get(f"/batches/{batch.id}")
    [told], [expected] = ours["errors"]["data"], real["errors"]["data"]
    assert set(told) == set(expected)
    assert {name: told[name] for name in ("code", "line", "param")} == {
        name: expected[name] for name in ("code", "line", "param")
    }
    assert ours["request_counts"] == real["request_counts"]
