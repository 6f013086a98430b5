"""Bearer tokens: given, from a function, or from google-auth, refreshed off the event loop."""

import asyncio
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from batchmeter.errors import APIConnectionError, ConfigError
from batchmeter.http import Headers, redact_url
from batchmeter_translate.shape import mapping

from .settings import VertexSettings

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Tokens:
    """Headers for one account; google-auth is loaded when the first of them is needed."""

    def __init__(self, settings: VertexSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._google: Any = None
        self._project: str | None = settings.project

    async def headers(self) -> Headers:
        token = self._settings.token
        if isinstance(token, SecretStr):
            return _bearer(token.get_secret_value())
        if token is not None:
            given = token()
            return _bearer(await given if inspect.isawaitable(given) else given)
        credentials = await self._fresh()
        quota: str | None = getattr(credentials, "quota_project_id", None)
        return {**_bearer(str(credentials.token)), **({"x-goog-user-project": quota} if quota else {})}

    async def project(self) -> str:
        """The configured project, else the credentials' own."""
        if self._project is None and self._settings.token is None:
            await self._fresh()
        if self._project is None:
            raise ConfigError("vertex_ai needs a project: set `project` in the account, or GOOGLE_CLOUD_PROJECT")
        return self._project

    async def _fresh(self) -> Any:
        async with self._lock:
            if self._google is None:
                self._check_host()
                self._google, found = await asyncio.to_thread(_load, self._settings.credentials)
                self._project = self._project or found
            if not self._google.valid:
                await asyncio.to_thread(_refresh, self._google)
            return self._google

    def _check_host(self) -> None:
        """The machine's own credentials open all of its projects: they go to Google's hosts alone."""
        settings = self._settings
        if settings.credentials is None and not settings.is_usual(settings.address()):
            raise ConfigError(
                f"vertex_ai: {redact_url(settings.address())} is an address of its own, which gets no credentials of "
                "the machine's: set `credentials`, credentials_env, credentials_file or `token` in this account "
                '(credentials_env = "GOOGLE_APPLICATION_CREDENTIALS" takes that file)'
            )


def _bearer(token: str) -> Headers:
    return {"authorization": f"Bearer {token}"}


def _google(module: str) -> Any:
    """A module of google-auth, as Any: it gives its functions no types."""
    try:
        return importlib.import_module(f"google.{module}")
    except ImportError as error:
        raise ConfigError("vertex_ai without `token` needs google-auth: pip install 'batchmeter[vertex]'") from error


_LOADERS = {
    "service_account": ("oauth2.service_account", "from_service_account_info"),
    "authorized_user": ("oauth2.credentials", "from_authorized_user_info"),
    "impersonated_service_account": ("auth.impersonated_credentials", "from_impersonated_service_account_info"),
    "external_account": ("auth.identity_pool", "from_info"),
    "external_account_authorized_user": ("auth.external_account_authorized_user", "from_info"),
}
"""`type` in a credentials file -> module and class method; google-auth's own do-it-all loaders are deprecated."""
_EXTERNAL_BY_SOURCE = {"environment_id": "auth.aws", "executable": "auth.pluggable"}


def _load(secret: SecretStr | None) -> tuple[Any, str | None]:
    """Credentials and the project they name."""
    auth = _google("auth")
    try:
        if secret is None:
            found, project = auth.default(scopes=[SCOPE])
            return found, project
        return _from_text(secret.get_secret_value().strip())
    except (auth.exceptions.GoogleAuthError, ValueError, KeyError, OSError) as error:
        raise ConfigError(
            f"vertex_ai: no usable credentials ({_reason(error)}); set `credentials` or `token`"
        ) from error


def _from_text(text: str) -> tuple[Any, str | None]:
    """A path, or the JSON that lies there."""
    info = mapping(json.loads(text if text.startswith("{") else Path(text).read_text("utf-8")))
    kind = str(info.get("type"))
    if kind not in _LOADERS:
        raise ValueError(f"type {kind!r} is none of {', '.join(_LOADERS)}")
    module, method = _LOADERS[kind]
    if kind == "external_account":
        source = mapping(info.get("credential_source"))
        module = next((found for key, found in _EXTERNAL_BY_SOURCE.items() if key in source), module)
    credentials = getattr(_google(module).Credentials, method)(info, scopes=[SCOPE])
    project = info.get("project_id")
    quota = info.get("quota_project_id")
    if quota and hasattr(credentials, "with_quota_project"):
        credentials = credentials.with_quota_project(quota)
    return credentials, project if isinstance(project, str) else None


def _refresh(credentials: Any) -> None:
    auth, requests = _google("auth"), _google("auth.transport.requests")
    try:
        credentials.refresh(requests.Request())
    except auth.exceptions.GoogleAuthError as error:
        message = f"vertex_ai: the access token could not be refreshed ({_reason(error)})"
        raise APIConnectionError(message, never_sent=True) from error


def _reason(error: Exception) -> str:
    """The kind of error and its first line, cut."""
    words = str(error).splitlines()
    shown = words[0][:200] if words else "no reason given"
    return f"{type(error).__name__}: {shown}"
