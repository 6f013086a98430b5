"""OpenAI, and every server that speaks its files and batches API."""

from collections.abc import Callable

from batchmeter.hookspecs import hookimpl
from batchmeter.providers import ProviderFactory

from .provider import OpenAIProvider
from .settings import OpenAISettings

__all__ = ["OpenAIProvider", "OpenAISettings", "register_providers"]


@hookimpl
def register_providers(register: Callable[[ProviderFactory], None]) -> None:
    register(OpenAIProvider)
