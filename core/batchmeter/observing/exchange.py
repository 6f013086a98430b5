"""Which of a client's exchanges are about batches, and whose: read off the request and its answer's head."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from batchmeter.http import USER_AGENT

Kind = Literal["create", "look", "list"]
_PATH = re.compile(r"^(?P<base>.*)/batches(?:/(?P<id>[^/]+)(?P<cancel>/cancel)?)?/?$")
_AZURE = re.compile(r"\.(?:openai\.azure|cognitiveservices\.azure|services\.ai\.azure)\.(?:com|us|cn)$")
MOST_BYTES = 32 * 1024 * 1024
"""A longer answer is not about batches, or not one to hold in memory."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a request was made with. Kept in memory only, and never shown."""

    provider: Literal["openai", "azure"]
    api_base: str
    api_key: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    """An Entra ID token: another one every hour, so no part of who somebody is."""
    organization: str | None = None
    project: str | None = None
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request about batches that its provider accepted."""

    kind: Kind
    caller: Caller


def exchange_of(response: Any) -> Exchange | None:
    """None for everything that is to be left alone. The answer's body is not touched."""
    request = response.request
    found = _PATH.match(request.url.path)
    if found is None or not 200 <= response.status_code < 300:  # noqa: PLR2004 - HTTP's own line
        return None
    kind = _kind(request.method, has_id=found["id"] is not None, cancel=found["cancel"] is not None)
    length = response.headers.get("content-length", "")
    if kind is None or (length.isdecimal() and int(length) > MOST_BYTES):
        return None
    # Our own request, on a client that is lent to an account; or answered by our proxy, which meters it itself.
    if request.headers.get("user-agent") == USER_AGENT or "x-batchmeter" in response.headers:
        return None
    return Exchange(kind, _caller(request))


def _kind(method: str, *, has_id: bool, cancel: bool) -> Kind | None:
    kinds: dict[tuple[str, bool, bool], Kind] = {
        ("POST", False, False): "create",
        ("GET", True, False): "look",
        ("POST", True, True): "look",
        ("GET", False, False): "list",
    }
    return kinds.get((method, has_id, cancel))


def _caller(request: Any) -> Caller:
    url, headers = request.url, request.headers
    bearer = headers.get("authorization", "")
    token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else None
    key = headers.get("api-key")
    # The path as it was sent, up to its last `/batches`: an id may hold anything.
    base = str(url.copy_with(query=None, fragment=None, userinfo=b"")).rpartition("/batches")[0]
    if _AZURE.search(url.host) or key is not None or "api-version" in url.params:
        return Caller(
            "azure",
            base,
            api_key=key,
            bearer=None if key else token,
            api_version=url.params.get("api-version"),
        )
    return Caller(
        "openai",
        base,
        api_key=token,
        organization=headers.get("openai-organization"),
        project=headers.get("openai-project"),
    )
