"""Reads one line's answer from any vendor's envelope: its error, its model and its usage."""

import logging
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from operator import attrgetter
from typing import Any, cast

from batchmeter.discovery import entries, import_contained

from .counting import HEAD, count, parsed, speaks
from .dialects import SLUG, Answer, Dialects, failure_code
from .wire import Wire

_DONE = frozenset({"", "ok", "success", "succeeded", "completed"})
"""Words of a top-level status that are no failure; anything else there is an error text."""
_NO_ANSWER = frozenset({"failed", "cancelled"})
"""Statuses of a Responses body that HTTP 200 may carry; an incomplete one is an answer, and is billed."""
_STATUS = (re.compile(r'"status"\s*:\s*"([A-Z_]+)"'), re.compile(r'"code"\s*:\s*"?(\w+)'))
NO_RESPONSE = "no_response"
"""Failure: a line without an answer and without an error."""
_OK = 200


class Reader:
    """Reads lines by some tables; a `Look` knows which."""

    def __init__(self, tables: tuple[Dialects, ...], everybody: tuple[Dialects, ...]) -> None:
        beside = {name: added for one in reversed(everybody) for name, added in one.beside.items()}
        fields = {name: one.body[name] for one in everybody for name in one.beside}
        self.wire = Wire(tables, fields)
        self._ids = ("custom_id", *(name for one in tables for name in one.ids))
        self._id_of = tuple(one.id_of for one in tables if one.id_of is not None)
        self._envelopes = tuple(
            (envelope.key, envelope.open) for one in tables for envelope in one.envelopes if envelope.open
        )
        self.places = ("response", *(key for key, _ in self._envelopes))
        """Keys of a line that hold an answer."""
        self._usage_of = tuple(one.usage_of for one in tables if one.usage_of is not None)
        self._manifests = tuple(one.manifest for one in tables if one.manifest is not None)
        self.beside = beside
        """Field of a body -> what it adds to the usage."""
        self._added = tuple(beside.values())
        self._beside = attrgetter(*beside)
        self._nothing = (None,) * len(beside)
        self._body = self.wire.body_type

    def read(self, line: Any, job_model: str | None = None) -> Answer | None:
        """None for a JSON object that is nobody's answer."""
        response, answer = line.response, None
        if response is not None and line.error is None and line.status is None and response.status_code == _OK:
            body = response.body  # nearly all lines
            if body.__class__ is self._body and body.error is None:
                answer = self._from_body(body, job_model)
        if answer is None:
            answer = self._answer(line, job_model)
        if answer is not None:
            custom_id = line.custom_id
            answer.custom_id = custom_id if custom_id.__class__ is str else self.id_of(line)
        return answer

    def id_of(self, line: Any) -> str | None:
        """The caller's id, of an answer or of a request."""
        for name in self._ids:
            value = getattr(line, name)
            if value is not None:
                return str(value)
        found = (id_of(line) for id_of in self._id_of)
        return next((value for value in found if value is not None), None)

    def manifest(self, line: Any) -> Mapping[str, int] | None:
        """Bucket -> units, where the line holds the sums of a whole job."""
        for dialect in self._manifests:
            sums = {name: value for name in parsed(dialect).counters if (value := getattr(line, name)) is not None}
            if speaks(dialect, sums):
                _, counts = count(dialect, sums)
                return dict(zip(dialect.buckets, counts[HEAD:], strict=True))
        return None

    def _answer(self, line: Any, job_model: str | None) -> Answer | None:
        status = line.status
        failure = None if line.error is None else failure_code(line.error)
        if status is not None and status.lower() not in _DONE:
            failure = _status_code(status)
        inside = line.response is not None
        found = self._response(line.response, job_model) if inside else self._enveloped(line, job_model)
        if failure is not None:
            return _failed(failure, found)
        known = found is not None or status is not None or self.id_of(line) is not None
        return found or (Answer(failure=NO_RESPONSE) if known else None)

    def _enveloped(self, line: Any, job_model: str | None) -> Answer | None:
        for key, opened in self._envelopes:
            if getattr(line, key) is not None:
                found = opened(line)
                if isinstance(found, Answer):
                    return found
                if found is not None:
                    return self._from_body(found, job_model)
        answer = None if line.body is None else self._from_body(line.body, job_model)
        has_answer = answer is not None and (answer.usage is not None or answer.kind is not None)
        return answer if has_answer else None  # the body of a request has neither

    def _response(self, response: Any, job_model: str | None) -> Answer:
        """OpenAI's `response` with status and body; or the vendor's own answer in its place."""
        body, status = response.body, response.status_code
        if body is None and status is None:
            answer = self._from_body(response, job_model)
            answered = answer.failure is not None or answer.usage is not None or answer.model is not None
            return answer if answered else Answer(failure=NO_RESPONSE)
        if isinstance(body, str):
            body = self.wire.decode_body(body)
        if status and not 200 <= status < 300:  # noqa: PLR2004 - HTTP success
            code = failure_code(body.error) if body is not None else None
            named = f"http_{status}" if code in {None, "error"} else str(code)
            return _failed(named, None if body is None else self._from_body(body, job_model))
        if body is None:
            return Answer()
        if status is None and body.usage is None and (code := failure_code(body.error)) is not None:
            return Answer(failure=code)
        return self._from_body(body, job_model)

    def _from_body(self, body: Any, job_model: str | None) -> Answer:
        usage, beside = body.usage, self._beside(body)
        kind = body.type or body.object
        if kind == "response" and body.status in _NO_ANSWER:
            return Answer(failure=failure_code(body.error) or body.status, model=body.model, usage=usage)
        if usage is None:
            found = (usage_of(body, job_model) for usage_of in self._usage_of)
            return next((answer for answer in found if answer is not None), None) or Answer(model=body.model)
        if beside != self._nothing:
            for value, added in zip(beside, self._added, strict=True):
                if value is not None:  # zeros of things that no counter has are left out
                    usage |= {name: uses for name, uses in added(value).items() if uses or name in usage}
        return Answer(None, None, body.model, usage, kind)


