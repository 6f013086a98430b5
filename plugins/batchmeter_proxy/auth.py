"""Authentication: keys from the ledger, or anybody on this machine as long as no key was ever created."""

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request

from batchmeter import AsyncClient
from batchmeter.errors import LedgerError

from .errors import Refusal
from .identity import ANONYMOUS, Action, Done, Identity
from .keyring import Keyring, ProxyKey, keyring_of
from .keys import hash_of
from .limits import KeyIdentity, Limits

REMEMBERED_SECONDS = 2.0
"""How long a key's row serves without asking the ledger again: a revoked key stops working within that time."""
SEEN_SECONDS = 60.0
"""How exactly it is known when a key was last used."""
_MANY = 4096
_LONGEST_SECRET = 512
_FORWARDED = re.compile(r"forwarded|x-forwarded-.+|x-real-ip")
"""Headers that a reverse proxy adds: behind it, every request seems to come from this machine."""
_RESERVED = (".localhost", ".test", ".internal")
"""Nobody can register these."""


@dataclass(slots=True)
class _Remembered:
    key: ProxyKey
    until: float


class Keys:
    """Authenticates and admits by the ledger's keys."""

    def __init__(self, client: AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._limits = Limits()
        self._known: dict[str, _Remembered] = {}
        self._used_at: dict[str, float] = {}
        self._any_key = False
        self._none_until = float("-inf")

    async def authenticate(self, request: Request) -> Identity:
        """Refusal (401) unless the key is good, or there are no keys and the caller is on this machine."""
        keyring = await keyring_of(self._client)
        if not await self._needed(keyring):
            return _anonymous(request)
        secret = _secret(request)
        if secret is None:
            raise _unknown(
                "You didn't provide an API key: send it as `Authorization: Bearer`, `x-api-key` or `api-key`."
            )
        known = await self._key(keyring, secret)
        found = identity_of(known, keyring.now())
        await self._see(keyring, found.key_id)
        return found

    async def _see(self, keyring: Keyring, key_id: str) -> None:
        """Kept once a minute; a ledger that is away spoils no answer."""
        now = self._clock()
        if now < self._used_at.get(key_id, float("-inf")) + SEEN_SECONDS:
            return
        if len(self._used_at) >= _MANY:
            self._used_at.clear()
        self._used_at[key_id] = now
        with suppress(LedgerError):
            await keyring.see_key(key_id)

    async def admit(self, identity: Identity, action: Action) -> Done | None:
        """Refusal (429) where one of the key's limits is used up."""
        if not isinstance(identity, KeyIdentity):
            return None
        if action.kind == "batch" and identity.limits.enqueued_tokens is not None and not self._client.plugins.guarded:
            text = "This key has a limit of enqueued tokens, which budgets hold, and they are off: set BATCHMETER_BUDGETS=on."
            raise Refusal(503, text, code="limit_not_held")
        return await self._limits.admit(await keyring_of(self._client), identity, action)

    async def _needed(self, keyring: Keyring) -> bool:
        """Whether there was ever a key; once there was, for good."""
        now = self._clock()
        if not self._any_key and now >= self._none_until:
            self._any_key = await keyring.has_keys()
            self._none_until = now + REMEMBERED_SECONDS
        return self._any_key

    async def _key(self, keyring: Keyring, secret: str) -> ProxyKey | None:
        """Found by its hash, so that how long it takes tells nothing about how much of a guess was right.

        Wrong ones are not remembered: nobody can fill the memory with them.
        """
        digest, now = hash_of(secret), self._clock()
        known = self._known.get(digest)
        if known is not None and now < known.until:
            return known.key
        key = await keyring.find_key(digest)
        self._known.pop(digest, None)
        if key is not None:
            if len(self._known) >= _MANY:
                self._known.clear()
            self._known[digest] = _Remembered(key, now + REMEMBERED_SECONDS)
        return key


def identity_of(key: ProxyKey | None, now: int) -> KeyIdentity:
    """Refusal (401) for a key that is unknown, expired or revoked."""
    if key is None:
        raise _unknown("Incorrect API key provided.")
    state = key.state(now)
    if state != "active":
        raise _unknown(f"This API key {'has expired' if state == 'expired' else 'was revoked'}.")
    return KeyIdentity(
        attribution=key.attribution,
        admin=key.admin,
        accounts=None if key.accounts is None else frozenset(key.accounts),
        models=None if key.models is None else frozenset(key.models),
        allow_raw=key.allow_raw,
        limits=key.limits,
    )


def _secret(request: Request) -> str | None:
    given = request.headers.get("authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
    else:
        secret = (request.headers.get("x-api-key") or request.headers.get("api-key", "")).strip()
    return secret if 0 < len(secret) <= _LONGEST_SECRET else None


def _anonymous(request: Request) -> Identity:
    """Mounted in an app that listens elsewhere, the proxy is not open to the world either."""
    if request.client is not None and not _here(request.client.host):
        raise _unknown("This proxy has no keys yet, so it answers its own machine only: batchmeter keys create")
    if any(_FORWARDED.fullmatch(name) for name in request.headers):
        message = (
            "This proxy has no keys yet, and this request came through another server (its Forwarded or X-Forwarded-… "
            "header says so), so anybody may have sent it: batchmeter keys create"
        )
        raise Refusal(403, message, code="forwarded_without_keys")
    if cross_site(request.headers):
        message = "This proxy has no keys yet, so no web page or name from elsewhere may use it: batchmeter keys create"
        raise Refusal(403, message, code="cross_site")
    return ANONYMOUS


@lru_cache(1024)
def _here(host: str) -> bool:
    """A name that is no IP address has no network behind it: a Unix socket, a test client."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _unknown(message: str) -> Refusal:
    return Refusal(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer", "connection": "close"})


def cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a web page from elsewhere may be behind a request: a browser sends a plain POST wherever a page asks it to.

    The page is from another site; or the name by which it was found is one that anybody may lead here."""
    host = _host_name(f"//{headers.get('host', '')}")
    origin = headers.get("origin")
    if not _is_own(host):
        return True
    if origin is None:
        return False
    page = _host_name(origin)
    return not page or not (page == host or _is_this_machine(page))


@lru_cache(1024)
def _host_name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    """No public name: an address, or what only this machine or its network resolves."""
    return "." not in host or host.endswith(_RESERVED) or _ip_address(host) is not None


def _is_this_machine(host: str) -> bool:
    address = _ip_address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
