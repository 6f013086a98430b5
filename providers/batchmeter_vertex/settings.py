"""Settings of an account at Vertex AI, and the environment variables it falls back on."""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from batchmeter.errors import ConfigError
from batchmeter.http import origin_of
from batchmeter.models import Secret
from batchmeter.providers import AccountSettings
from batchmeter_translate.buckets import folder_in

TokenSource = Callable[[], str | Awaitable[str]]

_PROJECT = ("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT")
_LOCATION = ("VERTEXAI_LOCATION", "VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION")
_MULTI_REGIONS = ("us", "eu")
_GOOGLE = "googleapis.com"


def _env(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


class VertexSettings(AccountSettings):
    """Without `token` and `credentials`, Google's application default credentials are taken, for Google's hosts alone."""

    addresses: ClassVar[tuple[str, ...]] = ("api_base", "storage_base")
    of_the_host: ClassVar[frozenset[str]] = frozenset({"api_key", "credentials", "token"})
    renewed: ClassVar[frozenset[str]] = frozenset({"token"})
    spellings: ClassVar[Mapping[str, str]] = {
        "vertex_project": "project",
        "vertex_location": "location",
        "vertex_credentials": "credentials",
    }

    project: str | None = Field(default_factory=lambda: _env(*_PROJECT))
    """Id or number; by default the credentials' own."""
    location: str = Field(
        default_factory=lambda: _env(*_LOCATION) or "us-central1", pattern="^[a-z][a-z0-9-]*$", validate_default=True
    )
    """A region, `global`, or a multi-region (`us`, `eu`)."""
    bucket: str | None = Field(default_factory=lambda: _env("GCS_BUCKET_NAME"))
    """`my-bucket`, `my-bucket/folder` or `gs://my-bucket/folder`."""
    prefix: str = "batchmeter"
    """Folder in the bucket; everything this account writes is below it."""
    credentials: Secret | None = Field(default_factory=lambda: _secret(_env("VERTEXAI_CREDENTIALS")))
    """Path of a credentials file, or its JSON."""
    token: Secret | TokenSource | None = Field(default=None, repr=False)
    """An access token, or a function (plain or async) that gives a fresh one."""
    storage_base: str | None = None
    """Cloud Storage's address, for private endpoints; `STORAGE_EMULATOR_HOST` is honoured, without credentials."""
    format: Literal["openai", "native"] = "openai"
    """`native`: files and answers are Vertex AI's own rows, untouched."""
    safety_settings: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    """Gemini's `safetySettings`, put on every translated request."""

    @field_validator("credentials", mode="before")
    @classmethod
    def _json_credentials(cls, value: Any) -> Any:
        return json.dumps(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _no_api_key(self) -> "VertexSettings":
        if self.api_key is not None:
            raise ValueError("vertex_ai takes `credentials` or `token`, not `api_key`: batch jobs need OAuth")
        return self

    def address(self) -> str:
        """Of its two, the one that is not Google's, if any is."""
        named = [base for base in (self.api_base, self.storage_base) if base]
        return next((base for base in named if not self.is_usual(base)), self.host)

    @classmethod
    def is_usual(cls, address: str) -> bool:
        """Whether it is Google's, private endpoints in a customer's network included."""
        scheme, host, _ = origin_of(address)
        return scheme == "https" and (host == _GOOGLE or host.endswith(f".{_GOOGLE}"))

    @property
    def host(self) -> str:
        """Scheme and host of the API at this location."""
        if self.api_base:
            return self.api_base.rstrip("/")
        if self.location == "global":
            return "https://aiplatform.googleapis.com"
        if self.location in _MULTI_REGIONS:
            return f"https://aiplatform.{self.location}.rep.googleapis.com"
        return f"https://{self.location}-aiplatform.googleapis.com"

    @property
    def emulator(self) -> str | None:
        """`STORAGE_EMULATOR_HOST`, unless the account names its own address; it gets no credentials."""
        found = None if self.storage_base else _env("STORAGE_EMULATOR_HOST")
        return found if found is None or "://" in found else f"http://{found}"

    @property
    def storage_host(self) -> str:
        return (self.storage_base or self.emulator or "https://storage.googleapis.com").rstrip("/")

    def folder(self) -> tuple[str, str]:
        """Bucket and the folder in it, without slashes at the ends."""
        if not self.bucket:
            raise ConfigError(
                "vertex_ai needs a Cloud Storage bucket for batch files: set `bucket` in the account, or GCS_BUCKET_NAME"
            )
        return folder_in(self.bucket, self.prefix, "gs")


def _secret(value: str | None) -> SecretStr | None:
    return None if value is None else SecretStr(value)
