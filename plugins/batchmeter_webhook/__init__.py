"""The webhook logger: every event posted to your URL, signed as Standard Webhooks has it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import WebhookLogger
    from .settings import WebhookSettings

__all__ = ["WebhookLogger", "WebhookSettings"]

env = ("BATCHMETER_WEBHOOK_URL",)
"""Variables that switch it on."""
_HOMES = {
    "WebhookLogger": "logger",
    "WebhookSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: every start of batchmeter loads this module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
