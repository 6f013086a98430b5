"""Plugins of the program itself, such as its callbacks (`batchmeter.on`): loggers of every client that it opens."""

import threading
from weakref import WeakSet

from batchmeter.plugins import Plugins

_lock = threading.Lock()
_plugins: dict[str, object] = {}
"""By name."""
_attached: "WeakSet[Plugins]" = WeakSet()
"""Clients' plugins, which have all of them."""


def attach(plugins: Plugins) -> None:
    """Every plugin of the program, now and from now on, is one of these."""
    with _lock:
        _attached.add(plugins)
        for name, plugin in _plugins.items():
            plugins.register(plugin, name, scoped=True)


def add_plugin(name: str, plugin: object) -> None:
    """Into every client; in place of the one that had the name."""
    with _lock:
        _remove(name)
        _plugins[name] = plugin
        for plugins in _attached:
            plugins.register(plugin, name, scoped=True)


def remove_plugin(name: str) -> None:
    with _lock:
        _plugins.pop(name, None)
        _remove(name)


def _remove(name: str) -> None:
    for plugins in _attached:
        if name in plugins.loggers:
            plugins.unregister(name)
