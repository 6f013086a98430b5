"""The plugin: what batchmeter finds under the entry point `acme`."""

from collections.abc import Callable

from batchmeter.hookspecs import hookimpl
from batchmeter.providers import ProviderFactory

__all__ = ["register_providers"]

providers = ("acme",)
"""The names that it brings: its files are imported when one of them is first used."""


@hookimpl
def register_providers(register: Callable[[ProviderFactory], None]) -> None:
    from .provider import AcmeProvider  # noqa: PLC0415 - every start of batchmeter imports this module

    register(AcmeProvider)
