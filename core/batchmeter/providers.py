"""The provider contract: one class per vendor, speaking its files and batches in OpenAI's shapes.

A provider holds one account's connections. It translates, and passes errors on; it keeps no state that a restart would
lose, and never retries a create (the client's intents do that safely).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol, Self, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from .errors import APIStatusError, seconds_of
from .input_limits import AccountLimits, InputLimitSettings
from .models import Batch, FileDeleted, FileObject, Page, Secret
from .web import origin_of, redact_url

_WEBHOOK_PREFIX = "whsec_"
_SHORTEST_WEBHOOK_KEY = 8


@dataclass(frozen=True, slots=True)
class ObservedRequest:
    """A request about batches that an observed client of the app's own made. Kept in memory only, and never shown."""

    host: str
    base: str
    """Its address, as far as `/batches`."""
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""

    @property
    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


ObservedKind = Literal["create", "look", "list"]


@dataclass(frozen=True, slots=True)
class ObservedWire:
    """How a vendor's own client is read by `batchmeter.observe`: declared under the entry-point group `batchmeter.observed`.

    OpenAI's own wire needs none. The first declaration whose header, method and path match is taken; the account is that
    of its provider's `Settings.of_request`.
    """

    header: str
    """Name of a header that all its requests have: others may have such paths too."""
    requests: Mapping[ObservedKind, tuple[str, re.Pattern[str]]]
    """Kind -> method and whole path; the group `base` is what stands before the API's own part."""
    batches: Callable[[Any, ObservedKind], Sequence[Batch]]
    """Of an answer's JSON, whatever it is."""
    endings: tuple[bytes, ...] = ()
    """Parts of an answer that shows a batch's end."""


class AccountSettings(BaseModel):
    """Settings that every account may have; a provider's own `Settings` adds its fields. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    addresses: ClassVar[tuple[str, ...]] = ("api_base",)
    """A provider's fields that say where its API is."""
    of_the_host: ClassVar[frozenset[str]] = frozenset({"api_key"})
    """Fields that are for one host only: from the environment they are taken for the environment's own address."""
    renewed: ClassVar[frozenset[str]] = frozenset()
    """A provider's fields that hold a token, or what gives one: with another it is still the same account."""

    spellings: ClassVar[Mapping[str, str]] = {}
    """LiteLLM's names for a provider's own fields -> the fields."""
    client_members: ClassVar[Mapping[str, str]] = {}
    """A provider's own fields -> the members of its vendor's client (`client=`) that hold their values."""

    provider: str = ""
    """The provider's name; by default the account's own."""
    api_key: Secret | None = None
    """Its key at the vendor; never shown in logs, events or errors."""
    api_base: str | None = None
    """The API's address, where it is not the vendor's own."""
    region: str | None = None
    """Decides rates: `global`, a cloud location, a data zone, `eu|us|…` for data residency."""
    timeout: float = 600.0
    """Seconds for one request."""
    max_retries: int = 2
    """Of a request that may safely be repeated; a create never is."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Sent with every request."""
    tag_batches: bool = True
    """Put `batchmeter_id` into a new batch's metadata, to find it again after a lost answer."""
    webhook_secrets: tuple[Secret, ...] = ()
    """Secrets that the vendor signs its webhooks with (`whsec_…`); while one is replaced, the old and the new."""
    check_inputs: bool = True
    """Check input files before they are sent; false leaves it to the server."""
    input_limits: InputLimitSettings = InputLimitSettings()
    """Limits of one input file at its server, where the provider's rules are others: `bytes`, `lines`, `line_bytes`,
    `embedding_inputs`, `endpoints` (a list of urls), `one_model`."""
    limits: AccountLimits = AccountLimits()
    """Limits at the vendor: with `enqueued_tokens = {"gpt-5*" = 5_000_000}` a create waits for room in its queue."""
    adopt: bool = False
    """Track every batch of this account, whoever made it."""

    @field_validator("webhook_secrets")
    @classmethod
    def _usable_secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            webhook_key(secret.get_secret_value())
        return secrets

    @model_validator(mode="after")
    def _only_its_own_credentials(self) -> Self:
        """An account with an address of its own gets no credentials of the process's."""
        named = self.address() if self.model_fields_set & set(self.addresses) else None
        if named is not None and not self.is_usual(named):
            for name in self.of_the_host - self.model_fields_set:
                object.__setattr__(self, name, None)  # frozen to everybody else
        return self

    def address(self) -> str | None:
        """Where its API is, as far as the settings say."""
        return next((str(found) for name in self.addresses if (found := getattr(self, name, None))), None)

    @classmethod
    def of_request(cls, request: ObservedRequest) -> Mapping[str, Any] | None:  # noqa: ARG003 - for those who read it
        """Settings of the account that an observed request was made with; None where it went to somebody else.

        A setting of None was not in the request. Requests that no provider knows are taken for OpenAI's.
        """
        return None

    @classmethod
    def is_usual(cls, address: str) -> bool:
        """Whether the process's own credentials are for the host of this address."""
        usual = [cls.model_fields[name].get_default(call_default_factory=True) for name in cls.addresses]
        return origin_of(address) in [origin_of(str(found)) for found in usual if found]

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Addresses without a password or a signature in them."""
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if isinstance(value, str) and "://" in value else value


def webhook_key(secret: str) -> bytes:
    """The bytes that sign a vendor's webhooks: the base64 after `whsec_`, or the text itself.

    ValueError for a secret that anybody could guess: with an empty key every webhook is signed.
    """
    text = secret.strip()
    if not text.startswith(_WEBHOOK_PREFIX):
        if not text:
            raise ValueError("is an empty webhook secret")
        return text.encode()
    coded = text.removeprefix(_WEBHOOK_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("is a webhook secret without base64 after whsec_") from None
    if len(key) < _SHORTEST_WEBHOOK_KEY:
        raise ValueError(f"is a webhook secret of less than {_SHORTEST_WEBHOOK_KEY} bytes after whsec_")
    return key


def sign_webhook(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """One signature of the header `webhook-signature`, as Standard Webhooks has it: `v1,` and base64.

    `timestamp` is the header's text, epoch seconds.
    """
    mac = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Per-call overrides, as the OpenAI SDK names them."""

    extra_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    extra_query: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timeout: float | None = None
    """Seconds; None: the account's."""


