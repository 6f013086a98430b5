"""observe and unobserve: our response hook goes on the httpx or httpx2 client, alone or inside an OpenAI client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from batchmeter import api
from batchmeter.arguments import attribution_of
from batchmeter.client import AsyncClient
from batchmeter.errors import UsageError
from batchmeter.models import Attribution
from batchmeter.sync import Client

from .hook import AsyncHook, Hook
from .record import Host, Recorder

if TYPE_CHECKING:
    from batchmeter.sync import Engine

Observed = TypeVar("Observed")


def observe(
    client: Observed,
    *,
    using: AsyncClient | Client | None = None,
    attribution: Attribution | Mapping[str, Any] | None = None,
) -> Observed:
    """Meter this client's batches; returns the same client.

    Takes OpenAI, AsyncOpenAI, AzureOpenAI, AsyncAzureOpenAI, and any client of httpx or httpx2. A create that succeeds
    is an open batch and an `acreate_batch`; what a retrieve, a list or a cancel shows advances it. Answers and errors
    reach the app as they came; where batchmeter itself fails, that is logged and the call goes on.
    `using` an open client of yours in place of the default one; `attribution` rides on every event.
    """
    http = _http_client(client)
    recorder = Recorder(_host(using), attribution_of(attribution))
    hook = AsyncHook(recorder) if hasattr(http, "aclose") else Hook(recorder)
    # First: a hook of the app's own that raises must not hide a batch that exists.
    _set(http, [hook, *_others(http)])
    return client


def unobserve(client: Observed) -> Observed:
    """Undo `observe`; nothing if it was not observed. What was recorded stays tracked."""
    http = _http_client(client)
    _set(http, _others(http))
    return client


def _http_client(client: object) -> Any:
    """The httpx client itself, or the one inside an OpenAI client, where its own instrumentations find it too."""
    for found in (client, getattr(client, "_client", None)):
        if hasattr(found, "event_hooks") and hasattr(found, "build_request"):
            return found
    raise UsageError(
        f"cannot observe {type(client).__name__}: give an OpenAI, AsyncOpenAI or AzureOpenAI client, "
        "or a Client or AsyncClient of httpx or httpx2"
    )


def _host(using: AsyncClient | Client | None) -> Host:
    engine: Engine = api.engine
    if using is None:
        return engine
    return using.engine if isinstance(using, Client) else using


def _others(http: Any) -> list[Any]:
    return [hook for hook in http.event_hooks.get("response", ()) if not isinstance(hook, Hook | AsyncHook)]


def _set(http: Any, hooks: list[Any]) -> None:
    http.event_hooks = {**http.event_hooks, "response": hooks}
