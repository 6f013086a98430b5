"""The PluginHost of an open client."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .events import Event
    from .ledger.ledger import Ledger
    from .plugins import Plugins


class ClientHost:
    """What the plugins of one client get at startup."""

    def __init__(self, plugins: "Plugins", ledger: "Ledger") -> None:
        self._plugins = plugins
        self._ledger = ledger

    def now(self) -> int:
        return self._ledger.now()

    async def redact(self, event: "Event") -> "Event":
        return await self._plugins.redact(event)

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        return self._plugins.call_hook(name, **arguments)
