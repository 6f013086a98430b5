"""The table of routes: what answers which method and path, and what the OpenAPI page says about it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from starlette.responses import Response

from .call import Call
from .errors import Refusal

Handler: TypeAlias = Callable[[Call], Awaitable[Response]]

_VERSION = r"(?:/v1|/openai|/(?P<account>[^/]+)(?:/v1|(?P<azure>/openai(?:/v1)?)))?"
"""`/openai` is where clients of Azure OpenAI look; the account in front of it is that of their `azure_endpoint`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation."""

    method: str
    path: str
    """Such as `/files/{file_id}/content`; ids may hold anything once unescaped. `{rest:path}` at the end takes all that
    follows, slashes too, and leaves it escaped."""
    handler: Handler
    summary: str
    versioned: bool = True
    """Also at `/v1/…` and `/{account}/v1/…`; False: at this path only."""
    public: bool = False
    """Needs no key."""
    transfer: bool = False
    """Sends or takes a whole file, inside `call.transfer()`: not one of its key's short calls."""
    described: bool = True
    """False: a page for people, which no API description names."""
    operation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of a plugin's route: more of its OpenAPI operation. Those of the proxy are in `openapi.json`."""

    @property
    def methods(self) -> frozenset[str]:
        """Load balancers ask for a page's head."""
        return frozenset({self.method, "HEAD"} if self.public and self.method == "GET" else {self.method})

    @property
    def name(self) -> str:
        """`getBatchesBatchId` for `GET /batches/{batch_id}`."""
        words = re.findall(r"[a-z0-9]+", self.path)
        return self.method.lower() + "".join(word.title() for word in words)


@dataclass(frozen=True, slots=True)
class Found:
    """A route, and what the path says."""

    route: Route
    ids: Mapping[str, str]
    account: str | None
    azure: bool = False
    """The path is the one that clients of Azure OpenAI make of an address with an account in it."""


class Table:
    """Looks up what answers a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._patterns = [(_pattern(route.path, route.versioned), route) for route in self.routes]

    def find(self, method: str, path: str) -> Found:
        """`path` is still escaped, so that an id may hold a slash. Refusal: 404, or 405 with what is allowed."""
        allowed: set[str] = set()
        for pattern, route in self._patterns:
            match = pattern.fullmatch(path.rstrip("/") or "/")
            if match is None:
                continue
            if method in route.methods:
                named = {
                    name: text if f"{{{name}:path}}" in route.path else unquote(text)
                    for name, text in match.groupdict().items()
                    if text is not None
                }
                azure = named.pop("azure", None) is not None
                account = named.pop("account", None) if route.versioned else None
                return Found(route, named, account, azure)
            allowed |= route.methods
        if allowed:
            known = ", ".join(sorted(allowed))
            raise Refusal(
                405, f"Not allowed to {method} on {path}.", code="method_not_allowed", headers={"allow": known}
            )
        raise Refusal(404, f"Invalid URL ({method} {path})", code="unknown_url")


@lru_cache(maxsize=512)
def _pattern(path: str, versioned: bool) -> re.Pattern[str]:
    path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
    path = re.sub(r"\\{(\w+):path\\}$", r"(?P<\1>.+)", path)
    return re.compile((_VERSION if versioned else "") + path)
