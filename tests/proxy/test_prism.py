"""Prism between the official client and our server: every request and answer held against OpenAI's own OpenAPI file.

Not `/files/{id}/content`, whose bytes that file declares to be a JSON string.
"""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from tests.heavy import HEAVY

import openai
from batchmeter.testing.sandbox import sandbox_thread

from .served import serving

pytestmark = pytest.mark.skipif(
    not HEAVY, reason="starts a Node program: set BATCHMETER_HEAVY=1; test_schema.py is short"
)
SPEC = json.loads((Path(__file__).parent.parent / "data" / "openai" / "openapi-files-batches.json").read_text())
CHAT = "/v1/chat/completions"


def with_nulls(spec):
    """OpenAI's file knows no null, OpenAI sends them all the same: what is not required may be one."""
    if isinstance(spec, list):
        return [with_nulls(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    read = {name: with_nulls(value) for name, value in spec.items()}
    required = spec.get("required")
    if isinstance(spec.get("properties"), dict):
        for name, schema in read["properties"].items():
            if name not in (required or ()):
                read["properties"][name] = {"anyOf": [schema, {"type": "null"}]}
    return read


@pytest.fixture(scope="module")
def prism(emulator, tmp_path_factory, unused_tcp_port_factory):
    """Prism's address, in front of a proxy that serves a sandbox; a violation of the file is its answer 4xx or 5xx."""
    folder = tmp_path_factory.mktemp("prism")
    spec = folder / "openapi.json"
    spec.write_text(json.dumps(with_nulls(SPEC)))
    (folder / "batchmeter.toml").write_text("[proxy]\nfreshness = 0\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("BATCHMETER_PLUGINS", "")
    with sandbox_thread(speed=20_000) as sandbox, serving(sandbox.url, folder) as (url, _):
        where = ("-h", "127.0.0.1", "-p", str(unused_tcp_port_factory()))
        yield emulator("prism", "prism", "proxy", *where, "--errors", str(spec), f"{url}/v1")
    patch.undo()


@pytest.fixture
def sdk(prism):
    with openai.OpenAI(base_url=prism, api_key="sk-1234", max_retries=0) as opened:
        yield opened


def test_every_call_keeps_to_it(sdk, lines):
    file = sdk.files.create(file=("in.jsonl", lines(20)), purpose="batch")
    assert sdk.files.retrieve(file.id).id == file.id
    for script in ("", "fail=0.2", "outcome=failed", "outcome=expired"):
        asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        batch = sdk.batches.create(**asked, metadata={"sandbox": script})
        while sdk.batches.retrieve(batch.id).status not in ("completed", "failed", "expired"):
            pass
    cancelled = sdk.batches.create(**asked)
    with suppress(openai.ConflictError):  # it may have completed before
        assert sdk.batches.cancel(cancelled.id).status in ("cancelling", "cancelled", "completed")
    assert len(list(sdk.batches.list(limit=2))) == 5
    assert file.id in [one.id for one in sdk.files.list(limit=2)]
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.batches.retrieve("batch_none")


def test_it_does_look(sdk, lines):
    """Requests that the file does not allow are Prism's to refuse, before our server hears of it."""
    file = sdk.files.create(file=("in.jsonl", lines(1)), purpose="batch")
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata="none")
    assert "stoplight.io/prism" in caught.value.response.text
