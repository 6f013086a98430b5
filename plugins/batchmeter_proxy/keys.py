"""Keys of the proxy: made, hashed and found again."""

import hashlib
import secrets
from collections.abc import Sequence

from batchmeter.access import Millis
from batchmeter.errors import UsageError

from .keyring import KeyLimits, Keyring, ProxyKey

PREFIX = "bm-"
_SECRET_BYTES = 32
_HINT = 4
MOST_TAGS, LONGEST_TAG = 32, 128
"""Of a key, and of what one request adds."""
_LAST_MOMENT = 253_402_300_799_999
"""The end of 9999, after which there are no dates."""


async def create_key(
    keyring: Keyring,
    *,
    name: str | None = None,
    owner: str | None = None,
    team: str | None = None,
    tags: Sequence[str] = (),
    accounts: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    admin: bool = False,
    allow_raw: bool = False,
    limits: KeyLimits | None = None,
    expires_at: Millis | None = None,
) -> tuple[ProxyKey, str]:
    """The key, and its secret, which nobody can look up again. `accounts` or `models` None means all of them."""
    for what, chosen in (("accounts", accounts), ("models", models)):
        if chosen is not None and not chosen:
            raise UsageError(f"{what} is empty, which would allow none: leave it out to allow all")
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise UsageError(f"a key may have at most {MOST_TAGS} tags of at most {LONGEST_TAG} characters each")
    if expires_at is not None and expires_at > _LAST_MOMENT:
        raise UsageError("there is no date after the year 9999: leave it out for a key that never expires")
    if expires_at is not None and expires_at <= keyring.now():
        raise UsageError("this key would have expired already: choose a later time")
    secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    key = ProxyKey(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        owner=owner,
        team=team,
        tags=tuple(dict.fromkeys(tags)),
        accounts=None if accounts is None else tuple(accounts),
        models=None if models is None else tuple(models),
        admin=admin,
        allow_raw=allow_raw,
        limits=limits or KeyLimits(),
        hint=secret[-_HINT:],
        expires_at=expires_at,
    )
    return await keyring.add_key(key, secret_sha256=hash_of(secret)), secret


def hash_of(secret: str) -> str:
    """The hash that the ledger keeps. Plain SHA-256 is right here: the secret is 256 random bits, which no one guesses."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
