"""Keys and addresses: no key goes to another host than its own, and a secret may stand in a variable or a file."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import BatchmeterError, ConfigError
from batchmeter.models import Secret
from batchmeter.runtime.load_settings import load_settings
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_azure.settings import AzureSettings
from batchmeter_datadog.settings import DatadogSettings
from batchmeter_langfuse.settings import LangfuseSettings
from batchmeter_openai import OpenAISettings
from batchmeter_vertex.settings import VertexSettings

LIST = Answer(body=b'{"object": "list", "data": [], "has_more": false}')
Make = Callable[..., AsyncClient]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def client(accounts: dict[str, dict[str, Any]]) -> AsyncClient:
        settings = Settings(ledger=str(tmp_path / "l.db"), track=False, load=(), accounts=accounts)
        return AsyncClient(settings=settings, environ={})

    return client


async def _keys(make: Make, account: dict[str, Any]) -> list[str | None]:
    """Credentials that the account's server is shown; None where the call fails before it is asked."""
    script = Script([LIST])
    async with serving(script) as url, make({"gateway": {"provider": "openai", "api_base": url, **account}}) as client:
        with suppress(ConfigError):
            await client.batches.list(custom_llm_provider="gateway")
    return [request.headers.get("authorization") for request in script.received]


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ({}, []),
        ({"api_key": "sk-gw"}, ["Bearer sk-gw"]),
        ({"api_key": "sk-gw\n"}, ["Bearer sk-gw"]),
        ({"api_key": "${GATEWAY_KEY}"}, ["Bearer sk-variable"]),
        ({"api_key_env": "GATEWAY_KEY"}, ["Bearer sk-variable"]),
        ({"api_key_env": "OPENAI_API_KEY"}, ["Bearer sk-process"]),  # where the settings say so
        ({"api_key_file": "{folder}/key"}, ["Bearer sk-file"]),
        ({"api_key_file": "${KEYS}/key"}, ["Bearer sk-file"]),
    ],
)
async def test_an_account_with_a_host_of_its_own_uses_its_own_key(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: dict[str, str], expected: list[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-process")
    monkeypatch.setenv("OPENAI_ORGANIZATION", "org-process")
    monkeypatch.setenv("GATEWAY_KEY", "sk-variable\n")
    monkeypatch.setenv("KEYS", str(tmp_path))
    (tmp_path / "key").write_text("sk-file\n")
    filled = {name: value.replace("{folder}", str(tmp_path)) for name, value in account.items()}
    assert await _keys(make, filled) == expected


async def test_a_calls_own_address_gets_no_accounts_key(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-process")
    section = {"api_key": "sk-config", "headers": {"authorization": "Bearer sk-header"}}
    elsewhere = {"openai": section, "other": {"provider": "openai", "api_base": "http://127.0.0.1:9/v1", **section}}
    for account in ("openai", "other"):
        script = Script([LIST])
        async with serving(script) as url, make(elsewhere) as client:
            with pytest.raises(ConfigError, match=r"gets no other account's key.*or pass api_key="):
                await client.batches.list(custom_llm_provider=account, api_base=url)
            await client.batches.list(custom_llm_provider=account, api_base=url, api_key="sk-call")
        assert [request.headers["authorization"] for request in script.received] == ["Bearer sk-call"]


async def test_the_environments_own_address_keeps_the_environments_key(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([LIST])
    async with serving(script) as url:
        monkeypatch.setenv("OPENAI_API_BASE", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-process")
        monkeypatch.setenv("OPENAI_ORGANIZATION", "org-x")
        async with make({"same": {"provider": "openai", "api_base": f"{url}/"}}) as client:
            for account in ("openai", "same", "hosted_vllm", "litellm_proxy"):
                await client.batches.list(custom_llm_provider=account)
    sent = {(request.headers["authorization"], request.headers["openai-organization"]) for request in script.received}
    assert (sent, len(script.received)) == ({("Bearer sk-process", "org-x")}, 4)


async def test_litellms_names_for_compatible_servers_with_an_address(make: Make) -> None:
    script = Script([LIST])
    async with serving(script) as url, make({}) as client:
        await client.batches.list(custom_llm_provider="hosted_vllm", api_base=url, api_key="k")
        official = openai.AsyncOpenAI(base_url=url, api_key="of-the-client", organization="org-c")
        await client.batches.list(client=official)
        await official.close()
        with pytest.raises(BatchmeterError, match="no account 'hosted_vlm'"):
            await client.batches.list(custom_llm_provider="hosted_vlm", api_base=url)
    sent = [(one.headers["authorization"], one.headers.get("openai-organization")) for one in script.received]
    assert sent == [("Bearer k", None), ("Bearer of-the-client", "org-c")]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"api_key": "${NOT_SET}"}, "api_key: the variable NOT_SET is not set"),
        ({"api_key_env": "NOT_SET"}, "api_key_env: the variable NOT_SET is not set"),
        ({"api_key_file": "/nowhere/key"}, "api_key_file: /nowhere/key cannot be read"),
    ],
)
async def test_a_missing_secret_is_an_error_where_it_is_used(make: Make, section: dict[str, str], message: str) -> None:
    async with make({"gateway": {"provider": "openai", "api_base": "http://127.0.0.1:9/v1", **section}}) as client:
        with pytest.raises(ConfigError, match=rf"\[accounts.gateway\]: {message}"):
            await client.batches.list(custom_llm_provider="gateway")


def test_a_secret_given_twice_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="api_key is given twice: by api_key_env too"):
        make({"gateway": {"provider": "openai", "api_key": "a", "api_key_env": "B"}})


