"""Whole batches: all their files, the input behind them, Bedrock's manifest, and the event loop meanwhile."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.heavy import heavy

import batchmeter
from batchmeter import ameter, meter
from batchmeter.errors import NotFoundError, UsageError
from batchmeter.metering import Job, meter_outputs
from batchmeter.metering.meter import SLICE
from batchmeter.providers import ContentStream, OutputFile

from . import lines_of
from .prices import FLAT, RATES

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Stored:
    """A file at a provider; counts how often it is opened."""

    def __init__(self, data: bytes, chunk: int = 64) -> None:
        self.data, self.chunk, self.opened = data, chunk, 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ContentStream]:
        self.opened += 1
        yield ContentStream(chunks=self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), self.chunk):
            yield self.data[start : start + self.chunk]


def output(*stored: Stored) -> list[OutputFile]:
    return [OutputFile(id=f"file-{n}", kind="output", open=one.open) for n, one in enumerate(stored)]


@pytest.mark.parametrize(("completed", "doubtful"), [(3, 0), (2, 0), (4, 1), (9, 1), (None, 1)])
async def test_all_files_of_a_batch_are_added_up(completed: int | None, doubtful: int):
    """A line that cannot be read costs nothing where the provider's count says that all good answers were."""
    good = Stored(lines_of.dump(*lines_of.numbered([lines_of.openai("m", USAGE)] * 3)))
    bad = Stored(lines_of.dump(lines_of.openai_failed(custom_id="r-9")) + b"nonsense\n")

    found = await meter_outputs(output(good, bad), Job(prices=FLAT, completed=completed))

    assert (found.lines.succeeded, found.lines.failed, found.lines.malformed) == (3, 1, 1)
    assert found.cost.known == 3 * (10 * RATES["input"] + 5 * RATES["output"]) / 1_000_000
    assert found.cost.total == (None if doubtful else found.cost.known)
    assert found.cost.unknown.get("lines_malformed", 0) == doubtful
    assert (found.malformed_lines[0].file, found.malformed_lines[0].line) == ("file-1", 2)


async def test_no_files_cost_nothing():
    found = await meter_outputs([], Job(prices=FLAT))

    assert (found.lines.total, found.cost.total) == (0, 0)


async def test_an_empty_error_file_is_no_lines():
    found = await meter_outputs(output(Stored(b"")), Job(provider="azure", prices=FLAT))

    assert found.lines.total == 0


def input_line(custom_id: str, model: str | None) -> dict[str, Any]:
    body = {"messages": []} if model is None else {"model": model, "messages": []}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


NAMELESS = lines_of.dump(*lines_of.numbered([lines_of.openai(None, USAGE), lines_of.openai(None, USAGE)]))


async def test_models_come_from_the_input_by_custom_id():
    answers = Stored(NAMELESS)
    asked = Stored(lines_of.dump(input_line("r-1", "b"), input_line("r-0", "a")))

    found = await meter_outputs(output(answers), Job(prices=FLAT, input_file=asked.open))

    assert {name: model.lines for name, model in found.models.items()} == {"a": 1, "b": 1}
    assert found.lines.total == 2


async def test_an_input_of_one_model_needs_no_ids():
    asked = Stored(lines_of.dump(input_line("x", "only"), input_line("y", "only")))

    found = await meter_outputs(output(Stored(NAMELESS)), Job(prices=FLAT, input_file=asked.open))

    assert {name: model.lines for name, model in found.models.items()} == {"only": 2}


async def test_an_input_that_does_not_say_leaves_the_model_unknown():
    asked = Stored(lines_of.dump(input_line("r-0", "a"), input_line("r-1", None)) + b"nonsense\n")

    found = await meter_outputs(output(Stored(NAMELESS)), Job(prices=FLAT, input_file=asked.open))

    assert {name: model.lines for name, model in found.models.items()} == {"a": 1, "unknown": 1}
    assert found.cost.unknown == {"unknown_model": 1}


async def test_the_input_is_not_read_when_lines_name_their_model():
    asked = Stored(b"")
    answers = Stored(lines_of.dump(lines_of.openai("m", USAGE)))

    await meter_outputs(output(answers), Job(prices=FLAT, input_file=asked.open))

    assert (asked.opened, answers.opened) == (0, 1)


