"""Identity: the seam between the proxy and whatever checks keys, and what a caller may see."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from starlette.requests import Request

from batchmeter.models import Attribution


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as a request's key says."""

    attribution: Attribution = field(default_factory=Attribution)
    """Rides on every event of the caller's batches; `attribution.key` is the key's id, never the key."""
    admin: bool = False
    """Sees everybody's files and batches, in the accounts it may use."""
    accounts: frozenset[str] | None = None
    """The accounts it may use; None: all."""
    models: frozenset[str] | None = None
    """The models it may use; None: all."""

    allow_raw: bool = False
    """May send a provider members and form fields that the proxy does not know, as an administrator may."""

    @property
    def raw(self) -> bool:
        return self.admin or self.allow_raw

    @property
    def everywhere(self) -> bool:
        """Whether it may see what is added up over everybody and every account."""
        return self.admin and self.accounts is None

    def owns(self, attribution: Attribution | None) -> bool:
        """Whether it may see what carries this attribution."""
        if self.admin:
            return True
        return attribution is not None and attribution.key is not None and attribution.key == self.attribution.key


ANONYMOUS = Identity(admin=True)
"""Everybody, on loopback without keys: any bearer token is as good as none."""

Authenticate: TypeAlias = Callable[[Request], Awaitable[Identity]]
"""Raises Refusal (401) for a caller it does not know."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something a key's limits may stand against."""

    kind: Literal["request", "upload", "batch"]
    """Any authenticated request; an input file just before its last bytes go on; a batch about to be submitted."""
    account: str | None = None
    models: tuple[str, ...] = ()
    lines: int = 0
    """Requests in the file (`upload`), or in a batch whose file was not uploaded by the caller."""
    input_file_id: str | None = None
    counted: bool = True
    """The input is `input_file_id` and nothing else: no member that the proxy does not know names another (`batch`)."""
    once: str | None = None
    """The caller's idempotency key: what has the same is one action, however often it is asked for (`batch`)."""


Done: TypeAlias = Callable[[bool], Awaitable[None]]
"""Called when the request that was admitted is over; with False when certainly nothing came of it."""
Admit: TypeAlias = Callable[[Identity, Action], Awaitable[Done | None]]
"""Raises Refusal (403, 429 with retry-after) for what a key may not do, or not now."""


async def anybody(request: Request) -> Identity:
    """Without keys everybody is an administrator."""
    del request
    return ANONYMOUS


async def anything(identity: Identity, action: Action) -> None:
    """Without keys there are no limits."""
    del identity, action
