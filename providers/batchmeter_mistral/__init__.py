"""Mistral: batch jobs over uploaded files or inline requests."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

__all__ = ["register_providers"]

providers = ("mistral",)
"""Providers that it brings; the rest is imported when it is first used."""


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .provider import MistralProvider  # noqa: PLC0415 - every start of batchmeter loads this module

    register(MistralProvider)
