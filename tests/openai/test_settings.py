"""Where an OpenAI account's settings come from, and what is said when they are missing."""

import pytest

from batchmeter import errors
from batchmeter.providers import CallOptions
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_openai import OpenAIProvider, OpenAISettings


def test_the_sdks_own_variables(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " sk-env\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1/")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    settings = OpenAISettings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "sk-env"
    assert (settings.organization, settings.project) == ("org-1", "proj_1")
    provider = OpenAIProvider("openai", settings)
    assert (provider.endpoint, provider.region) == ("https://eu.api.openai.com/v1", "eu")


def test_code_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://env.example.com")
    settings = OpenAISettings(api_key="sk-code", api_base="https://code.example.com/v1")
    assert settings.api_key.get_secret_value() == "sk-code"
    assert OpenAIProvider("x", settings).endpoint == "https://code.example.com/v1"


def test_an_empty_variable_is_no_value(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", " ")
    settings = OpenAISettings()
    assert settings.api_key is None
    assert settings.api_base == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("api_base", "region", "expected"),
    [
        ("https://api.openai.com/v1", None, None),
        ("https://us.api.openai.com/v1", None, "us"),
        ("https://eu.api.openai.com/v1", "global", "global"),
        ("https://eu.api.openai.com.evil.example/v1", None, None),
        ("https://api.groq.com/openai/v1", None, None),
    ],
)
def test_the_region_is_the_data_residency_host(api_base, region, expected):
    assert OpenAIProvider("x", OpenAISettings(api_base=api_base, region=region)).region == expected


async def test_a_missing_key_is_said_at_first_use(account):
    provider = OpenAIProvider("mine", OpenAISettings())
    with pytest.raises(errors.ConfigError, match=r"'mine' has no API key: set OPENAI_API_KEY.*\[accounts.mine\]"):
        await provider.retrieve_batch("batch_1", CallOptions())
    await provider.aclose()


def test_no_secret_is_shown():
    settings = OpenAISettings(api_key="sk-secret", api_base="https://user:pw@api.example.com/v1?sig=1")
    provider = OpenAIProvider("x", settings)
    assert "sk-secret" not in repr(settings) + str(settings) + repr(vars(provider))
    assert provider.endpoint == "https://api.example.com/v1"


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="organisation"):
        OpenAISettings(organisation="org-1")


async def test_the_callers_own_client(account):
    import httpx

    script = Script([Answer(body=b'{"id": "b", "status": "completed"}')])
    async with serving(script) as url, httpx.AsyncClient(headers={"x-mine": "1"}) as mine:
        await account(url, http_client=mine).retrieve_batch("b", CallOptions())
    assert script.received[0].headers["x-mine"] == "1"
    assert script.received[0].headers["authorization"] == "Bearer sk-test-0123456789"
