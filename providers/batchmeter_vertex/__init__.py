"""Vertex AI: batch prediction jobs and Cloud Storage, in OpenAI's shapes."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

providers = ("vertex_ai",)
"""Providers that it brings; the rest is imported when it is first used."""


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .provider import VertexProvider  # noqa: PLC0415 - keeps `import batchmeter` free of HTTP

    register(VertexProvider)
