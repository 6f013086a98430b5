"""Observed requests to Azure OpenAI: told by their host, their `api-key` or their `api-version`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchmeter.providers import ObservedRequest

_HOST = re.compile(r"\.(?:openai\.azure|cognitiveservices\.azure|services\.ai\.azure)\.(?:com|us|cn)$")
_NO_KEY = "none"
"""Key of a request without one: the environment's key is for somebody else."""
_tokens: dict[str, str] = {}
"""Entra ID: address -> the newest token an app has used there."""


@dataclass(frozen=True, slots=True)
class NewestToken:
    """The newest token at an address: two of these for one are equal, so that the next hour's is no other setting."""

    api_base: str

    def __call__(self) -> str:
        return _tokens[self.api_base]


def settings_of(request: ObservedRequest) -> Mapping[str, Any] | None:
    """Its account's settings; None for a request to somebody else."""
    key, version = request.headers.get("api-key"), request.query.get("api-version")
    if not _HOST.search(request.host) and key is None and version is None:
        return None
    where = {"api_base": request.base, "api_version": version}
    if key or request.bearer is None:
        return {**where, "api_key": key or _NO_KEY}
    _tokens[request.base] = request.bearer
    return {**where, "ad_token_provider": NewestToken(request.base)}
