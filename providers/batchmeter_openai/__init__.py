"""OpenAI, every server that speaks its files and batches API, and the vendors that do so (`profiles.py`)."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookimpl
from batchmeter.lazy import lazy_names

from .profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

    from .provider import OpenAIProvider
    from .settings import OpenAISettings

__all__ = ["OpenAIProvider", "OpenAISettings", "register_providers"]

providers = ("openai", *(profile.name for profile in PROFILES))
"""Providers that it brings; the rest is imported when one of these is first used."""


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .compatible import PROVIDERS  # noqa: PLC0415 - every start of batchmeter loads this module
    from .provider import OpenAIProvider  # noqa: PLC0415

    register(OpenAIProvider)
    for provider in PROVIDERS:
        register(provider)


__getattr__ = lazy_names(
    __name__,
    {
        "provider": "OpenAIProvider",
        "settings": "OpenAISettings",
    },
)
