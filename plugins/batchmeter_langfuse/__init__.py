"""The Langfuse logger: one trace a batch, with exact usage and batch prices, acknowledged."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logger import LangfuseLogger
    from .settings import LangfuseSettings

__all__ = ["LangfuseLogger", "LangfuseSettings"]

env = ("LANGFUSE_PUBLIC_KEY",)
"""Variables that switch it on."""


__getattr__ = lazy_names(
    __name__,
    {
        "logger": "LangfuseLogger",
        "settings": "LangfuseSettings",
    },
)
