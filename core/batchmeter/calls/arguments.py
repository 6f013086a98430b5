"""Arguments of calls, each checked before anything is sent or written: one error that names the argument."""

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from batchmeter.config import validated
from batchmeter.errors import UsageError
from batchmeter.models import Attribution
from batchmeter.providers import CallOptions, Provider

if TYPE_CHECKING:
    from batchmeter.runtime.runtime import Runtime

_NOBODY = Attribution()
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL keeps no NUL, and half a character has no UTF-8."""
LITELLM_ONLY = frozenset(
    {"drop_params", "litellm_call_id", "litellm_metadata", "litellm_trace_id", "request_timeout", "user"}
)
"""LiteLLM's arguments that are no setting of an account; `user` and `litellm_metadata` say whose a batch is."""


class TimeoutParts(Protocol):
    """A timeout of httpx or httpx2."""

    @property
    def connect(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...


Timeout: TypeAlias = float | TimeoutParts
"""Seconds."""


class _Given(Attribution, frozen=True, extra="forbid"):
    """A caller's attribution: a misspelt key would be nobody's batch."""


def attribution_of(given: Attribution | Mapping[str, Any] | None) -> Attribution:
    """UsageError for an unknown key, with the nearest one, and for a value of another type."""
    if given is None:
        return _NOBODY
    if not isinstance(given, Attribution):
        given = Attribution(**validated(_Given, _mapping("attribution", given), "attribution").model_dump())
    for name, value in given:
        for text in value if name == "tags" else (value,):
            text_of(f"attribution: {name}", text)
    return given


def caller_of(arguments: Mapping[str, Any], attribution: Attribution) -> Attribution:
    """With LiteLLM's `user=` and the tags of its `litellm_metadata=`, where the attribution does not say."""
    notes = _mapping("litellm_metadata", arguments.get("litellm_metadata") or {})
    values: dict[str, Any] = {"user": text_of("user", arguments.get("user")), "tags": notes.get("tags")}
    added = {name: value for name, value in values.items() if value and not getattr(attribution, name)}
    return attribution_of({**attribution.model_dump(exclude_none=True), **added}) if added else attribution


async def provider_for(
    client: "Runtime",
    account: str | None,
    arguments: Mapping[str, Any],
    *,
    about: str | None = None,
    model: str | None = None,
) -> tuple[Provider, str | None]:
    """The account of a call, which its model may name too (`openai/gpt-5-mini`); and the model's own name.

    `arguments`: the account's settings among those that the call was given besides. Else as `Runtime.provider`.
    """
    account, model = text_of("custom_llm_provider", account), text_of("model", model)
    if account is None and about is not None:
        account = await (await client.ready()).ledger.account_of(about)
    if account is None and model is not None:
        account, model = client.accounts.routed(model)
    settings = {name: value for name, value in arguments.items() if name not in LITELLM_ONLY and value is not None}
    if settings.get("timeout") is None and arguments.get("request_timeout") is not None:
        settings["timeout"] = seconds_of("request_timeout", arguments["request_timeout"])
    return await client.provider(account, settings), model


def text_of(name: str, given: object) -> str | None:
    """None, or a text that every ledger can keep."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise UsageError(f"{name} must be a string, not {_shown(given)}")
    if _UNKEEPABLE.search(given):
        raise UsageError(f"{name} has a character that cannot be kept: {given[:80]!r}")
    return given


def required_text(name: str, given: object) -> str:
    text = text_of(name, given)
    if not text:
        raise UsageError(f"{name} is {'missing' if text is None else 'empty'}")
    return text


def id_of(name: str, given: object) -> str:
    """Of a file or batch."""
    if given is None or (isinstance(given, str) and not given.strip()):
        empty = "None" if given is None else "empty"
        raise UsageError(f"{name} is {empty}: give the id (a batch without good answers has no output_file_id)")
    return required_text(name, given)


def metadata_of(given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Strings to strings, as every provider wants them; the rest of the rules are the provider's to enforce."""
    if given is None:
        return None
    for key, value in _mapping("metadata", given).items():
        if not isinstance(value, str):
            raise UsageError(f"metadata must map strings to strings: {key!r} has {type(value).__name__} {value!r}")
    return dict(given)


def document_of(name: str, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A mapping that goes into a request's JSON."""
    if given is None:
        return None
    values = _mapping(name, given)
    try:
        json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no JSON: {error}") from None
    return values


def seconds_of(name: str, given: object) -> float | None:
    """A number, its text, or a timeout of httpx or httpx2, whose `read` counts, as LiteLLM takes it."""
    if given is None:
        return None
    value: object = getattr(given, "read", None) if hasattr(given, "connect") else given
    if value is None:
        return None
    try:
        seconds = float(cast("Any", value))
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds < math.inf:
        raise UsageError(f"{name} must be a number of seconds above 0, not {_shown(given)}")
    return seconds


def whole_of(name: str, given: object) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise UsageError(f"{name} must be a whole number, not {_shown(given)}")


def options(
    extra_headers: Mapping[str, str] | None = None,
    extra_query: Mapping[str, Any] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    timeout: object = None,
) -> CallOptions:
    """The per-call overrides, with nothing for None."""
    headers = _mapping("extra_headers", extra_headers or {})
    for name, value in headers.items():
        if not isinstance(value, str):
            raise UsageError(f"extra_headers must map strings to strings: {name!r} has {type(value).__name__}")
    query = _mapping("extra_query", extra_query or {})
    try:
        json.dumps(query, ensure_ascii=False, default=str).encode()  # an address has no place for half a character
    except (ValueError, RecursionError) as error:
        raise UsageError(f"extra_query cannot be sent: {error}") from None
    body = document_of("extra_body", extra_body) or {}
    return CallOptions(headers, query, body, seconds_of("timeout", timeout))


def _mapping(name: str, given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} must be a mapping, not {type(given).__name__}")
    for key in cast("Mapping[object, Any]", given):
        if not isinstance(key, str):
            raise UsageError(f"{name} must have strings as keys, not {_shown(key)}")
    return cast("Mapping[str, Any]", given)


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.80}"
