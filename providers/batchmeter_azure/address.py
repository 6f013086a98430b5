"""Where an account's API is: Azure has two, and says so in the path and in `api-version`."""

from urllib.parse import urlsplit

from batchmeter.errors import ConfigError
from batchmeter.http import redact_url

from .settings import AzureSettings


def address(account: str, settings: AzureSettings) -> tuple[str, dict[str, str]]:
    """Base URL, and what goes into the query of every call.

    Classic: `…/openai` with a dated api-version. v1: `…/openai/v1`, with `preview` or `latest` or nothing.
    """
    root, named_v1 = _root(account, settings.api_base or settings.endpoint)
    version = settings.api_version
    dated = version is not None and version[:4].isdigit()
    if named_v1 and dated:
        if "api_version" in settings.model_fields_set:
            raise ConfigError(
                f"account {account!r}: the endpoint is the v1 API, which has no version {version!r}; drop one of them"
            )
        version, dated = None, False  # OPENAI_API_VERSION is for some other account
    query = {"api-version": version} if version not in (None, "v1") else {}
    return f"{root}/openai" if dated else f"{root}/openai/v1", query


def _root(account: str, endpoint: str | None) -> tuple[str, bool]:
    """The resource's address without `/openai…`, and whether `/openai/v1` was named."""
    if not endpoint:
        raise ConfigError(
            f"account {account!r} has no endpoint: set AZURE_OPENAI_ENDPOINT, or endpoint under [accounts.{account}]"
        )
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"account {account!r}: endpoint {redact_url(endpoint)!r} is not a URL such as https://my-resource.openai.azure.com"
        )
    prefix, found, rest = f"{parts.path.rstrip('/')}/".partition("/openai/")
    root = f"{parts.scheme}://{parts.netloc}{prefix.rstrip('/')}"
    return root, bool(found) and rest.partition("/")[0] == "v1"
