"""Checks what callers ask for, and says no as OpenAI does."""

from collections.abc import Mapping
from typing import Any, cast

from batchmeter.inputs import REQUIRED

from .answers import ENDPOINTS
from .refusal import Refusal, invalid, missing

PURPOSES = frozenset({"assistants", "batch", "fine-tune", "vision", "user_data", "evals"})
_MIN_EXPIRY, _MAX_EXPIRY = 3600, 2_592_000
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


def purpose(value: str | None) -> str:
    if not value:
        raise missing("purpose")
    if value not in PURPOSES:
        raise invalid("purpose", f"'{value}' is not one of {sorted(PURPOSES)} - 'purpose'")
    return value


def expiry(value: object, param: str) -> int | None:
    """Seconds from `{"anchor": "created_at", "seconds": n}`."""
    if value is None:
        return None
    given: Mapping[str, object] = cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
    if given.get("anchor") != "created_at":
        raise invalid(f"{param}[anchor]", f"Invalid '{param}[anchor]': it has to be 'created_at'.")
    seconds = given.get("seconds")
    number = int(seconds) if isinstance(seconds, int) or (isinstance(seconds, str) and seconds.isdigit()) else -1
    if not _MIN_EXPIRY <= number <= _MAX_EXPIRY:
        allowed = f"an integer from {_MIN_EXPIRY} to {_MAX_EXPIRY}"
        raise invalid(f"{param}[seconds]", f"Invalid '{param}[seconds]': {seconds!r} is not {allowed}.")
    return number


def text(body: Mapping[str, Any], name: str) -> str:
    value: object = body.get(name)
    if value is None or value == "":
        raise missing(name)
    if not isinstance(value, str):
        raise Refusal(400, f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    return value


def endpoint(body: Mapping[str, Any]) -> str:
    value = text(body, "endpoint")
    if value not in ENDPOINTS:
        raise invalid("endpoint", f"Invalid value: '{value}'. Supported values are: {sorted(ENDPOINTS)}.")
    return value


def window(body: Mapping[str, Any]) -> str:
    value = text(body, "completion_window")
    if value != "24h":
        raise invalid("completion_window", f"Invalid value: '{value}'. Supported values are: '24h'.")
    return value


def metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Refusal(400, "Invalid type for 'metadata': expected an object.", param="metadata", code="invalid_type")
    pairs = dict(cast("Mapping[str, object]", value))
    if len(pairs) > _MAX_PAIRS:
        raise invalid("metadata", f"Invalid 'metadata': too many properties. Expected at most {_MAX_PAIRS}.")
    for key, item in pairs.items():
        if not isinstance(item, str):
            raise Refusal(400, f"Invalid type for 'metadata.{key}': expected a string.", param=f"metadata.{key}")
        if len(key) > _MAX_KEY or len(item) > _MAX_VALUE:
            limits = f"a key has at most {_MAX_KEY} characters, a value {_MAX_VALUE}"
            raise invalid(f"metadata.{key}", f"Invalid 'metadata.{key}': string too long; {limits}.")
    return cast("dict[str, str]", pairs)


def limit(value: int | str | None, default: int, most: int) -> int:
    if value is None:
        return default
    number = int(value) if isinstance(value, int) or value.isdigit() else 0
    if not 1 <= number <= most:
        raise invalid("limit", f"Invalid 'limit': {value!r} is not an integer from 1 to {most}.")
    return number


def body(endpoint: str, given: Mapping[str, Any]) -> None:
    """Checks a single call."""
    for name in REQUIRED[endpoint]:
        if given.get(name) in (None, "", []):
            raise missing(name)
    if given.get("stream"):
        raise Refusal(400, "The sandbox does not stream.", param="stream", code="unsupported_value")
