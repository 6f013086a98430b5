"""The Langfuse logger: one trace a batch, with exact usage and batch prices, acknowledged."""

from .logger import LangfuseLogger
from .settings import LangfuseSettings

__all__ = ["LangfuseLogger", "LangfuseSettings"]
