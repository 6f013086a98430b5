"""Provider classes by name, of which our own are imported when they are first asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .providers import ProviderFactory


class Providers(Mapping[str, "ProviderFactory"]):
    """`waiting` names count as present; asking for one calls `load`, which adds it."""

    def __init__(self, load: Callable[[str], None]) -> None:
        self._load = load
        self._made: dict[str, ProviderFactory] = {}
        self.waiting: set[str] = set()

    def add(self, factory: "ProviderFactory") -> bool:
        """False when another class has the name."""
        return self._made.setdefault(factory.name, factory) is factory

    def load_all(self) -> None:
        for name in sorted(self.waiting):
            self._fetch(name)

    def __getitem__(self, name: str) -> "ProviderFactory":
        self._fetch(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._made, *self.waiting}))

    def __len__(self) -> int:
        return len({*self._made, *self.waiting})

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self.waiting

    def _fetch(self, name: str) -> None:
        if name in self.waiting:
            self.waiting.discard(name)
            self._load(name)
