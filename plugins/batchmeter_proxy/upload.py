"""`POST /files`: a file goes through to its provider while it is checked; a bad one leaves nothing there."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from batchmeter.access import Readers, access_of
from batchmeter.errors import BatchmeterError
from batchmeter.inputs import InputSummary, limits_of
from batchmeter.models import FileObject
from batchmeter.providers import CallOptions, FileUpload, Provider, RawForm

from .answers import rendered, whole_number
from .body import Incoming, TooLargeError, TooSlowError
from .call import ACCOUNT_FIELDS, Call
from .errors import Refusal
from .idempotency import once
from .identity import Action
from .members import check_members, check_models
from .multipart import FormReader
from .upload_check import Intake, RefusedFileError

log = logging.getLogger("batchmeter")

_FORM_ROOM = 128 * 1024
"""Bytes of a body beyond its file."""
_EXPIRY = ("anchor", "seconds")
_OURS = frozenset(
    {"purpose", *ACCOUNT_FIELDS, *(f"expires_after{form % part}" for form in ("[%s]", ".%s") for part in _EXPIRY)}
)


async def create(call: Call) -> Response:
    options = call.state.options
    length = whole_number(call.request.headers.get("content-length", ""))
    room = options.max_upload_bytes + _FORM_ROOM
    message = f"The file is larger than {options.max_upload_bytes:,} bytes."
    full = TooLargeError(413, message, code="file_too_large", param="file")
    incoming = Incoming(call.request.receive, room, full, options.upload_seconds, options.upload_idle_seconds)
    if length is not None and length > room:
        raise full
    try:
        async with call.transfer():
            answer = await _receive(call, incoming, length)
    except (ClientDisconnect, TooSlowError, TooLargeError):
        raise
    except Exception:
        await _drain(incoming)
        raise
    await _drain(incoming)  # a repeated upload has not been read yet
    return answer


async def _receive(call: Call, incoming: Incoming, length: int | None) -> Response:
    reader = FormReader(call.request.headers.get("content-type", ""))
    chosen: list[Provider] = []

    async def accept(summary: InputSummary | None) -> None:
        models = summary.models if summary else ()
        check_models(call, models)
        check_members(call, chosen[0], set(reader.fields) - _OURS)
        await call.admit(Action("upload", chosen[0].account, models, summary.lines if summary else 0))

    intake = Intake(incoming, call.state.options.max_upload_bytes, reader, accept)
    await intake.read_head()
    account = _account(call, intake)
    call.allow(account)
    provider = call.client.accounts.get(account)
    chosen.append(provider)
    call.allow(provider.account)
    check_members(call, provider, set(reader.fields) - _OURS)
    return await once(
        call, f"files {provider.account}", lambda: _send(call, provider, intake, length), intake.fingerprint
    )


def _account(call: Call, intake: Intake) -> str:
    named = next((text for name in ACCOUNT_FIELDS if (text := intake.reader.fields.get(name))), None)
    routed = call.client.settings.models
    found = call.account or named or (routed.get(intake.first_model or "") if routed else None)
    return found or call.client.accounts.default


async def _send(call: Call, provider: Provider, intake: Intake, length: int | None) -> bytes:
    checked = call.state.options.check_inputs
    try:
        await intake.begin(limits_of(provider) if checked else None, await _readers(call, provider, intake))
        upload = _upload(intake, length)
        extra = {name: text for name, text in intake.reader.fields.items() if name not in _OURS}
        made = await provider.create_file(upload, CallOptions(extra_body=extra))
    except RefusedFileError:
        await intake.finish()  # raises all that is wrong with it
        raise
    try:
        if not intake.accepted:  # the provider answered before it had the whole body
            await intake.finish()
        access = await access_of(call.client)
        await access.record_file(
            provider.account,
            made,
            attribution=call.attribution(),
            lines=intake.lines,
            sha256=intake.sha256,
            estimate=intake.text,
        )
    except BaseException:
        await _take_back(provider, made)
        raise
    return rendered(made)


async def _readers(call: Call, provider: Provider, intake: Intake) -> Readers:
    """The plugins' readers of the file."""
    parts = await call.client.ready()
    filename = intake.reader.filename or "file"
    return Readers(parts.plugins.read_upload(provider, intake.purpose, filename, parts.prices))


def _upload(intake: Intake, length: int | None) -> FileUpload:
    reader = intake.reader
    expiry = _expires_after(reader.fields)
    form = None
    if not intake.complete:
        expiring = {f"expires_after[{part}]": str(text) for part, text in (expiry or {}).items()}
        others = {name: text for name, text in reader.fields.items() if name not in _OURS}
        known = {"purpose": intake.purpose} if intake.purpose else {}
        head = intake.head({**known, **expiring, **others})
        rest = intake.left(length)
        boundary = reader.boundary.decode("latin-1")
        form = RawForm(
            f'multipart/form-data; boundary="{boundary}"',
            lambda: intake.form(head),
            None if rest is None else len(head) + rest,
        )
    return FileUpload(
        reader.filename or "upload.jsonl",
        intake.purpose or "batch",
        intake.pieces,
        intake.size if intake.complete else None,
        content_type=reader.file_type,
        replayable=intake.complete,
        expires_after=expiry,
        form=form,
    )


def _expires_after(fields: Mapping[str, str]) -> Mapping[str, Any] | None:
    """From `expires_after[seconds]`, as SDKs spell it, or `expires_after.seconds`, as Azure's REST pages do."""
    found: dict[str, Any] = {}
    for part in _EXPIRY:
        text = fields.get(f"expires_after[{part}]") or fields.get(f"expires_after.{part}")
        if text:
            found[part] = whole_number(text) if text.isdecimal() else text
        if text and found[part] is None:
            name = f"expires_after[{part}]"
            raise Refusal(400, f"Invalid '{name}': {text[:40]}.", code="invalid_value", param=name)
    return found or None


async def _take_back(provider: Provider, made: FileObject) -> None:
    """A file that nobody will hear of."""
    try:
        await provider.delete_file(made.id, CallOptions())
    except BatchmeterError:
        log.exception("file %s was refused after it had been uploaded, and cannot be deleted", made.id)


async def _drain(incoming: Incoming) -> None:
    with suppress(ClientDisconnect, TooSlowError, TooLargeError):
        while await incoming.read():
            pass
