"""The webhook logger: every event posted to your URL, signed as Standard Webhooks has it."""

from .logger import WebhookLogger
from .settings import WebhookSettings

__all__ = ["WebhookLogger", "WebhookSettings"]
