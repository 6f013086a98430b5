"""Recorded traffic of OpenAI through our SDK and an observed SDK: the official SDK makes the same of the same bytes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.vendor_kit import Haste

import batchmeter
import openai
from batchmeter.config import Settings
from batchmeter.errors import APIStatusError
from batchmeter.testing.recorder import Recorder

from .conftest import OPENAI, Exchange, Replay


@pytest.fixture
def log() -> Recorder:
    return Recorder()


@pytest.fixture
def meter(tmp_path: Path, log: Recorder) -> Iterator[Callable[[Replay], batchmeter.Client]]:
    """A client of ours whose default account is the replay."""
    made: list[batchmeter.Client] = []

    def make(playing: Replay) -> batchmeter.Client:
        account = {"api_key": "sk-test", "api_base": f"{playing.url}/v1", "max_retries": 0}
        settings, haste = Settings(track=False, load=(), accounts={"openai": account}), Haste(tmp_path)
        made.append(batchmeter.Client(settings=settings, ledger=haste.ledger, plugins=[log, haste], environ={}))
        return made[-1]

    yield make
    for client in made:
        client.close()


def official(playing: Replay) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{playing.url}/v1", api_key="sk-test", max_retries=0)


def told(call: Callable[[], Any]) -> Any:
    """The call's outcome as plain data, of either SDK."""
    try:
        answer = call()
    except (openai.APIStatusError, APIStatusError) as error:
        body: Any = error.body
        return type(error).__name__, error.status_code, body.get("error", body) if isinstance(body, dict) else body
    if isinstance(answer, batchmeter.Batch | batchmeter.FileObject | batchmeter.Page) or hasattr(answer, "deleted"):
        return answer.model_dump(mode="json")
    return answer.to_dict(mode="json") if hasattr(answer, "to_dict") else answer.content


def like(mine: Any, expected: Any) -> Any:
    """Ours, without the optional fields that the other SDK does not show."""
    if isinstance(mine, dict) and isinstance(expected, dict):
        return {name: like(value, expected[name]) for name, value in mine.items() if name in expected}
    if isinstance(mine, list) and isinstance(expected, list) and len(mine) == len(expected):
        return [like(*both) for both in zip(mine, expected, strict=True)]
    return mine


def ask(client: Any, exchange: Exchange) -> Any:
    """The same request by method; the two SDKs have the same ones."""
    kind, _, rest = exchange.path.removeprefix("/v1/").partition("/")
    name, _, action = rest.partition("/")
    where = client.files if kind == "files" else client.batches
    if exchange.method == "GET" and not rest:
        after = {"after": exchange.page} if exchange.page else {}
        return told(lambda: where.list(**after))
    if exchange.method == "GET":
        return told(lambda: where.content(name) if action else where.retrieve(name))
    if exchange.method == "DELETE":
        return told(lambda: where.delete(name))
    if action == "cancel":
        return told(lambda: where.cancel(name))
    if kind == "files":
        return told(lambda: where.create(file=("in.jsonl", b"{}\n"), purpose="batch"))
    asked = json.loads(exchange.sent)
    return told(lambda: where.create(**asked))


@pytest.mark.parametrize("story", OPENAI)
def test_the_sdk_makes_the_same_of_it_as_the_official_one(replay, meter, story):
    playing, for_them = replay(story), replay(story)
    ours = meter(playing)
    with official(for_them) as theirs:
        for exchange in playing.exchanges:
            mine, expected = ask(ours, exchange), ask(theirs, exchange)
            assert like(mine, expected) == expected, f"{exchange.method} {exchange.path}"
    assert (playing.strangers, for_them.strangers) == ([], [])


@pytest.mark.parametrize("story", OPENAI)
def test_an_observed_sdk_sees_what_an_unobserved_one_sees(replay, meter, story):
    playing, plain = replay(story), replay(story)
    with official(playing) as observed, official(plain) as unobserved:
        batchmeter.observe(observed, using=meter(replay(story)))
        for exchange in playing.exchanges:
            assert ask(observed, exchange) == ask(unobserved, exchange)
    assert by_the_app(playing) == by_the_app(plain)


def by_the_app(playing: Replay) -> list[tuple[str, str, dict[str, list[str]]]]:
    """The app's own requests, without the meter's at the same address, which settle a batch that it saw end."""
    theirs = [request for request in playing.requests if request.headers["user-agent"].startswith("OpenAI/")]
    return [(request.method, request.path, request.query) for request in theirs]


ENDED = {
    "openai-01-responses-completed": "completed",
    "openai-03-chat-completed": "completed",
    "openai-06-one-request": "completed",
    "openai-23-all-requests-failed": "completed",
    "openai-25-failed-invalid-json": "failed",
    "openai-26-96-of-100": "completed",
}


@pytest.mark.parametrize(("story", "status"), ENDED.items())
def test_a_batch_settles_with_what_its_files_say(replay, meter, log, story, status):
    playing = replay(story)
    client = meter(playing)
    created = next(one for one in playing.exchanges if one.method == "POST" and one.path == "/v1/batches")
    batch = client.batches.create(**json.loads(created.sent))
    settlement = client.batches.wait(batch.id)
    assert settlement.batch.status == status
    last = [one.answer.json for one in playing.exchanges if one.path == f"/v1/batches/{batch.id}"][-1]
    succeeded, read, written = sums(playing, last)
    assert (settlement.request_counts.succeeded, settlement.request_counts.total) == (
        succeeded,
        (last.get("request_counts") or {}).get("total", 0),
    )
    assert (settlement.usage.input_tokens, settlement.usage.output_tokens) == (read, written)
    assert settlement.cost.total is not None
    assert (settlement.cost.total > 0) == (succeeded > 0)
    client.close()
    assert [event.type for event in log.events] == [
        "acreate_batch",
        "batch_failure" if status == "failed" else "batch_success",
    ]


def sums(playing: Replay, batch: dict[str, Any]) -> tuple[int, int, int]:
    """Good lines, tokens read, tokens written, added up from the recorded output file alone."""
    path = f"/v1/files/{batch.get('output_file_id')}/content"
    contents = [one.answer.body for one in playing.exchanges if one.path == path]
    usages = [json.loads(line)["response"]["body"]["usage"] for line in (contents or [b""])[0].splitlines() if line]
    read = sum(usage.get("prompt_tokens", usage.get("input_tokens")) for usage in usages)
    written = sum(usage.get("completion_tokens", usage.get("output_tokens")) for usage in usages)
    return len(usages), read, written
