"""Settings of the webhook logger."""

import os
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from batchmeter.models import Secret
from batchmeter.providers import webhook_key

from .public_address import is_public, literal

_SHORTEST = 16
"""Bytes of a secret; standardwebhooks.com asks for 24 to 64."""


def _list(value: object) -> object:
    """One secret, or several."""
    return tuple(value.split()) if isinstance(value, str) else value


def _usable(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        if len(webhook_key(secret.get_secret_value())) < _SHORTEST:
            raise ValueError(f"is too short: at least {_SHORTEST} bytes, better 32, as `openssl rand -base64 32` gives")
    return secrets


def _from_env(name: str) -> Any:
    """For pydantic to check."""
    return lambda: os.environ.get(name, "").strip()


class WebhookSettings(BaseModel):
    """`[plugins.webhook]`."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    url: str = Field(default_factory=_from_env("BATCHMETER_WEBHOOK_URL"))
    """Where events are posted."""
    secret: Annotated[tuple[Secret, ...], BeforeValidator(_list), AfterValidator(_usable)] = Field(
        default_factory=_from_env("BATCHMETER_WEBHOOK_SECRET")
    )
    """Signs them: `whsec_` and base64, or a text. While you replace it, the old and the new."""
    format: Literal["standard", "slack", "teams", "discord"] = "standard"
    """`standard`: the whole event, signed. Else one sentence to an incoming webhook of Slack, Microsoft Teams (Workflows)
    or Discord, whose address is the secret."""
    only: tuple[str, ...] = ()
    """Kinds of events that are posted, such as `budget_alert`, `alert` and `batch_failure`; all, where none is named."""
    pages: str = ""
    """Address of the web pages, such as `https://batches.example.com/ui`: messages link to them."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds for one post."""
    allow_private: bool = False
    """Post to loopback, private and link-local addresses too."""
    allow_http: bool = False
    """Post without TLS too."""

    @model_validator(mode="after")
    def _reachable(self) -> "WebhookSettings":
        if not self.secret and self.format == "standard":
            raise ValueError("secret is not set: give it here, or as BATCHMETER_WEBHOOK_SECRET (whsec_ and base64)")
        parts = urlsplit(self.url)
        host = parts.hostname
        if parts.scheme not in ("https", "http") or not host:
            raise ValueError("url is not an http(s) address: give it here, or as BATCHMETER_WEBHOOK_URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url holds a user or password: the signature says who posts, leave them out")
        if parts.scheme == "http" and not self.allow_http:
            raise ValueError("url is not https: events would travel in the clear; allow_http = true allows it")
        address = literal(host)
        if address is not None and not is_public(address) and not self.allow_private:
            raise ValueError(f"url is at {address}, which is not a public address; allow_private = true allows it")
        return self
