"""The members, form fields and names that a plain key may send on: none that reaches others' data with the account's rights."""

import re
from collections.abc import Iterable

from batchmeter.providers import Provider

from .call import Call
from .errors import Refusal

_ENDPOINT = re.compile(r"/?[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+){0,7}")
_RESOURCE = re.compile(r"(?i)projects/|arn:|/|.*://|(?:.*/)?\.\.(?:/|$)")
"""The name of a cloud resource, an address or a path: its provider resolves it with the account's rights."""


def check_members(call: Call, provider: Provider, names: Iterable[str]) -> bool:
    """Whether all of these are harmless; Refusal (400) where one is not, and the caller's key is a plain one."""
    known = provider_members(provider) | call.state.options.members
    strange = sorted(set(names) - known)
    if strange and not call.identity.raw:
        message = f"Unknown parameter: '{strange[0]}'. Only admin keys and keys made with --allow-raw may pass it on."
        raise Refusal(400, message, code="unknown_parameter", param=strange[0])
    return not strange


def provider_members(provider: Provider) -> frozenset[str]:
    """The members beyond OpenAI's that its provider declares to concern nothing but the batch itself."""
    found: frozenset[str] = getattr(provider, "plain_members", frozenset())
    return found


def check_names(call: Call, *, endpoint: str, models: Iterable[str]) -> None:
    """Refusal for an endpoint or model that a provider would resolve to anything but an endpoint or a model of its own."""
    if call.identity.raw:
        return
    if _ENDPOINT.fullmatch(endpoint) is None or ".." in endpoint:
        raise Refusal(400, f"Invalid 'endpoint': {endpoint[:100]!r}.", code="invalid_value", param="endpoint")
    check_models(call, models)


def check_models(call: Call, models: Iterable[str]) -> None:
    """A resource's name is for those whose key, or whose proxy's `[models]`, names it."""
    if call.identity.raw:
        return
    named = (call.identity.models or frozenset()) | call.client.settings.models.keys()
    for model in models:
        if _RESOURCE.match(model) and model not in named:
            message = f"This key may not use the model {model[:200]!r}: it is the name of a resource, not of a model."
            raise Refusal(403, message, code="model_not_allowed", param="model")
