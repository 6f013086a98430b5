"""Keys of the proxy: made, hashed and found again."""

import hashlib
import secrets
from collections.abc import Sequence

from .errors import UsageError
from .ledger.port import KeyLimits, Ledger, Millis, ProxyKey

PREFIX = "bm-"
_SECRET_BYTES = 32
_HINT = 4


async def create_key(
    ledger: Ledger,
    *,
    name: str | None = None,
    owner: str | None = None,
    team: str | None = None,
    tags: Sequence[str] = (),
    accounts: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    admin: bool = False,
    limits: KeyLimits | None = None,
    expires_at: Millis | None = None,
) -> tuple[ProxyKey, str]:
    """The key, and its secret, which nobody can look up again. No `accounts` or `models` means all of them."""
    if expires_at is not None and expires_at <= ledger.now():
        raise UsageError("this key would have expired already: choose a later time")
    secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    key = ProxyKey(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        owner=owner,
        team=team,
        tags=tuple(dict.fromkeys(tags)),
        accounts=tuple(accounts) if accounts else None,
        models=tuple(models) if models else None,
        admin=admin,
        limits=limits or KeyLimits(),
        hint=secret[-_HINT:],
        expires_at=expires_at,
    )
    return await ledger.add_key(key, secret_sha256=hash_of(secret)), secret


def hash_of(secret: str) -> str:
    """What the ledger keeps of it. Plain SHA-256 is right here: the secret is 256 random bits, which no one guesses."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