async def test_a_deployment_is_priced_as_its_model():
    answers = Stored(lines_of.dump(lines_of.openai("unpriced-deployment", USAGE)))

    found = await meter_outputs(output(answers), Job(provider="azure", prices=FLAT, price_model=lambda _: "gpt"))

    assert found.cost.total is not None
    assert list(found.models) == ["unpriced-deployment"]


async def test_what_is_gone_is_the_callers_to_handle():
    @asynccontextmanager
    async def gone() -> AsyncIterator[ContentStream]:
        raise NotFoundError("No such file", status_code=404)
        yield

    with pytest.raises(NotFoundError):
        await meter_outputs([OutputFile(id="f", kind="output", open=gone)], Job(prices=FLAT))


MANIFEST = {"totalRecordCount": 2, "successRecordCount": 2, "inputTokenCount": 30, "outputTokenCount": 12}


async def test_a_manifest_counts_for_rows_that_do_not():
    rows = Stored(lines_of.dump(*lines_of.numbered([lines_of.bedrock({"outputs": [{"text": "x"}]})] * 2)))

    found = await meter_outputs(
        output(rows, Stored(lines_of.dump(MANIFEST))), Job(provider="bedrock", model="mistral.x", prices=FLAT)
    )

    assert (found.lines.total, found.lines.unpriced) == (2, 0)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (30, 12)
    assert "usage_from_manifest" in found.notes


async def test_a_manifest_adds_nothing_to_rows_that_count():
    rows = Stored(lines_of.dump(lines_of.bedrock({"prompt_token_count": 5, "generation_token_count": 1})))

    found = await meter_outputs(
        output(rows, Stored(lines_of.dump(MANIFEST))), Job(provider="bedrock", model="llama", prices=FLAT)
    )

    assert (found.usage.input_tokens, found.lines.total) == (5, 1)


async def test_ameter_equals_meter(tmp_path: Path):
    data = lines_of.dump(*lines_of.numbered([lines_of.openai("m", USAGE)] * 500)) + b"nonsense"
    path = tmp_path / "output.jsonl"
    path.write_bytes(data)

    streamed = await ameter(Stored(data, 1_000)._chunks(), prices=FLAT)

    assert streamed == meter([data], prices=FLAT) == await ameter([data], prices=FLAT)
    assert await ameter(path, prices=FLAT) == meter(str(path), prices=FLAT)


async def test_the_loop_stays_free():
    line = lines_of.openai("m", USAGE, choices=[{"message": {"content": "word " * 800}}])
    data = lines_of.dump(*lines_of.numbered([line] * 4_000))
    stalls: list[float] = []
    over = asyncio.Event()

    async def watch() -> None:
        while not over.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0)
            stalls.append(time.perf_counter() - before)

    watching = asyncio.create_task(watch())
    found = await ameter(Stored(data, 65_536)._chunks(), prices=FLAT)
    over.set()
    await watching

    assert found.lines.succeeded == 4_000
    assert len(stalls) > len(data) / SLICE / 2


def test_memory_does_not_grow_with_the_file():
    line = lines_of.openai("m", USAGE, choices=[{"message": {"content": "word " * 800}}])
    chunk = lines_of.dump(*lines_of.numbered([line] * 200))
    meter([chunk], prices=FLAT)
    tracemalloc.start()
    try:
        meter((chunk for _ in range(heavy(25, 10))), prices=FLAT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4_000_000


def test_your_own_prices_as_a_mapping_or_a_file(tmp_path: Path):
    rows = {"openai/my-model": {"batch": {"input": "0.25", "output": "2.00"}}}
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"prices": rows}))
    data = [lines_of.dump(lines_of.openai("my-model", {"prompt_tokens": 1_000_000, "completion_tokens": 0}))]

    assert str(batchmeter.meter(data, prices=rows).cost.total) == "0.25"
    assert meter(data, prices=rows).cost == meter(data, prices=path).cost == meter(data, prices=str(path)).cost


def test_a_wrong_date_says_how_to_write_it():
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        meter([b""], priced_at="22.11.2026", prices=FLAT)