@dataclass(frozen=True, slots=True)
class RawForm:
    """A file that comes inside a whole multipart form, for a provider that takes such a form as it is."""

    content_type: str
    """With the boundary."""
    open: Callable[[], AsyncIterator[bytes]]
    """The form, once."""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file on its way to a provider."""

    filename: str
    purpose: str
    open: Callable[[], AsyncIterator[bytes]]
    """A fresh pass over the bytes; called again only when `replayable`."""
    size: int | None = None
    """Bytes, where known beforehand."""
    content_type: str = "application/jsonl"
    replayable: bool = True
    expires_after: Mapping[str, Any] | None = None
    """`{"anchor": "created_at", "seconds": 3600..2592000}`"""
    form: RawForm | None = None
    """The same upload as OpenAI's form; a provider reads this or `open`, not both."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A batch to create."""

    input_file_id: str | None
    endpoint: str
    completion_window: str = "24h"
    metadata: Mapping[str, str] | None = None
    output_expires_after: Mapping[str, Any] | None = None
    model: str | None = None
    """For providers whose job names the model; others read it from the lines."""


@dataclass(slots=True)
class ContentStream:
    """A file's bytes as they arrive."""

    chunks: AsyncIterator[bytes]
    content_type: str = "application/octet-stream"
    size: int | None = None
    """Bytes to come, where the provider says."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status_code: int = 200
    """206 when `extra_headers` asked for a range and got it."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One piece of a finished batch's answers, as the meter reads it."""

    id: str
    kind: Literal["output", "error", "manifest"]
    open: Callable[[], AbstractAsyncContextManager[ContentStream]]
    """Raises NotFoundError when it is gone for good."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Abilities that tracker and price book may rely on."""

    list_after_any_id: bool = True
    """`after` takes any batch id and the list is newest first: the window cover works."""
    metadata_tag: bool = True
    """A batch's metadata comes back in lists, so a lost create can be found by its tag."""
    lost_create: Literal["metadata", "input"] = "metadata"
    """How a create whose answer was lost is found: by the tag, which the vendor keeps in the batch's metadata; or, where
    it keeps none, by input, number of requests and time, as far as these prove it."""
    max_metadata_pairs: int = 16
    native_lines: bool = False
    """`outputs()` gives rows in the vendor's own dialect rather than OpenAI's."""
    priced_as: str | None = None
    """The provider id whose published prices hold here; by default its own."""
    standard_factor: Decimal | None = None
    """A batch's price as a share of the standard price, where the price book knows the standard price only."""


