"""Recorder: records an observed create before the app gets its answer, and updates the ledger by each observed look."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import SecretStr

from batchmeter.config import validated
from batchmeter.errors import BatchmeterError, UnknownAccountError, UsageError
from batchmeter.models import Attribution, Batch
from batchmeter.providers import ObservedRequest, ObservedWire, Provider

from .exchange import Kind, batches_in

if TYPE_CHECKING:
    from batchmeter.faces.client import AsyncClient
    from batchmeter.ledger.records import Submission
    from batchmeter.parts import Parts


log = logging.getLogger("batchmeter")

CREATE_SECONDS = 2.0
"""How long the app's create waits for its record; the record is made even if it takes longer."""
END_SECONDS = 0.25
"""How long the look that shows the end waits, so that a script which then exits still settles it."""
MOST_BACKLOG = 100
"""Looks under way; more are dropped: the tracker looks itself."""


class Host(Protocol):
    """Where a client is open: the default engine, a `Client`'s, or an `AsyncClient` in the app's own loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...

    def post(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, None]]") -> "Future[None]": ...


@dataclass(frozen=True, slots=True)
class Notice:
    """One accepted exchange, taken out of the app's hands."""

    kind: Kind
    request: ObservedRequest
    body: bytes
    traceparent: str | None
    wire: ObservedWire | None = None


class Recorder:
    """Turns notices into what the ledger knows."""

    def __init__(self, host: Host, attribution: Attribution) -> None:
        self.host = host
        self._attribution = attribution
        self._under_way: set[Future[None]] = set()
        self._missed: dict[str, tuple[Notice, Batch]] = {}
        """Creates that could not be recorded, by batch id; tried again with the next notice."""
        self._failing: str | None = None

    def tell(self, notice: Notice) -> "Future[None]":
        """Start recording; returns at once. The future says when it is over, and never raises."""
        over: Future[None] = Future()
        if notice.kind != "create" and len(self._under_way) >= MOST_BACKLOG:
            over.set_result(None)
            return over

        def finish(work: "Future[None]") -> None:
            self._under_way.discard(over)
            error = None if work.cancelled() else work.exception()
            if isinstance(error, Exception):  # the client itself could not be opened
                self._not_begun(notice, error)
            over.set_result(None)

        self._under_way.add(over)
        self.host.post(lambda client: self._record(client, notice)).add_done_callback(finish)
        return over

    def patience(self, notice: Notice) -> float:
        """Seconds that the app may be kept waiting."""
        if notice.kind == "create":
            return CREATE_SECONDS
        marks = _ENDINGS if notice.wire is None else notice.wire.endings
        return END_SECONDS if any(mark in notice.body for mark in marks) else 0.0

    def waited(self, notice: Notice, done: bool) -> None:
        if not done and notice.kind == "create":
            log.warning("observe: recording a batch takes more than %g s and goes on behind the app", CREATE_SECONDS)

    def failed(self, error: Exception) -> None:
        """Said once, until something works again."""
        reason = f"{type(error).__name__}: {error}"
        if reason != self._failing:
            self._failing = reason
            log.warning("observe: batchmeter failed, the app's call did not: %s", reason, exc_info=error)

    def _not_begun(self, notice: Notice, error: Exception) -> None:
        with contextlib.suppress(ValueError):
            self._read(notice)
        self.failed(error)

    def _read(self, notice: Notice) -> list[Batch]:
        """Its batches; a create's are kept until they are recorded. ValueError when it is no JSON."""
        batches = batches_in(json.loads(notice.body), notice.kind, notice.wire)
        if notice.kind == "create":
            self._missed |= {batch.id: (notice, batch) for batch in batches}
        return batches

    async def _record(self, client: "AsyncClient", notice: Notice) -> None:
        try:
            batches = self._read(notice)
            await self._record_created(client)
            if notice.kind != "create":
                await self._advance(client, notice.request, batches)
            self._failing = None
        except Exception as error:  # noqa: BLE001 - the app's call is not ours to fail
            self.failed(error)

    async def _record_created(self, client: "AsyncClient") -> None:
        """This create, and those that failed before it."""
        from batchmeter.submit import record_created  # noqa: PLC0415 - with the ledger, in the client's thread

        for batch_id, (notice, batch) in list(self._missed.items()):
            try:
                submission = self._submission(client, notice, batch)
                parts = await client.ready()
                await _watch(parts, account_of(client, notice.request), submission, batch.id)
                await record_created(parts, submission, batch)
            except Exception as error:
                error.add_note(f"batch {batch_id} exists and is not tracked yet; it is tried again with the next call")
                raise
            self._missed.pop(batch_id, None)

    def _submission(self, client: "AsyncClient", notice: Notice, batch: Batch) -> Any:
        from batchmeter.ledger.records import Submission  # noqa: PLC0415 - as above
        from batchmeter.tracker.metadata_tag import without_tag  # noqa: PLC0415

        provider = account_of(client, notice.request)
        return Submission(
            account=provider.account,
            provider=provider.name,
            endpoint=batch.endpoint,
            region=provider.region,
            input_file_id=batch.input_file_id,
            model=batch.model,
            metadata=dict(without_tag(batch).metadata or {}),
            attribution=self._attribution,
            traceparent=notice.traceparent,
        )

    async def _advance(self, client: "AsyncClient", request: ObservedRequest, batches: list[Batch]) -> None:
        parts = await client.ready()
        mine = account_of(client, request)
        for batch in batches:
            await parts.tracker.shown(mine, batch)


