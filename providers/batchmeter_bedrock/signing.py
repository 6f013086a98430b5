"""SigV4 for every request, by botocore's signer and credential chain, off the event loop: both may read files or ask a server."""

import asyncio
import hashlib
import importlib
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchmeter.errors import APIConnectionError, ConfigError
from batchmeter.http import Headers, redact_url

from .settings import BedrockSettings

if TYPE_CHECKING:
    import httpx

HASH = "x-amz-content-sha256"
EMPTY = hashlib.sha256(b"").hexdigest()
_SIGNED = ("content-type", "content-md5", "if-none-match")
_NO_CREDENTIALS = (
    "bedrock: AWS's credential chain has no credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID, log in (aws sso login), "
    "or set access_key_id and secret_access_key in the account"
)


_TALKATIVE = ("auth", "credentials", "endpoint", "hooks", "httpsession", "parsers", "tokens", "utils")
"""Loggers of botocore: at debug some write the token that a request is signed with, or the keys that a role was given."""
_own = threading.local()


class _Silence(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or not getattr(_own, "call", False)


_SILENCE = _Silence()


@contextmanager
def _silent() -> Generator[None]:
    """Botocore's debug lines about calls inside, in this thread, reach no log."""
    for name in _TALKATIVE:
        logging.getLogger(f"botocore.{name}").addFilter(_SILENCE)  # once: a filter that is there is not added again
    _own.call = True
    try:
        yield
    finally:
        _own.call = False


class Signer:
    """Keys of one account; botocore is loaded when the first of them is needed."""

    def __init__(self, settings: BedrockSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._credentials: Any = None

    def for_jobs(self) -> "_Signing":
        return _Signing(self, "bedrock", self._settings.place)

    def for_storage(self) -> "_Signing":
        return _Signing(self, "s3", self._settings.storage_place)

    async def credentials(self) -> Any:
        """AWS's keys, which refresh themselves when a thread asks for them."""
        async with self._lock:
            if self._credentials is None:
                self._check_host()
                self._credentials = await asyncio.to_thread(_load, self._settings)
            return self._credentials

    def _check_host(self) -> None:
        """The machine's own keys open all that its owner may do at AWS: their signatures go to AWS's hosts alone."""
        settings, address = self._settings, self._settings.address()
        own = settings.access_key_id is not None or settings.profile is not None
        if not own and address is not None and not settings.is_usual(address):
            raise ConfigError(
                f"bedrock: {redact_url(address)} is an address of its own, which gets no credentials of the machine's: "
                "set access_key_id and secret_access_key, or `profile`, in this account"
            )


class _Signing:
    """Headers for requests to one service."""

    def __init__(self, signer: Signer, service: str, region: str) -> None:
        self._signer, self._service, self._region = signer, service, region

    async def __call__(self, request: "httpx.Request") -> Headers:
        credentials = await self._signer.credentials()
        digest = request.headers.get(HASH)
        content = b"" if digest is not None else request.content
        given = {name: request.headers[name] for name in _SIGNED if name in request.headers}
        return await asyncio.to_thread(
            self._signed, credentials, request.method, str(request.url), given, digest or content
        )

    def _signed(
        self, credentials: Any, method: str, url: str, headers: dict[str, str], content: str | bytes
    ) -> Headers:
        with _silent():
            return self._sign(credentials, method, url, headers, content)

    def _sign(self, credentials: Any, method: str, url: str, headers: dict[str, str], content: str | bytes) -> Headers:
        auth, awsrequest = _botocore("auth"), _botocore("awsrequest")
        digest = content if isinstance(content, str) else hashlib.sha256(content).hexdigest()
        frozen = _frozen(credentials)
        request = awsrequest.AWSRequest(method=method, url=url, headers=headers)
        request.headers[HASH] = digest
        base = auth.S3SigV4Auth if self._service == "s3" else auth.SigV4Auth
        signer: Any = type("OfThisHash", (base,), {"payload": lambda *_args: digest})  # pyright: ignore[reportUnknownLambdaType] - botocore has no types
        signer(frozen, self._service, self._region).add_auth(request)
        return {name.lower(): text for name, text in request.headers.items()}


def _botocore(module: str) -> Any:
    """A module of botocore, as Any: it has no types."""
    try:
        return importlib.import_module(f"botocore.{module}")
    except ImportError as error:
        raise ConfigError("bedrock needs botocore: pip install 'batchmeter[bedrock]'") from error


def _load(settings: BedrockSettings) -> Any:
    session, exceptions = _botocore("session"), _botocore("exceptions")
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        token = settings.session_token
        return _botocore("credentials").Credentials(
            settings.access_key_id.get_secret_value(),
            settings.secret_access_key.get_secret_value(),
            None if token is None else token.get_secret_value(),
        )
    try:
        with _silent():
            found = session.Session(profile=settings.profile).get_credentials()
    except (exceptions.BotoCoreError, OSError, ValueError) as error:
        raise ConfigError(f"bedrock: no usable AWS credentials ({_reason(error)})") from error
    if found is None:
        raise ConfigError(_NO_CREDENTIALS)
    return found


def _frozen(credentials: Any) -> Any:
    """Keys for one signature, refreshed where they are about to expire."""
    exceptions = _botocore("exceptions")
    try:
        return credentials.get_frozen_credentials()
    except (exceptions.BotoCoreError, exceptions.ClientError, OSError) as error:
        message = f"bedrock: AWS's credentials could not be refreshed ({_reason(error)})"
        raise APIConnectionError(message, never_sent=True) from None


def _reason(error: Exception) -> str:
    """The kind of error and its first line, cut."""
    words = str(error).splitlines()
    return f"{type(error).__name__}: {words[0][:200] if words else 'no reason given'}"