@runtime_checkable
class Provider(Protocol):
    """One account at one vendor. All methods raise `ProviderError`s; nothing else escapes but bugs.

    It may also have what HasQueue, WaitsToCreate and DeletesBatches have, and `input_limits`
    (`batchmeter.inputs.InputLimits`): what it takes in one input file, checked before a file is sent; OpenAI's rules
    without it, none where it is None. How its output rows count is declared under the entry-point group
    `batchmeter.dialects`, or as `dialects` on the class (`batchmeter.metering.dialects.Dialects`). Where `invented` is true (a provider for tests), its answers and costs are made
    up: it has no account unless the settings name one. `plain_members` (a frozenset of names) are members of a create that reach nothing
    but the batch itself: a proxy lets every key send them; all others of the vendor's own are for admins.
    """

    name: ClassVar[str]
    """The provider id that prices and `custom_llm_provider` use: `openai` for one."""
    capabilities: ClassVar[Capabilities]
    account: str
    region: str | None
    endpoint: str
    """Scheme, host and path prefix that this account talks to; never a secret."""

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject: ...

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject: ...

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]: ...

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted: ...

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        """The file's bytes, in the shape users read (OpenAI lines, for providers that translate)."""
        ...

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """Submit, once: an answer that is lost raises APIConnectionError and is never retried here."""
        ...

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch: ...

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch: ...

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]: ...

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Every piece of a finished batch's answers: output first, then errors. Empty where there is none."""
        ...

    def price_model(self, model: str) -> str:
        """The model to price for a name in a line or batch (of a deployment); the same name by default."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class HasQueue(Protocol):
    """Members of a provider whose queue can be full: it refuses a create, or fails the batch, and did nothing.

    The same request is then submitted again, by the call that was refused or by a tracker.
    """

    @property
    def queue_patience(self) -> float:
        """Seconds from the first try within which there is another; 0: none."""
        ...

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """Seconds until the next try, `attempt` counting from 0; None: the queue is not why."""
        ...


@runtime_checkable
class WaitsToCreate(Protocol):
    """Members of a provider whose `create_batch` may wait before it submits."""

    @property
    def create_wait(self) -> float:
        """Seconds at most; a create that no batch was found of is not given up before."""
        ...


@runtime_checkable
class DeletesBatches(Protocol):
    """Members of a provider that can forget a batch."""

    async def delete_batch(self, batch_id: str, options: CallOptions) -> None:
        """Of an ended one. What it read and wrote stays."""
        ...


class ProviderFactory(Protocol):
    """A provider class: what `register_providers` registers."""

    # Properties, because a class object's ClassVars match nothing else; in the class they are plain ClassVars.
    @property
    def name(self) -> str: ...

    @property
    def Settings(self) -> type[AccountSettings]: ...  # noqa: N802

    def __call__(self, account: str, settings: Any) -> Provider: ...


def waits_for_room(provider: Provider) -> HasQueue | None:
    """None where a full queue is nobody's business but the caller's."""
    # Asked at every submission: whether it is a HasQueue takes Python 3.11 ten times as long.
    patience = seconds_of(getattr(provider, "queue_patience", 0)) or 0.0
    return cast("HasQueue", provider) if patience > 0 else None


def next_try(
    provider: Provider, refusal: Batch | APIStatusError, attempt: int, *, since: int, ended: int
) -> int | None:
    """Epoch milliseconds when to submit again what ended so; None: the queue is not why, or the time from the first try is used up."""
    queue = waits_for_room(provider)
    pause = seconds_of(queue.queue_pause(refusal, attempt)) if queue is not None else None
    if queue is None or pause is None or pause * 1000 > since - ended + float(queue.queue_patience) * 1000:
        return None
    return ended + int(max(pause, 0.0) * 1000)
