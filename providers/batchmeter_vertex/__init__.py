"""Vertex AI: batch prediction jobs and Cloud Storage, in OpenAI's shapes."""

from collections.abc import Callable

from batchmeter.hookspecs import hookimpl
from batchmeter.providers import ProviderFactory


@hookimpl
def register_providers(register: Callable[[ProviderFactory], None]) -> None:
    from .provider import VertexProvider  # noqa: PLC0415 - keeps `import batchmeter` free of HTTP

    register(VertexProvider)
