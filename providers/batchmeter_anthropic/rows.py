"""Lines in, Message Batches requests out: OpenAI's chat lines translated, Anthropic's own checked and passed on."""

import json
from collections.abc import Iterable
from typing import Any

from batchmeter.inputs import InputLimits
from batchmeter_spool.notes import IdsDigest
from batchmeter_translate.claude_messages import ClaudeTarget
from batchmeter_translate.claude_models import claude_rules
from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.endpoints import CHAT
from batchmeter_translate.lines_in import LineTranslation
from batchmeter_translate.shape import Json, is_array, mapping
from batchmeter_translate.untranslatable import UntranslatableError

from .ids import FITS, to_vendor

MESSAGES = "/v1/messages"
MOST_BYTES = 256_000_000
MOST_REQUESTS = 100_000
LIMITS = InputLimits(bytes=MOST_BYTES, lines=MOST_REQUESTS, endpoints=frozenset({CHAT, MESSAGES}), one_model=False)
"""Limits of one batch, whose body is all its requests."""
_TARGET = ClaudeTarget(names_model=True)
_SAMPLING = ("temperature", "top_p", "top_k")


class RowWriter(LineTranslation):
    """One file's requests, and what a batch of them is known by."""

    def __init__(self, source: str, max_tokens: int | None, limits: InputLimits | None = LIMITS) -> None:
        super().__init__(source, limits)
        self._max_tokens = max_tokens
        self._kept_size = 0
        self.kept: list[bytes] = []
        """Long ids since the last look: one JSON text a line."""
        self.digest = IdsDigest()
        self.endpoint = ""
        self.models: set[str] = set()
        """Up to two of them: whether there is only one."""

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        self.endpoint = self.endpoint or url
        params = self._translated(body) if url == CHAT else checked(body)
        return [self._row(to_vendor(custom_id, self._keep), params)]

    def _translated(self, body: Json) -> Json:
        model = str(body.get("model") or "").removeprefix("anthropic/")
        if not model:
            raise UntranslatableError("model", "`body` has no `model`", "missing_required_parameter")
        if self._max_tokens and not (body.get("max_tokens") or body.get("max_completion_tokens")):
            body = {**body, "max_tokens": self._max_tokens}
        return claude_request(body, self.notes, _TARGET, model)

    def _row(self, custom_id: str, params: Json) -> Json:
        if len(self.models) < 2:  # noqa: PLR2004 - more say no more
            self.models.add(str(params.get("model")))
        self.digest.add(custom_id)
        return {"custom_id": custom_id, "params": params}

    def _keep(self, custom_id: str) -> int:
        place, line = self._kept_size, json.dumps(custom_id).encode() + b"\n"
        self._kept_size += len(line)
        self.kept.append(line)
        return place


class NativeWriter(RowWriter):
    """A file of Anthropic's own rows."""

    body_name = "params"

    def __init__(self, source: str) -> None:
        super().__init__(source, None, None)
        self.endpoint = MESSAGES
        self._lines_of: dict[int, int] = {}
        """Hash of a custom_id -> its line."""

    def request(self, line: Json) -> tuple[str, str, Json]:
        custom_id = line.get("custom_id")
        if not isinstance(custom_id, str) or not FITS.fullmatch(custom_id):
            raise UntranslatableError(
                "custom_id", f"`custom_id` is {custom_id!r}; Anthropic takes 1 to 64 letters, digits, `_` and `-`"
            )
        first = self._lines_of.setdefault(hash(custom_id), self.number)
        if first != self.number:
            raise UntranslatableError(
                "custom_id", f"custom_id already used on line {first}; make it unique", "duplicate_custom_id"
            )
        return custom_id, MESSAGES, mapping(line.get("params"))

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        del url
        return [self._row(custom_id, checked(body, streams=True))]


def checked(params: Json, *, streams: bool = False) -> Json:
    """A Messages request as it is; `streams`: nobody has looked for `stream` yet. Anthropic would look at it when it runs, up to a day later, and answer with an error."""
    model, limit, messages = params.get("model"), params.get("max_tokens"), params.get("messages")
    if not isinstance(model, str) or not model:
        raise UntranslatableError("model", "no `model`", "missing_required_parameter")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UntranslatableError("max_tokens", f"`max_tokens` is {limit!r}; it has to be 1 or more", "invalid_value")
    if not is_array(messages) or not messages:
        raise UntranslatableError("messages", "no `messages`", "missing_required_parameter")
    for name in ("stream", "speed") if streams else ("speed",):
        if params.get(name):
            raise UntranslatableError(name, f"a batch takes no `{name}`; leave it out")
    _check_model(params, model, messages[-1])
    return params


def _check_model(params: Json, model: str, last: Any) -> None:
    rules = claude_rules(model)
    if not rules.prefill and mapping(last).get("role") == "assistant":
        raise UntranslatableError(
            "messages", f"{model} does not go on with an assistant's message: the last one has to be the user's"
        )
    if not rules.sampling and (given := [name for name in _SAMPLING if params.get(name) is not None]):
        raise UntranslatableError(given[0], f"{model} takes no `{given[0]}`; leave it out")
    if not rules.budgets and not rules.sampling and mapping(params.get("thinking")).get("type") == "enabled":
        raise UntranslatableError("thinking", f'{model} takes no thinking budget; use {{"type": "adaptive"}}')
