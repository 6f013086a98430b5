"""Bearer tokens: given, from a function, or from google-auth, refreshed off the event loop."""

import asyncio
import importlib
import inspect
import json
from typing import Any

from pydantic import SecretStr

from batchmeter.errors import APIConnectionError, ConfigError
from batchmeter.http import Headers

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
                self._google, found = await asyncio.to_thread(_load, self._settings.credentials)
                self._project = self._project or found
            if not self._google.valid:
                await asyncio.to_thread(_refresh, self._google)
            return self._google


def _bearer(token: str) -> Headers:
    return {"authorization": f"Bearer {token}"}


def _google_auth() -> Any:
    """The library, as Any: it gives its functions no types."""
    try:
        auth = importlib.import_module("google.auth")
        importlib.import_module("google.auth.transport.requests")
    except ImportError as error:
        raise ConfigError("vertex_ai without `token` needs google-auth: pip install 'batchmeter[vertex]'") from error
    return auth


def _load(secret: SecretStr | None) -> tuple[Any, str | None]:
    """Credentials and the project they name."""
    auth = _google_auth()
    scopes = [SCOPE]
    text = secret.get_secret_value().strip() if secret is not None else ""
    try:
        if not text:
            found = auth.default(scopes=scopes)
        elif text.startswith("{"):
            found = auth.load_credentials_from_dict(json.loads(text), scopes=scopes)
        else:
            found = auth.load_credentials_from_file(text, scopes=scopes)
    except (auth.exceptions.GoogleAuthError, ValueError) as error:
        raise ConfigError(f"vertex_ai: no usable credentials ({_said(error)}); set `credentials` or `token`") from error
    return found[0], found[1]


def _refresh(credentials: Any) -> None:
    auth = _google_auth()
    try:
        credentials.refresh(auth.transport.requests.Request())
    except auth.exceptions.GoogleAuthError as error:
        raise APIConnectionError(f"vertex_ai: the access token could not be refreshed ({_said(error)})") from error


def _said(error: Exception) -> str:
    """The kind of error and its first line, cut: a parser may quote what it read, so JSON's is left out."""
    words = str(error).splitlines()
    shown = words[0][:200] if words and not isinstance(error, json.JSONDecodeError) else "unreadable"
    return f"{type(error).__name__}: {shown}"
