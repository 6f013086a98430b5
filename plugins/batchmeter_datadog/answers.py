"""What is remembered for every process: in the ledger, or by this object alone where the plugin is used by hand."""

from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Literal, Protocol

FOR_GOOD = 10 * 365 * 86400.0
"""Seconds: until the ledger forgets the batch."""
_REMEMBERED = 10_000


class Reserved(Protocol):
    @property
    def state(self) -> Literal["mine", "busy", "kept"]: ...

    @property
    def document(self) -> str | None: ...


class Answers(Protocol):
    """Of the ledger."""

    def reserve_answer(self, scope: str, name: str, *, lease_seconds: float) -> Awaitable[Reserved]: ...

    def keep_answer(self, scope: str, name: str, document: str) -> Awaitable[None]: ...

    def drop_answer(self, scope: str, name: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class _Reserved:
    state: Literal["mine", "busy", "kept"]
    document: str | None = None


@dataclass
class Memory:
    _known: "OrderedDict[tuple[str, str], str | None]" = field(
        default_factory=OrderedDict[tuple[str, str], "str | None"]
    )

    async def reserve_answer(self, scope: str, name: str, *, lease_seconds: float) -> Reserved:  # noqa: ARG002 - the ledger's
        if (scope, name) in self._known:
            document = self._known[scope, name]
            return _Reserved("busy" if document is None else "kept", document)
        self._known[scope, name] = None
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return _Reserved("mine")

    async def keep_answer(self, scope: str, name: str, document: str) -> None:
        self._known[scope, name] = document

    async def drop_answer(self, scope: str, name: str) -> None:
        self._known.pop((scope, name), None)
