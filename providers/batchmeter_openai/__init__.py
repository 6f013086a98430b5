"""OpenAI, every server that speaks its files and batches API, and the vendors that do so (`profiles.py`)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchmeter.hookspecs import hookimpl

from .profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

    from .provider import OpenAIProvider
    from .settings import OpenAISettings

__all__ = ["OpenAIProvider", "OpenAISettings", "register_providers"]

providers = ("openai", *(profile.name for profile in PROFILES))
"""Providers that it brings; the rest is imported when one of these is first used."""
_HOMES = {
    "OpenAIProvider": "provider",
    "OpenAISettings": "settings",
}


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .compatible import PROVIDERS  # noqa: PLC0415 - every start of batchmeter loads this module
    from .provider import OpenAIProvider  # noqa: PLC0415

    register(OpenAIProvider)
    for provider in PROVIDERS:
        register(provider)


def __getattr__(name: str) -> Any:
    """The names above, imported when first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
