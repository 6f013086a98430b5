"""Labels of accounts that a call made with a key, token or address of its own: named after what differs."""

import hashlib
from collections.abc import Collection
from urllib.parse import urlsplit

from pydantic import SecretStr

from .providers import AccountSettings

HOW = frozenset({"max_retries", "timeout"})
"""Settings of how it is asked, not of who it is."""
_NOT_WHO = {"adopt", "api_base", "endpoint", "spool", *HOW}
_API_PATHS = ("", "v1", "openai", "openai/v1")


def label_of(name: str, plain: AccountSettings, settings: AccountSettings) -> str:
    label, address = name, _address(settings)
    if address and address != _address(plain):
        label += "@" + host_of(address)
    # Elsewhere, an account's own credentials are left out, which makes it nobody else.
    unset = {field for field in (*settings.of_the_host, "headers") if not getattr(settings, field)}
    if _identity(settings, unset) != _identity(plain, unset):
        label += "#" + hashlib.sha256(b"batchmeter account" + _identity(settings)).hexdigest()[:6]
    return label


def host_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[0].rpartition("@")[2]


def credential_names(settings: AccountSettings) -> set[str]:
    return {"api_key", "credentials", *settings.renewed}


def credentials_of(settings: AccountSettings | None) -> dict[str, object]:
    return {} if settings is None else {name: getattr(settings, name, None) for name in credential_names(settings)}


def reveal(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _identity(settings: AccountSettings, unset: Collection[str] = ()) -> bytes:
    """Everything that makes it another account at the same host: six digits of its hash tell two keys apart.

    Of a token only that there is one: the next hour's is the same account.
    """
    values: dict[str, object] = settings.model_dump(exclude={*_NOT_WHO, *settings.renewed, *unset})
    if any(isinstance(getattr(settings, name), SecretStr) for name in settings.renewed):
        values["token"] = True
    path = urlsplit(_address(settings)).path.strip("/")
    if path not in _API_PATHS:
        values["path"] = path
    return "\x1f".join(f"{key}={reveal(value)}" for key, value in sorted(values.items())).encode()


def _address(settings: AccountSettings) -> str:
    return settings.api_base or str(getattr(settings, "endpoint", None) or "")