def test_the_variables_that_litellm_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_API_BASE": "https://gw.example.com/v1",
        "OPENAI_ORGANIZATION": "org-x",
        "AZURE_API_KEY": "az-key\n",
        "AZURE_API_BASE": "https://r.openai.azure.com",
        "AZURE_API_VERSION": "2024-10-21",
        "AZURE_AD_TOKEN": "az-token",
        "VERTEXAI_PROJECT": "ml-batch",
        "GOOGLE_CLOUD_PROJECT": "host",
        "VERTEXAI_LOCATION": "europe-west4",
        "GOOGLE_CLOUD_LOCATION": "global",
    }.items():
        monkeypatch.setenv(name, value)
    mine, azure, vertex = OpenAISettings(), AzureSettings(), VertexSettings()
    assert (mine.api_base, mine.organization) == ("https://gw.example.com/v1", "org-x")
    assert (azure.endpoint, azure.api_version) == ("https://r.openai.azure.com", "2024-10-21")
    assert (_shown(azure.api_key), _shown(azure.ad_token)) == ("az-key", "az-token")
    assert (vertex.project, vertex.location) == ("ml-batch", "europe-west4")
    other = AzureSettings(endpoint="https://other.openai.azure.com")
    assert (other.api_key, other.ad_token) == (None, None)


def _shown(secret: Secret | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def test_keys_lose_a_trailing_line_break_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", "0123456789abcdef\n")
    assert _shown(DatadogSettings().api_key) == "0123456789abcdef"
    langfuse = LangfuseSettings(public_key="pk\n", secret_key="sk\r\n")  # type: ignore[arg-type]
    assert (langfuse.public_key, _shown(langfuse.secret_key)) == ("pk", "sk")
    assert _shown(AzureSettings(storage_sas="sv=1\n").storage_sas) == "sv=1"  # type: ignore[arg-type]


def test_a_plugins_secret_and_the_ledgers_url_come_from_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LANGFUSE_SECRET", "sk-lf")
    monkeypatch.setenv("LEDGER_FOLDER", str(tmp_path))
    monkeypatch.setenv("BATCHMETER_PLUGINS", "langfuse")
    monkeypatch.delenv("BATCHMETER_LEDGER")
    (tmp_path / "b.toml").write_text(
        'ledger = "${LEDGER_FOLDER}/l.db"\n[plugins.langfuse]\npublic_key = "pk"\nsecret_key_env = "LANGFUSE_SECRET"\n'
    )
    settings = load_settings(tmp_path / "b.toml")
    assert settings.ledger == f"{tmp_path}/l.db"
    client = AsyncClient(settings=settings)
    [info] = [plugin for plugin in client.plugins.info() if plugin.name == "langfuse"]
    assert (info.state, info.reason) == ("on", "")
