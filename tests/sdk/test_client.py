"""AsyncClient against the sandbox over HTTP: one acreate_batch, one ending, exact cost, whatever is lost on the way."""

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import (
    APIConnectionError,
    BadRequestError,
    ConfigError,
    CreateUnknownError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    SettlementError,
    UsageError,
)
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox, serve_sandbox
from batchmeter.testing.wire import Answer, Received, serving

Make = Callable[..., AsyncClient]
NO_FILES = (
    ("", "empty text, where a path is meant"),
    (("a.jsonl", ""), "empty text, where a path is meant"),
    (("a.jsonl", '{"custom_id": "a"}\n'), "give content as bytes"),
    (("a.jsonl", "x" * 5000), "give content as bytes"),
    ("/", "is a folder: /"),
)


async def submit(client: AsyncClient, requests: Path, **arguments: object) -> str:
    file = await client.files.create(file=requests, purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", **arguments)
    return batch.id


async def test_submit_and_wait_gives_one_event_of_each_and_the_sandbox_s_sums(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url) as client:
        batch_id = await submit(client, requests, metadata={"team": "search"}, attribution={"user": "u1"})
        settlement = await client.batches.wait(batch_id)
    totals = await sandbox.engine.totals(batch_id)
    assert settlement.status == "completed"
    assert settlement.request_counts.succeeded == 20
    assert settlement.usage.input_tokens == totals.usage.input_tokens
    assert settlement.usage.output_tokens == totals.usage.output_tokens
    assert log.types == ["acreate_batch", "batch_success"]
    created, ended = log.events[0], log.endings[0]
    assert created.metadata == ended.metadata == {"team": "search"}
    assert created.attribution.user == ended.attribution.user == "u1"
    assert "batchmeter_id" not in (ended.batch.metadata or {})
    assert ended.cost.total == settlement.cost.total
    assert isinstance(settlement.cost.total, Decimal)
    assert settlement.cost.total > 0


async def test_a_tracker_in_the_background_settles_what_nobody_waits_for(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url, track=True) as client:
        batch_id = await submit(client, requests)
        batch = await client.batches.retrieve(batch_id)
        while not batch.ended:
            batch = await client.batches.retrieve(batch_id)
        assert batch.status == "completed"
    assert log.types == ["acreate_batch", "batch_success"]


async def test_every_observer_only_advances_the_same_batch(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url, track=True) as client:
        batch_id = await submit(client, requests)
        await asyncio.gather(
            client.batches.wait(batch_id),
            client.batches.wait(batch_id),
            *(client.batches.retrieve(batch_id) for _ in range(10)),
            *(client.batches.list() for _ in range(3)),
        )
        again = await client.batches.wait(batch_id)
        assert again == await client.batches.settlement(batch_id)
    assert log.types == ["acreate_batch", "batch_success"]


async def test_a_second_client_on_the_ledger_goes_on_where_the_first_stopped(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url) as first:
        batch_id = await submit(first, requests, metadata={"run": "7"})
    async with make_client(sandbox.url, track=True) as second:
        await second.batches.wait(batch_id)
    assert log.types == ["acreate_batch", "batch_success"]
    assert log.endings[0].metadata == {"run": "7"}


async def test_a_lost_create_answer_is_found_and_not_repeated(make_client: Make, requests: Path, log: Recorder) -> None:
    async with serve_sandbox(faults=["lose_answer POST /v1/batches"]) as sandbox, make_client(sandbox.url) as client:
        batch_id = await submit(client, requests)
        listed = await client.batches.list()
        assert [batch.id for batch in listed] == [batch_id]
        await client.batches.wait(batch_id)
    assert log.types == ["acreate_batch", "batch_success"]


async def test_nobody_listening_is_one_clear_error_and_leaves_no_intent(make_client: Make, log: Recorder) -> None:
    async with make_client("http://127.0.0.1:9/v1") as client:
        with pytest.raises(APIConnectionError, match="127.0.0.1:9") as caught:
            await client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions")
        assert not isinstance(caught.value, CreateUnknownError)
        assert await client.ledger.open_intents(created_before=client.ledger.now() + 1) == []
    assert log.events == []


async def test_a_refused_create_raises_the_providers_error_and_leaves_no_intent(
    make_client: Make, sandbox: Sandbox, log: Recorder
) -> None:
    async with make_client(sandbox.url) as client:
        with pytest.raises(BadRequestError) as caught:
            await client.batches.create(input_file_id="file-1", endpoint="/v1/nonsense")
        assert caught.value.status_code == 400
        assert await client.ledger.open_intents(created_before=client.ledger.now() + 1) == []
    assert log.events == []


@pytest.mark.parametrize("shown", [b'"id": ""', b'"id": null', b'"object": "batch"'])
async def test_create_without_an_id_is_looked_for_by_its_tag(make_client: Make, log: Recorder, shown: bytes) -> None:
    """The server made the batch, and its answer names none: no row without a name, no second create, one event."""
    sent: list[bytes] = []

    async def provider(request: Received) -> Answer:
        if request.method == "POST":
            sent.append(request.body)
            return Answer(body=b'{%s, "status": "validating", "endpoint": "/v1/chat/completions"}' % shown)
        listed = {"id": "batch_1", "status": "in_progress", "created_at": int(time.time())} | json.loads(sent[0])
        return Answer(body=json.dumps({"object": "list", "data": [listed], "has_more": False}).encode())

    async with serving(provider) as address, make_client(address) as client:
        batch = await client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions")
        assert (batch.id, len(sent)) == ("batch_1", 1)
        assert [one.batch_id for one in await client.ledger.list_batches()] == ["batch_1"]
        await client.deliverer.drain(5)
    assert [(event.type, event.batch_id) for event in log.events] == [("acreate_batch", "batch_1")]


@pytest.mark.parametrize("blank", ["", "  "])
async def test_create_without_an_id_that_no_list_shows_is_unknown(make_client: Make, log: Recorder, blank: str) -> None:
    async def provider(request: Received) -> Answer:
        made = json.dumps({"id": blank, "status": "validating", "endpoint": "/v1/chat/completions"}).encode()
        return Answer(body=made if request.method == "POST" else b'{"object": "list", "data": [], "has_more": false}')

    async with serving(provider) as address, make_client(address) as client:
        with pytest.raises(CreateUnknownError, match=f"the id '{blank}', which is none"):
            await client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions")
        assert len(await client.ledger.open_intents(created_before=client.ledger.now() + 1)) == 1
        assert await client.ledger.list_batches() == []
    assert log.events == []


async def test_a_server_error_after_the_batch_was_made_is_not_repeated_either(
    make_client: Make, requests: Path, log: Recorder
) -> None:
    async with serve_sandbox(faults=["server_error POST /v1/batches"]) as sandbox, make_client(sandbox.url) as client:
        with pytest.raises(InternalServerError) as caught:
            await submit(client, requests)
        assert "may or may not exist" in caught.value.__notes__[0]
        assert len(await client.ledger.open_intents(created_before=client.ledger.now() + 1)) == 1
        assert len(await client.batches.list()) == 0
    assert log.events == []


async def test_a_create_that_could_not_be_sent_leaves_no_intent(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = Settings(ledger=":memory:", track=False, load=(), accounts={"openai": {"api_base": sandbox.url}})
    async with AsyncClient(settings=settings, environ={}) as client:
        with pytest.raises(ConfigError, match="has no API key"):
            await client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions")
        assert await client.ledger.open_intents(created_before=client.ledger.now() + 1) == []


async def test_an_idempotency_key_gives_the_first_batch_after_a_restart_too(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url) as client:
        first = await submit(client, requests, idempotency_key="k1")
        assert await submit(client, requests, idempotency_key="k1") == first
    async with make_client(sandbox.url) as client:
        assert await submit(client, requests, idempotency_key="k1") == first
        assert await submit(client, requests, idempotency_key="k2") != first
        await client.deliverer.drain(5)
    assert log.types == ["acreate_batch", "acreate_batch"]


async def test_a_create_that_was_refused_may_be_repeated_with_its_key(
    make_client: Make, sandbox: Sandbox, requests: Path
) -> None:
    async with make_client(sandbox.url) as client:
        with pytest.raises(BadRequestError):
            await client.batches.create(input_file_id="file-1", endpoint="/v1/nonsense", idempotency_key="k")
        assert (await submit(client, requests, idempotency_key="k")).startswith("batch_")


async def test_waiting_for_a_batch_made_elsewhere_adopts_it(
    make_client: Make, sandbox: Sandbox, requests: Path, tmp_path: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url, ledger=":memory:") as elsewhere:
        batch_id = await submit(elsewhere, requests)
    log.events.clear()
    async with make_client(sandbox.url) as client:
        settlement = await client.batches.wait(batch_id)
    assert settlement.status == "completed"
    assert log.types == ["acreate_batch", "batch_success"]
    assert [event.adopted for event in log.events] == [True, True]


async def test_waiting_gives_up_in_time_and_the_batch_stays_tracked(make_client: Make, requests: Path) -> None:
    async with serve_sandbox(speed=1) as sandbox, make_client(sandbox.url) as client:
        batch_id = await submit(client, requests)
        with pytest.raises(SettlementError, match=batch_id):
            await client.batches.wait(batch_id, timeout=0.05)
        tracked = await client.ledger.get_batch(batch_id)
        assert tracked is not None
        assert tracked.next_poll_at is not None


async def test_files_in_every_form_and_back(make_client: Make, sandbox: Sandbox, requests: Path) -> None:
    data = requests.read_bytes()

    async def chunks() -> object:
        yield data[:100]
        yield data[100:]

    async with make_client(sandbox.url) as client:
        with requests.open("rb") as handle:
            forms = [requests, str(requests), data, handle, ("named.jsonl", data), iter([data]), chunks()]
            files = [await client.files.create(file=form, purpose="batch") for form in forms]  # type: ignore[arg-type]
        assert {file.bytes for file in files} == {len(data)}
        assert files[4].filename == "named.jsonl"
        content = await client.files.content(files[0].id)
        assert content.read() == data
        assert content.text.count("\n") == len(list(content.iter_lines())) == 20
        async with client.files.stream(files[1].id) as stream:
            assert b"".join([chunk async for chunk in stream.chunks]) == data
        listed = [file.id async for file in client.files.iterate(limit=3)]
        assert set(listed) == {file.id for file in files}
        assert (await client.files.delete(files[0].id)).deleted
        with pytest.raises(NotFoundError):
            await client.files.retrieve(files[0].id)


async def test_a_file_that_cannot_be_read_is_a_usage_error(make_client: Make, sandbox: Sandbox, requests: Path) -> None:
    async with make_client(sandbox.url) as client:
        for given, message in NO_FILES:
            with pytest.raises(UsageError, match=message):
                await client.files.create(file=given, purpose="batch")
        with pytest.raises(UsageError, match="no such file: missing"):
            await client.files.create(file="missing.jsonl", purpose="batch")
        with requests.open() as text, pytest.raises(UsageError, match="mode 'rb'"):
            await client.files.create(file=text, purpose="batch")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="not int"):
            await client.files.create(file=7, purpose="batch")  # type: ignore[arg-type]


async def test_metadata_must_be_strings(make_client: Make, sandbox: Sandbox) -> None:
    async with make_client(sandbox.url) as client:
        with pytest.raises(UsageError, match="'n' has int 1"):
            await client.batches.create(
                input_file_id="file-1",
                endpoint="/v1/chat/completions",
                metadata={"n": 1},  # type: ignore[dict-item]
            )


async def test_a_full_set_of_metadata_leaves_no_room_for_the_tag(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    pairs = {f"k{number}": "v" for number in range(16)}
    async with make_client(sandbox.url) as client:
        batch_id = await submit(client, requests, metadata=pairs)
        await client.batches.wait(batch_id)
    assert [event.metadata for event in log.events] == [pairs, pairs]


async def test_provider_errors_keep_status_body_and_retry_after(make_client: Make, requests: Path) -> None:
    async with (
        serve_sandbox(faults=["rate_limit*9 retry_after=200"]) as sandbox,
        make_client(sandbox.url) as client,
    ):
        with pytest.raises(RateLimitError) as caught:
            await client.batches.list()
        assert caught.value.status_code == 429
        assert caught.value.retry_after == 200
        assert "sk-test-key" not in str(caught.value)


async def test_cancelling_settles_as_a_failure_with_what_was_finished(
    make_client: Make, requests: Path, log: Recorder
) -> None:
    async with serve_sandbox(speed=5000) as sandbox, make_client(sandbox.url) as client:
        batch_id = await submit(client, requests)
        cancelled = await client.batches.cancel(batch_id)
        assert cancelled.status in ("cancelling", "cancelled")
        settlement = await client.batches.wait(batch_id)
    assert settlement.status == "cancelled"
    assert log.types == ["acreate_batch", "batch_failure"]


async def test_a_call_is_open_on_first_use_and_closing_twice_is_fine(make_client: Make, sandbox: Sandbox) -> None:
    client = make_client(sandbox.url)
    with pytest.raises(RuntimeError, match="not open"):
        _ = client.ledger
    assert len(await client.batches.list()) == 0
    await client.aclose()
    await client.aclose()
