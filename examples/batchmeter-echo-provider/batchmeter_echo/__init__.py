"""The plugin: what batchmeter finds under the entry point `echo`."""

from collections.abc import Callable

from batchmeter.hookspecs import hookimpl
from batchmeter.providers import ProviderFactory

from .provider import EchoProvider, EchoSettings

__all__ = ["EchoProvider", "EchoSettings", "register_providers"]


@hookimpl
def register_providers(register: Callable[[ProviderFactory], None]) -> None:
    register(EchoProvider)
