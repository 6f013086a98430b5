"""Lines that are read in whole blocks come to what they come to one by one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter import meter
from batchmeter.metering import Metering, scan
from batchmeter.metering.blocks import BlockReader

from . import lines_of
from .prices import FLAT

DETAILS = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 1}}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **DETAILS}
CACHED = USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}
RESPONSES = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
EMBEDDING: dict[str, Any] = {"object": "list", "data": [{"embedding": [0.5] * 9}]}
SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}

PLAIN: dict[str, Any] = lines_of.openai("m", USAGE, object="chat.completion", choices=[{"message": {"content": "x"}}])
SAID = lines_of.openai("m", RESPONSES, object="response", status="completed", output=[{"type": "message"}])
SEARCHED = lines_of.openai("m", RESPONSES, object="response", status="completed", output=[SEARCH])
ODD: list[dict[str, Any] | bytes] = [
    lines_of.openai("other", USAGE, object="chat.completion"),
    lines_of.openai("m", CACHED, object="chat.completion"),
    lines_of.openai("m", USAGE | {"total_tokens": 99}, object="chat.completion"),
    lines_of.openai("m", USAGE | {"prompt_tokens": -1}, object="chat.completion"),
    lines_of.openai("m", USAGE | {"prompt_tokens": 10.0}, object="chat.completion"),
    lines_of.openai("m", USAGE | {"mystery_tokens": 3}, object="chat.completion"),
    lines_of.openai("m", USAGE | {"num_search_queries": 2}, object="chat.completion"),
    lines_of.openai("m", {"prompt_tokens": 3, "total_tokens": 3}, **EMBEDDING),
    lines_of.openai(None, USAGE, object="chat.completion"),
    lines_of.openai("gpt-4o-search-preview", USAGE, object="chat.completion"),
    lines_of.openai("m", USAGE, object="chat.completion", error={"code": "server_error"}),
    lines_of.openai("m", USAGE, object="chat.completion", output=[SEARCH]),
    SAID,
    SEARCHED,
    lines_of.openai("m", RESPONSES, object="response", status="failed", output=[]),
    lines_of.openai_failed(),
    {"custom_id": "a", "response": {"status_code": 500, "body": PLAIN["response"]["body"]}, "error": None},
    PLAIN | {"error": {"code": "batch_expired"}},
    PLAIN | {"custom_id": None},
    b"",
    b"\r",
    b"nonsense",
    b'{"half": ',
]


def metered(rows: list[bytes], *, by_block: bool, chunk: int = 700) -> Metering:
    data = b"\n".join(rows) + b"\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_LEARN", 4 if by_block else 10**9)
        return meter([data[at : at + chunk] for at in range(0, len(data), chunk)], prices=FLAT, priced_at="2026-11-22")


def rows_of(lines: list[dict[str, Any] | bytes], *, twins: bool = False) -> list[bytes]:
    return [
        line if isinstance(line, bytes) else json.dumps(line if twins else _numbered(line, number)).encode()
        for number, line in enumerate(lines)
    ]


def _numbered(line: dict[str, Any], number: int) -> dict[str, Any]:
    return line | {"custom_id": f"r-{number}"} if line["custom_id"] is not None else line


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([PLAIN, SAID]),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(ODD)), max_size=12),
    st.booleans(),
    st.integers(60, 3_000),
)
def test_blocks_and_lines_come_to_the_same(
    usual: dict[str, Any], odd: list[tuple[int, dict[str, Any] | bytes]], twins: bool, chunk: int
):
    lines: list[dict[str, Any] | bytes] = [usual] * 12
    for before, other in odd:
        lines += [*[usual] * before, other]
    rows = rows_of(lines, twins=twins)

    one_by_one = metered(rows, by_block=False)

    in_blocks = metered(rows, by_block=True, chunk=chunk)
    assert in_blocks == one_by_one
    assert in_blocks.groups == one_by_one.groups


@pytest.mark.parametrize(("usual", "other"), [(PLAIN, lines_of.openai_failed()), (SAID, SEARCHED)])
def test_plain_lines_are_read_in_blocks(usual: dict[str, Any], other: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    lines = 0
    counted = BlockReader._counted

    def watched(self: BlockReader, rows: list[Any]) -> Any:
        nonlocal lines
        found = counted(self, rows)
        lines += len(found.ids) if found else 0
        return found

    monkeypatch.setattr(BlockReader, "_counted", watched)
    found = metered(rows_of([usual] * 100 + [other] + [usual] * 100), by_block=True, chunk=4_000)

    assert found.lines.total == 201
    assert lines > 150