async def _watch(parts: "Parts", provider: Provider, submission: "Submission", batch_id: str) -> None:
    """A batch that was made without us: plugins hear of it as of any other, and cannot refuse it."""
    from batchmeter.tracker.guards import planned_batch  # noqa: PLC0415 - as above

    if not parts.plugins.guarded:
        return
    planned = planned_batch(provider, submission, f"{submission.account}\x1f{batch_id}", None, batch_id)
    try:
        await parts.plugins.before_submit(planned, await parts.guards.estimate_of(provider, submission))
    except BatchmeterError as error:
        log.warning("batch %s exists already, and a plugin would have refused it: %s", batch_id, error)


_ENDINGS = (b'"completed"', b'"failed"', b'"expired"', b'"cancelled"')


NO_KEY = "none"
"""Key of a request without one: the environment's key is for somebody else."""


def account_of(client: "AsyncClient", request: ObservedRequest) -> Provider:
    """ConfigError, UnknownAccountError where the settings are wrong."""
    for name, factory in client.plugins.providers.items():
        settings = factory.Settings.of_request(request)
        if settings is not None:
            return _account_at(client, name, settings)
    return _account_at(client, "openai", _settings(request))


def _account_at(client: "AsyncClient", provider: str, given: Mapping[str, Any]) -> Provider:
    """The configured account at this address with this key.

    Else an ad-hoc one with these settings (and, of the provider's section, what says nothing of who it is). A setting of
    None was not in the request.
    """
    factory = client.plugins.providers.get(provider)
    if factory is None:
        raise UnknownAccountError(f"no provider {provider!r} is installed")
    values: dict[str, Any] = {"headers": {}, **{key: value for key, value in given.items() if value is not None}}
    address = factory("", validated(factory.Settings, {"provider": provider, **values}, "observed request")).endpoint
    configured = client.settings.accounts
    named = [name for name, section in configured.items() if section.get("provider", name) == provider]
    for name in named if provider in (*named, *configured) else [*named, provider]:
        if _is_made_with(client, name, address, given):
            return client.accounts.get(name)
    return client.accounts.resolve(provider, values)


def _is_made_with(client: "AsyncClient", account: str, address: str, given: Mapping[str, Any]) -> bool:
    try:
        settings = client.accounts.settings(account, keys_exist=True)
        endpoint = client.accounts.get(account).endpoint
    except UsageError:
        return False  # its settings do not say yet whose account it is
    who = [key for key in ("api_key", "organization", "project") if key in given]
    return endpoint == address and all(_text(getattr(settings, key)) == (given[key] or "") for key in who)


def _text(setting: SecretStr | str | None) -> str:
    return setting.get_secret_value() if isinstance(setting, SecretStr) else setting or ""


def _settings(request: ObservedRequest) -> dict[str, Any]:
    """Settings of the caller; None where the request named nothing."""
    return {
        "api_base": request.base,
        "api_key": request.bearer or NO_KEY,
        "organization": request.headers.get("openai-organization"),
        "project": request.headers.get("openai-project"),
    }
