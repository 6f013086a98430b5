"""The webhook logger: every event posted to your URL, signed as Standard Webhooks has it."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logger import WebhookLogger
    from .settings import WebhookSettings

__all__ = ["WebhookLogger", "WebhookSettings"]

env = ("BATCHMETER_WEBHOOK_URL",)
"""Variables that switch it on."""


__getattr__ = lazy_names(
    __name__,
    {
        "logger": "WebhookLogger",
        "settings": "WebhookSettings",
    },
)
