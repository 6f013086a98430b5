"""Amazon Bedrock: model invocation jobs and S3, in OpenAI's shapes."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

providers = ("bedrock",)
"""Names of what it brings; the rest is imported when it is first used."""


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .provider import BedrockProvider  # noqa: PLC0415 - keeps `import batchmeter` free of HTTP

    register(BedrockProvider)
