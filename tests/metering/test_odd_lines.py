"""Lines that are broken, and lines that are only strange."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from batchmeter import meter
from batchmeter.metering import Job, meter_outputs
from batchmeter.providers import ContentStream, OutputFile

from . import lines_of
from .prices import FLAT, RATES

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
GOOD = lines_of.openai("m", USAGE)
COST = (10 * RATES["input"] + 5 * RATES["output"]) / 1_000_000


MALFORMED = [
    b"nonsense",
    b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","usage":{"prompt_tok',
    b"[1,2]",
    b'"text"',
    b"17",
    b"null",
    b"\x00",
    b"{}",
    b'{"hello":"world"}',
    b'{"a":1}{"b":2}',
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b"[" * 100_000,
    b"\xff\xfe\xfd",
]


@pytest.mark.parametrize("bad", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_lines_are_counted_and_shown(bad: bytes):
    data = lines_of.dump(GOOD) + b"\r\n  \n" + bad + b"\n" + lines_of.dump(lines_of.openai("m", USAGE, "r-2"))

    found = meter([data], prices=FLAT)

    assert (found.lines.total, found.lines.succeeded, found.lines.malformed) == (3, 2, 1)
    (shown,) = found.malformed_lines
    assert shown.line == 4
    assert bad.decode("utf-8", "replace").startswith(shown.sample.rstrip("\ufffd"))
    assert len(shown.sample.encode()) <= 3 * 120
    assert (found.cost.total, found.cost.known, found.cost.unknown) == (None, 2 * COST, {"lines_malformed": 1})
    assert found.lines.unpriced == 0


async def test_a_settled_web_page_is_not_free():
    """A batch is settled whatever its file holds."""
    page = OutputFile(id="file-1", kind="output", open=partial(_streamed, b"<html>403 expired link</html>"))

    found = await meter_outputs([page], Job(prices=FLAT))

    assert (found.cost.total, found.cost.unknown, found.models) == (None, {"lines_malformed": 1}, {})


@asynccontextmanager
async def _streamed(data: bytes) -> AsyncIterator[ContentStream]:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    yield ContentStream(chunks=chunks())


def test_malformed_samples_are_bounded():
    found = meter([b"nonsense\n" * 1_000], prices=FLAT)

    assert found.lines.malformed == 1_000
    assert len(found.malformed_lines) == 20


STRANGE = {
    "lone surrogate": b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","x":"\\ud83d","usage":%s}}}',
    "raw invalid UTF-8": b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","x":"\xff","usage":%s}}}',
    "NaN": b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","logprob":NaN,"usage":%s}}}',
    "control character": b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"m","x":"\x01","usage":%s}}}',
    "id last": b'{"response":{"body":{"usage":%s,"model":"m"},"status_code":200},"custom_id":"a"}',
    "escaped keys": b'{"custom_id":"a","\\u0072esponse":{"status_code":200,"body":{"model":"m","us\\u0061ge":%s}}}',
    "duplicate keys": b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"n","usage":{"prompt_tokens":9},"model":"m","usage":%s}}}',
    "nested usage": b'{"custom_id":"a","response":{"status_code":200,"body":{"metadata":{"usage":{"prompt_tokens":7}},"model":"m","usage":%s}}}',
    "usage in the text": b'{"custom_id":"a","response":{"status_code":200,"body":{"choices":[{"text":"\\"usage\\":{\\"prompt_tokens\\":7}}\\\\"}],"model":"m","usage":%s}}}',
    "status as float": b'{"custom_id":"a","response":{"status_code":200.0,"body":{"model":"m","usage":%s}}}',
    "numeric id": b'{"custom_id":123,"response":{"status_code":200,"body":{"model":"m","usage":%s}}}',
    "id of another kind": b'{"custom_id":[1],"response":{"status_code":200,"body":{"model":"m","usage":%s}}}',
    "output of another kind": b'{"custom_id":"a","response":{"status_code":200,"body":{"output":{"text":"x"},"model":"m","usage":%s}}}',
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_lines_are_read(name: str):
    found = meter([STRANGE[name] % json.dumps(USAGE).encode()], prices=FLAT)

    assert (found.lines.succeeded, found.cost.total, list(found.models)) == (1, COST, ["m"])


def test_a_body_that_is_text_is_no_usage():
    line = {"custom_id": "a", "response": {"status_code": 200, "body": 'plain text with "usage": {"prompt_tokens": 1}'}}

    assert meter([lines_of.dump(line)], prices=FLAT).cost.unknown == {"usage_missing": 1}
