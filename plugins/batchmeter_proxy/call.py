"""One request on its way through the proxy: who asks, for which account, with what."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request

from batchmeter import AsyncClient
from batchmeter.models import Attribution

from .body import Incoming, TooLargeError
from .errors import Refusal
from .identity import Action, Done, Identity
from .keys import LONGEST_TAG, MOST_TAGS
from .state import State

_DEEPEST = 64
"""Levels of JSON: what was just read must be written again too, further down the stack."""
_LONGEST_KEY = 255
ACCOUNT_HEADER = "custom-llm-provider"
TAGS_HEADERS = ("x-batchmeter-tags", "x-litellm-tags")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,200})?")
ACCOUNT_FIELDS = ("custom_llm_provider", "provider")
"""Query parameters, form fields and JSON members that name an account."""


@dataclass(slots=True)
class Call:
    """The call that a handler gets."""

    request: Request
    state: State
    identity: Identity
    ids: Mapping[str, str]
    """Values of the path's braces, unescaped."""
    path_account: str | None = None
    done: list[Done] = field(default_factory=list[Done])
    """Work that waits for the end of the request."""
    in_vain: bool = False
    """The admitted action has certainly come to nothing."""

    @property
    def client(self) -> AsyncClient:
        return self.state.client

    @property
    def account(self) -> str | None:
        """The account that path, header or query name; None leaves it to the ledger or the default."""
        query = self.request.query_params
        named = (query[field] for field in ACCOUNT_FIELDS if query.get(field))
        return self.path_account or self.request.headers.get(ACCOUNT_HEADER) or next(named, None)

    @property
    def idempotency_key(self) -> str | None:
        """The caller's `Idempotency-Key`, apart from everybody else's; Refusal for one too long to be kept."""
        given = self.request.headers.get("idempotency-key")
        if given and len(given) > _LONGEST_KEY:
            message = f"An Idempotency-Key may have {_LONGEST_KEY} characters at most."
            raise Refusal(400, message, code="invalid_value", param="idempotency-key")
        mine = self.identity.attribution.key
        return f"{mine}:{given}" if given and mine else given or None

    @property
    def traceparent(self) -> str | None:
        """The caller's W3C trace context; one that is none is ignored, as the standard says."""
        given = self.request.headers.get("traceparent", "")
        return given if _TRACEPARENT.fullmatch(given) else None

    def attribution(self) -> Attribution:
        """The key's, and the tags that this request adds; Refusal for too many or too long ones."""
        added = ",".join(self.request.headers.get(name, "") for name in TAGS_HEADERS)
        tags = [tag.strip() for tag in added.split(",") if tag.strip()]
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            message = f"At most {MOST_TAGS} tags of at most {LONGEST_TAG} characters each can be added."
            raise Refusal(400, message, code="invalid_value", param=TAGS_HEADERS[0])
        mine = self.identity.attribution
        return mine.model_copy(update={"tags": tuple(dict.fromkeys([*mine.tags, *tags]))}) if tags else mine

    def allow(self, account: str, models: Sequence[str] = ()) -> None:
        """Refusal (403) for what the caller's key is not made for."""
        accounts, known = self.identity.accounts, self.identity.models
        if accounts is not None and account not in accounts:
            raise Refusal(403, f"This key may not use the account {account!r}.", code="account_not_allowed")
        for model in models:
            if known is not None and model not in known:
                raise Refusal(403, f"This key may not use the model {model!r}.", code="model_not_allowed")

    async def admit(self, action: Action) -> None:
        """Refusal when the caller may not, or not now."""
        if action.account is not None:
            self.allow(action.account, action.models)
        done = await self.state.admit(self.identity, action)
        if done is not None:
            self.done.append(done)

    def transfer(self) -> AbstractAsyncContextManager[None]:
        """One upload or download, while it lasts; Refusal as `Transfers.turn`."""
        return self.state.transfers.turn(self.identity.attribution.key)

    def share(self, *, transfer: bool) -> AbstractAsyncContextManager[None]:
        """The request's part of what its key may have under way; a transfer takes its own turn, once its file is known."""
        return self.state.calls.turn(None if transfer else self.identity.attribution.key)

    async def body(self, largest: int | None = None, *, seconds: float | None = None) -> bytes:
        """Whole; Refusal when it is too large (`largest` bytes) or too slow (`seconds`); else as the options say."""
        options = self.state.options
        room = options.max_body_bytes if largest is None else min(largest, options.max_body_bytes)
        full = TooLargeError(413, "The request body is too large.", code="request_too_large")
        longest = options.body_seconds if seconds is None else min(seconds, options.body_seconds)
        idle = min(longest, options.upload_idle_seconds)
        return await Incoming(self.request.receive, room, full, longest, idle).whole()

    async def json(self, largest: int | None = None) -> dict[str, Any]:
        """The body, an object; Refusal as for `body`, or when it is no JSON."""
        try:
            parsed: object = json.loads(await self.body(largest) or b"{}")
        except ValueError as error:
            raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
        except RecursionError:
            raise _too_deep() from None
        if not isinstance(parsed, dict):
            raise Refusal(400, "The JSON body of your request has to be an object.")
        if _deeper(cast("dict[str, object]", parsed), _DEEPEST):
            raise _too_deep()
        return cast("dict[str, Any]", parsed)


def _deeper(value: object, levels: int) -> bool:
    """Looks at arrays and objects only, a level at a time: a body may hold half a million numbers."""
    found = [value]
    for _ in range(levels):
        found = [inside for one in found for inside in _inside(one) if isinstance(inside, dict | list)]
    return bool(found)


def _inside(value: object) -> Iterable[object]:
    return cast("dict[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)


def _too_deep() -> Refusal:
    return Refusal(400, "The JSON body of your request is nested too deeply.")
