"""Keys and Entra tokens: which one counts, and where a token comes from."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from batchmeter import errors
from batchmeter.config import filled
from batchmeter.providers import CallOptions
from batchmeter.testing.wire import Answer, serving
from batchmeter_azure import AzureProvider, AzureSettings
from batchmeter_azure.tokens import Credential

PLAIN = CallOptions()
KEY = "azure-key-0123456789"
TOKEN = "entra-token-0123456789"


async def credentials_of(provider, azure):
    """The credentials that the next request shows."""
    await provider.list_batches(after=None, limit=1, options=PLAIN)
    headers = azure.received[-1].headers
    return {name: headers[name] for name in ("api-key", "authorization") if name in headers}


class Identity:
    """An azure-identity credential, by its protocol."""

    def __init__(self, lifetime=3600.0, failure=None):
        self.asked = []
        self.lifetime = lifetime
        self.failure = failure

    def get_token(self, *scopes):
        self.asked.append(scopes)
        if self.failure:
            raise self.failure
        return SimpleNamespace(token=TOKEN, expires_on=time.time() + self.lifetime)


class AsyncIdentity(Identity):
    async def get_token(self, *scopes):
        await asyncio.sleep(0)
        return super().get_token(*scopes)


async def async_token():
    return TOKEN


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"api_key": KEY}, {"api-key": KEY}),
        ({"api_key": f"{KEY}\n"}, {"api-key": KEY}),
        ({"ad_token": TOKEN}, {"authorization": f"Bearer {TOKEN}"}),
        ({"ad_token": TOKEN, "api_key": KEY}, {"authorization": f"Bearer {TOKEN}"}),
        ({"ad_token_provider": lambda: TOKEN, "api_key": KEY}, {"authorization": f"Bearer {TOKEN}"}),
        ({"ad_token_provider": async_token}, {"authorization": f"Bearer {TOKEN}"}),
        ({"credential": Identity()}, {"authorization": f"Bearer {TOKEN}"}),
        ({"credential": AsyncIdentity()}, {"authorization": f"Bearer {TOKEN}"}),
    ],
    ids=[
        "key",
        "key with a line break",
        "token",
        "both",
        "callable",
        "async callable",
        "credential",
        "async credential",
    ],
)
async def test_what_the_code_gives(settings, shown, azure, account):
    assert await credentials_of(account(**settings), azure) == shown


@pytest.mark.parametrize(
    ("environment", "settings", "shown"),
    [
        ({"AZURE_OPENAI_API_KEY": KEY}, {}, {"api-key": KEY}),
        ({"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_AD_TOKEN": TOKEN}, {}, {"authorization": f"Bearer {TOKEN}"}),
        ({"AZURE_OPENAI_AD_TOKEN": "from-the-environment"}, {"api_key": SecretStr(KEY)}, {"api-key": KEY}),
    ],
    ids=["key", "token wins", "code wins"],
)
async def test_what_the_environment_gives(environment, settings, shown, azure, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", azure.url)
    provider = AzureProvider("a", AzureSettings(**settings))
    assert await credentials_of(provider, azure) == shown
    await provider.aclose()


async def test_the_machines_own_identity(azure, monkeypatch):
    """The real azure-identity, against a managed identity endpoint as App Service has one."""
    asked = []

    async def endpoint(request):
        asked.append(request)
        ends = int(time.time()) + 7200
        return Answer(
            body=b'{"access_token": "%s", "expires_on": "%d", "resource": "x", "token_type": "Bearer"}'
            % (TOKEN.encode(), ends)
        )

    async with serving(endpoint) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "machine-secret")
        provider = AzureProvider("a", AzureSettings(endpoint=azure.url))
        assert await credentials_of(provider, azure) == {"authorization": f"Bearer {TOKEN}"}
        assert await credentials_of(provider, azure) == {"authorization": f"Bearer {TOKEN}"}
        await provider.aclose()
    assert [request.query["resource"] for request in asked] == ["https://cognitiveservices.azure.com"]


async def test_tokens_are_kept_until_shortly_before_their_end():
    long, short = Identity(3600), Identity(200)
    for identity in (long, short):
        credential = Credential("a", identity)
        await credential.token("x")
        await credential.token("x")
        await credential.token("y")
    assert long.asked == [("x",), ("y",)]
    assert short.asked == [("x",), ("x",), ("y",)]


async def test_no_credentials_at_all(azure, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    provider = AzureProvider("azure-eu", AzureSettings(endpoint=azure.url))
    with pytest.raises(errors.ConfigError, match=r"'azure-eu' has no credentials: set AZURE_OPENAI_API_KEY"):
        await provider.list_batches(after=None, limit=1, options=PLAIN)


async def test_an_identity_that_has_no_token(account):
    provider = account(credential=Identity(failure=RuntimeError("not logged in\ndetails")))
    with pytest.raises(errors.ConfigError, match=r"no Entra ID token: RuntimeError: not logged in$"):
        await provider.list_batches(after=None, limit=1, options=PLAIN)


async def test_entra_that_does_not_answer_is_tried_again(account, naps):
    exceptions = pytest.importorskip("azure.core.exceptions")
    identity = Identity(failure=exceptions.ServiceRequestError("timed out"))
    with pytest.raises(errors.APIConnectionError, match="Entra ID did not answer: timed out") as caught:
        await account(credential=identity).list_batches(after=None, limit=1, options=PLAIN)
    assert caught.value.never_sent
    assert len(identity.asked) == 3


def test_no_secret_is_shown():
    settings = AzureSettings(endpoint="https://x.example.com", api_key=KEY, ad_token=TOKEN, storage_sas="sig=hidden")
    provider = AzureProvider("a", settings)
    shown = f"{settings!r} {settings} {vars(provider)!r} {settings.model_dump_json()}"
    assert not [secret for secret in (KEY, TOKEN, "sig=hidden") if secret in shown]


HERE = "https://here.openai.azure.com"


@pytest.mark.parametrize(
    ("variables", "section", "shown"),
    [
        ({"AZURE_OPENAI_ENDPOINT": HERE}, {}, "env-key"),
        ({"AZURE_OPENAI_ENDPOINT": f"{HERE}/openai/v1/"}, {"endpoint": HERE}, "env-key"),
        ({"AZURE_API_BASE": HERE.upper().replace("HTTPS", "https")}, {"api_base": HERE}, "env-key"),
        ({"AZURE_OPENAI_ENDPOINT": HERE}, {"endpoint": "${AZURE_OPENAI_ENDPOINT}"}, "env-key"),
        ({}, {"endpoint": HERE, "api_key_env": "AZURE_OPENAI_API_KEY"}, "env-key"),
        ({}, {"endpoint": HERE, "api_key": "${AZURE_OPENAI_API_KEY}"}, "env-key"),
        ({}, {"endpoint": HERE}, None),
        ({"AZURE_OPENAI_ENDPOINT": "https://there.openai.azure.com"}, {"endpoint": HERE}, None),
        ({"AZURE_OPENAI_ENDPOINT": "http://here.openai.azure.com"}, {"endpoint": HERE}, None),
    ],
)
def test_environment_s_key_is_for_the_environment_s_host(monkeypatch, variables, section, shown):
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AZURE_OPENAI_API_KEY": "env-key", **variables}.items():
        monkeypatch.setenv(name, value)
    key = AzureSettings(**filled(AzureSettings, section, "a test")).api_key
    assert (key and key.get_secret_value()) == shown


@pytest.mark.parametrize(
    ("variable", "setting"), [("AZURE_API_KEY", "api_key_env"), ("AZURE_OPENAI_AD_TOKEN", "ad_token_env")]
)
@pytest.mark.parametrize("entra", [True, False])
async def test_key_that_is_for_another_host_is_named_in_the_error(azure, monkeypatch, variable, setting, entra):
    """With Entra ID installed, its own error says so too."""
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    if entra:
        source = pytest.importorskip("azure.identity")
        monkeypatch.setattr(source, "DefaultAzureCredential", lambda: Identity(failure=RuntimeError("no login")))
    else:
        monkeypatch.setitem(sys.modules, "azure.identity", None)
    monkeypatch.setenv(variable, "env-secret")
    provider = AzureProvider("azure-eu", AzureSettings(endpoint=azure.url))
    with pytest.raises(errors.ConfigError) as caught:
        await provider.list_batches(after=None, limit=1, options=PLAIN)
    said = str(caught.value)
    assert f'say {setting} = "{variable}" under [accounts.azure-eu]' in said
    assert ("no Entra ID token" in said) == entra
    assert "env-secret" not in said
    assert azure.received == []
