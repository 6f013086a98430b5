"""Notes for every process: in the ledger, or by this object alone where the plugin is used by hand."""

from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Literal, Protocol

_REMEMBERED = 10_000


class Reserved(Protocol):
    @property
    def state(self) -> Literal["mine", "busy", "kept"]: ...

    @property
    def document(self) -> str | None: ...


class Answers(Protocol):
    """Of the host."""

    def reserve(self, scope: str, name: str, *, lease_seconds: float) -> Awaitable[Reserved]: ...

    def keep(self, scope: str, name: str, document: str) -> Awaitable[None]: ...

    def drop(self, scope: str, name: str) -> Awaitable[None]: ...

    def once(self, scope: str, name: str) -> Awaitable[bool]: ...

    def not_once(self, scope: str, name: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class _Reserved:
    state: Literal["mine", "busy", "kept"]
    document: str | None = None


@dataclass
class Memory:
    _known: "OrderedDict[tuple[str, str], str | None]" = field(
        default_factory=OrderedDict[tuple[str, str], "str | None"]
    )

    async def reserve(self, scope: str, name: str, *, lease_seconds: float) -> Reserved:  # noqa: ARG002 - the ledger's
        if (scope, name) in self._known:
            document = self._known[scope, name]
            return _Reserved("busy" if document is None else "kept", document)
        self._known[scope, name] = None
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return _Reserved("mine")

    async def keep(self, scope: str, name: str, document: str) -> None:
        self._known[scope, name] = document

    async def drop(self, scope: str, name: str) -> None:
        self._known.pop((scope, name), None)

    async def once(self, scope: str, name: str) -> bool:
        return (await self.reserve(scope, name, lease_seconds=0)).state == "mine"

    async def not_once(self, scope: str, name: str) -> None:
        await self.drop(scope, name)
