"""The lines of one delivery: chosen, with content where asked for, and redacted."""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from batchmeter.reports.line_costs import is_whole

from .lines import BatchLine, BatchLines
from .reading import Chosen, Ending, Reading, line_id
from .sample import LineSample, Reason

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

_BLOCK = 50
"""Lines made, redacted and written at one go."""
_IN_MEMORY = 2 << 20
"""Bytes from which lines lie on the disk."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""May be half of a surrogate pair."""


@asynccontextmanager
async def opened(host: "PluginHost", event: Ending, sample: LineSample) -> AsyncGenerator[dict[str, BatchLines]]:
    with (
        tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="batchmeter-") as raw,
        tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="batchmeter-") as spool,
    ):
        reading = Reading(event, sample, raw)
        chosen = await reading.answers(host)
        if sample.content:
            chosen = await reading.with_requests(host, chosen)
        for start in range(0, len(chosen), _BLOCK):
            made = await asyncio.to_thread(_made, reading, chosen[start : start + _BLOCK])
            await asyncio.to_thread(_write, spool, await host.redact_all(made))
        yield {
            "lines": BatchLines(
                total=reading.total,
                failed=reading.failed,
                chosen=len(chosen),
                content=sample.content,
                unavailable=tuple(reading.unavailable),
                _spool=spool,
            )
        }


def _made(reading: Reading, chosen: Sequence[tuple[Reason, Chosen]]) -> list[BatchLine]:
    return [_line(reading, reason, one) for reason, one in chosen]


def _line(reading: Reading, reason: Reason, one: Chosen) -> BatchLine:
    event, line = reading.event, one.line
    request, response = _json(reading.bytes_of(one.request)), _json(reading.bytes_of(one.answer))
    left_out = [name for name, found in (("request", request), ("response", response)) if found is None]
    return BatchLine(
        id=line_id(event.account, event.batch_id, one.custom_id),
        time=event.time,
        account=event.account,
        provider=event.provider,
        batch_id=event.batch_id,
        revision=event.revision,
        custom_id=_encodable(one.custom_id),
        reason=reason,
        endpoint=event.endpoint,
        model=line.model,
        error_code=line.failure,
        usage=line.usage,
        cost=line.cost,
        unknown_cost=line.unknown,
        request=_body(request),
        response=_answer(response),
        left_out=tuple(left_out) if reading.sample.content else (),
    )


def _write(spool: IO[bytes], lines: Sequence[BatchLine]) -> None:
    spool.writelines(line.model_dump_json().encode() + b"\n" for line in lines)


def _json(raw: bytes | None) -> Any:
    """None for what is too large, cut, or no JSON."""
    if raw is None or not is_whole(raw):
        return None
    try:
        return json.loads(_without_halves(raw) if _HALF.search(raw) else _encodable(raw.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return None


def _without_halves(raw: bytes) -> str:
    """Half of a surrogate pair is no character, and no JSON that anybody takes."""
    return _encodable(json.dumps(json.loads(raw), ensure_ascii=False))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _body(request: Any) -> Any:
    """The request itself; vendors' own lines are it."""
    return _members(request).get("body", request)


def _answer(row: Any) -> Any:
    """The endpoint's answer, the error where there is one; a vendor's own line whole."""
    line = _members(row)
    response = line.get("response")
    return line.get("error") or _members(response).get("body") or response or row


def _members(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
