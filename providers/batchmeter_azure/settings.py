"""An Azure OpenAI account: the configured values, else the variables that OpenAI's own SDK reads."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from pydantic import Field

from batchmeter.http import origin_of
from batchmeter.models import Secret
from batchmeter.providers import AccountSettings, ObservedRequest
from batchmeter_openai.settings import from_env, secret_from_env

from .observed import settings_of

KEYS = ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")
TOKENS = ("AZURE_OPENAI_AD_TOKEN", "AZURE_AD_TOKEN")
"""Variables, the first one that is set counts: they are for the host of AZURE_OPENAI_ENDPOINT or AZURE_API_BASE."""


class AzureSettings(AccountSettings):
    addresses: ClassVar[tuple[str, ...]] = ("api_base", "endpoint")
    of_the_host: ClassVar[frozenset[str]] = frozenset({"api_key", "ad_token"})
    renewed: ClassVar[frozenset[str]] = frozenset({"ad_token", "ad_token_provider", "credential"})
    spellings: ClassVar[Mapping[str, str]] = {
        "azure_ad_token": "ad_token",
        "azure_ad_token_provider": "ad_token_provider",
        "azure_endpoint": "endpoint",
    }
    client_members: ClassVar[Mapping[str, str]] = {
        "api_version": "_api_version",
        "ad_token": "_azure_ad_token",
        "ad_token_provider": "_azure_ad_token_provider",
    }

    endpoint: str | None = Field(default_factory=from_env("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"))
    """`https://my-resource.openai.azure.com`; with `/openai/v1` at its end the v1 API is meant."""
    api_base: str | None = None
    """Another name for `endpoint`; it wins where both are given."""
    api_version: str | None = Field(default_factory=from_env("OPENAI_API_VERSION", "AZURE_API_VERSION"))
    """A date (`2024-10-21`) takes the classic API; none, `preview` or `latest` take v1."""
    region: str | None = None
    """The deployment's class, which decides its rates: `global`, `data-zone-eu`, `data-zone-us`, `data-zone-apac`."""
    deployments: dict[str, str] = Field(default_factory=dict[str, str])
    """Deployment -> the model to price it as."""

    api_key: Secret | None = Field(default_factory=secret_from_env(*KEYS))
    """The resource's key; the environment's is taken where the environment names the same host as its endpoint."""
    ad_token: Secret | None = Field(default_factory=secret_from_env(*TOKENS))
    """An Entra ID token; from the environment it wins over the key."""
    ad_token_provider: Callable[[], str | Awaitable[str]] | None = Field(default=None, exclude=True, repr=False)
    """Asked for a token before every request; it caches."""
    credential: Any = Field(default=None, exclude=True, repr=False)
    """An azure-identity credential. Without any of these, `DefaultAzureCredential` where that is installed."""
    token_scope: str = "https://cognitiveservices.azure.com/.default"  # noqa: S105 - a scope, not a secret
    """The scope that a credential is asked for; another cloud has another."""

    output_folder: str | None = None
    """The container (and folder) URL for batches on your own storage."""
    storage_accounts: tuple[str, ...] = ()
    """More storage accounts that outputs are read from: names, or addresses (`https://mine.blob.core.windows.net`)."""
    storage_sas: Secret | None = None
    """Read permission for their outputs; without it the Entra credential reads them. Goes to these accounts only."""

    file_wait: float = 600.0
    """Seconds a create waits for its input file to be processed."""
    retry_queue_full: float = 0.0
    """Seconds in which a batch is submitted again while the deployment's token queue is full; 0: never."""

    @property
    def storage_origins(self) -> frozenset[tuple[str, str, int | None]]:
        """Scheme, host and port of every storage account that the settings name."""
        named = [name if "://" in name else f"https://{name}.blob.core.windows.net" for name in self.storage_accounts]
        return frozenset(origin_of(url) for url in (*named, self.output_folder or "") if url)

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""

    @classmethod
    def of_request(cls, request: ObservedRequest) -> Mapping[str, Any] | None:
        return settings_of(request)
