"""How values are read from any provider, and written by us: one spelling each for ids, times, counts and money."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, PlainSerializer, SecretStr

_WITHOUT_VERSION = frozenset(
    {
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/images/edits",
        "/images/generations",
        "/moderations",
        "/responses",
        "/videos",
    }
)
_SPELLINGS = {
    "canceled": "cancelled",
    "canceling": "cancelling",
    "succeeded": "completed",
    "success": "completed",
    "cancellation_requested": "cancelling",
    "timeout_exceeded": "expired",
    "queued": "validating",
    "running": "in_progress",
}


def _status(value: object) -> object:
    """`"Validating"`, `"InProgress"`, `"IN_PROGRESS"`, `"canceled"` -> OpenAI's spelling; other words are kept."""
    if not isinstance(value, str):
        return value
    snake = "".join(f"_{c}" if c.isupper() and i and value[i - 1].islower() else c for i, c in enumerate(value))
    word = snake.lower()
    return _SPELLINGS.get(word, word)


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


_FIRST = int(datetime.min.replace(tzinfo=UTC).timestamp())
_LAST = int(datetime.max.replace(tzinfo=UTC).timestamp())


def _epoch(value: object) -> object:
    """Epoch seconds from a number, a numeric string or ISO 8601; None for what is no instant, as milliseconds are."""
    if value is None or value == "":
        return None
    seconds = _seconds(value) if isinstance(value, str) else value
    if not isinstance(seconds, int | float):
        return value
    return int(seconds) if _FIRST <= seconds <= _LAST else None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return _iso(text).timestamp()


def _iso(text: str) -> datetime:
    """ISO 8601 with any number of fractional digits (vendors print up to seven); no zone means UTC."""
    head, dot, tail = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        text = f"{head}.{digits[:6]}{tail[len(digits) :]}"
    else:
        text = head
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _zero_if_none(value: object) -> object:
    return 0 if value is None or value == "" else value


def _utc(value: datetime) -> str:
    """One spelling, so that an event rendered twice is the same bytes."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _decimal(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: `0.000738`, not `7.380E-4`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _stripped(value: object) -> object:
    """The line break at the end of a mounted file is no part of the secret in it."""
    if isinstance(value, SecretStr):
        return SecretStr(value.get_secret_value().strip())
    return value.strip() if isinstance(value, str) else value


Secret = Annotated[SecretStr, BeforeValidator(_stripped)]
"""A key or a password; never shown."""
Id = Annotated[str | None, BeforeValidator(_none_if_empty)]
Epoch = Annotated[int | None, BeforeValidator(_epoch)]
Count = Annotated[int, BeforeValidator(_zero_if_none)]
Status = Annotated[str, BeforeValidator(_status)]
Time = Annotated[datetime, PlainSerializer(_utc, when_used="json")]
"""An instant in UTC; JSON `2026-11-22T09:00:00.000Z`."""
Usd = Annotated[Decimal, PlainSerializer(_decimal, when_used="json")]
"""US dollars; a string of plain digits in JSON, never a float."""


def full_endpoint(url: str | None) -> str | None:
    """`/chat/completions`, as some APIs write it, is `/v1/chat/completions`; other paths are kept."""
    return f"/v1{url}" if url in _WITHOUT_VERSION else url


def utc_from_epoch(seconds: int | None) -> datetime | None:
    """Epoch seconds -> aware UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def plain(model: BaseModel) -> dict[str, Any]:
    """The JSON-ready dict: money as strings, times as ISO 8601 UTC."""
    return model.model_dump(mode="json")
