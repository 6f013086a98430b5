"""Provider classes by name; a plugin that says which it brings is loaded when one of them is first asked for."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from .providers import ProviderFactory


class Providers(Mapping[str, "ProviderFactory"]):
    """Promised names count as present; asking for one loads its plugin, which adds it."""

    def __init__(self) -> None:
        self._made: dict[str, ProviderFactory] = {}
        self._promised: dict[str, Callable[[], None]] = {}

    def promise(self, names: Collection[str], load: Callable[[], None]) -> None:
        """`load` adds these providers. ConfigError where a name is taken."""
        for name in names:
            if name in self:
                raise ConfigError(f"provider {name!r} is registered already")
        self._promised.update(dict.fromkeys(names, load))

    def add(self, factory: "ProviderFactory") -> bool:
        """False when another class has the name."""
        return factory.name not in self._promised and self._made.setdefault(factory.name, factory) is factory

    def load_all(self) -> None:
        for name in sorted(self._promised):
            self._fetch(name)

    def __getitem__(self, name: str) -> "ProviderFactory":
        self._fetch(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._made, *self._promised}))

    def __len__(self) -> int:
        return len({*self._made, *self._promised})

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self._promised

    def _fetch(self, name: str) -> None:
        load = self._promised.get(name)
        if load is None:
            return
        for promised in [each for each, other in self._promised.items() if other is load]:
            del self._promised[promised]
        load()