def _failed(failure: str, answer: Answer | None) -> Answer:
    """A failed line, with the model and the usage that it names all the same."""
    return Answer(failure=failure) if answer is None else Answer(None, failure, answer.model, answer.usage)


class Look:
    """A provider's lines: read by its own tables, which is fast, and by everybody's where these find no answer."""

    def __init__(self, own: Dialects, others: tuple[Dialects, ...]) -> None:
        everybody = (own, *others)
        self.own = own
        self.dialects = (*own.speaks, *(dialect for one in others if not one.private for dialect in one.speaks))
        self.narrow = Reader((own,), everybody)
        self.wide = Reader(everybody, everybody)

    def answer(self, raw: bytes | bytearray, job_model: str | None = None) -> Answer | None:
        """None for what is nobody's answer."""
        line = self.narrow.wire.decode(raw)
        answer = None if line is None else self.narrow.read(line, job_model)
        if line is None or (answer is not None and (answer.usage is not None or answer.failure not in UNDECIDED)):
            return answer
        return self.wide.read(self.wide.wire.decode(raw), job_model)

    def has_content(self, line: object) -> bool:
        """Whether there is something in an answer's place, though no table can read it."""
        return isinstance(line, dict) and any(cast("Mapping[str, Any]", line).get(key) for key in self.wide.places)

    def request_id(self, raw: bytes | bytearray) -> str | None:
        """The caller's id of a request, or of an answer."""
        line = self.wide.wire.decode(raw)
        return None if line is None else self.wide.id_of(line)

    def manifest(self, raw: bytes | bytearray) -> Mapping[str, int] | None:
        """Bucket -> units, where the line holds the sums of a whole job."""
        line = self.wide.wire.decode(raw)
        return None if line is None else self.wide.manifest(line)


UNDECIDED = frozenset({None, NO_RESPONSE})
"""Failures with which a line may still be an answer in another's tables."""


@cache
def look_of(own: Dialects) -> Look:
    return Look(own, tuple(one for one in installed() if one.provider != own.provider))


def look_for(provider: str) -> Look:
    return look_of(dialects_of(provider))


def _status_code(status: str) -> str:
    """From `Bad Request: {"error": {"code": 400, …, "status": "INVALID_ARGUMENT"}}` and the like."""
    matches = (pattern.search(status) for pattern in _STATUS)
    head = status.partition(":")[0].strip().lower().replace(" ", "_")
    return next((match[1] for match in matches if match), head if SLUG.fullmatch(head) else "error")


GROUP, OPENAI = "batchmeter.dialects", "openai"
log = logging.getLogger("batchmeter")


@cache
def installed() -> tuple[Dialects, ...]:
    """OpenAI's first, whose rows most others write too; what cannot be imported is logged and left out."""
    ours_first = sorted(entries(GROUP), key=lambda entry: (entry.name != OPENAI, entry.name))
    found = [dialects for entry in ours_first if (dialects := _loaded(entry)) is not None]
    return tuple({dialects.provider: dialects for dialects in found}.values())


@cache
def dialects_of(provider: str) -> Dialects:
    """This provider's; one that declares none is read as OpenAI, and nothing of it is free."""
    by_provider = {dialects.provider: dialects for dialects in installed()}
    return by_provider.get(provider) or Dialects(provider=provider, speaks=by_provider[OPENAI].speaks)


def _loaded(entry: EntryPoint) -> Dialects | None:
    try:
        found: object = getattr(import_contained(entry.module), entry.attr)
    except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others are read
        log.warning("the dialects of %s cannot be used: %s", entry.name, error)
        return None
    if not isinstance(found, Dialects):
        log.warning("the dialects of %s are no batchmeter.metering.dialects.Dialects", entry.name)
        return None
    return found
