"""Credentials: given, from a function, from google-auth; where requests go."""

import json

import pytest
from tests.vendor_kit import BlockingHandler, served

from batchmeter import AsyncClient
from batchmeter.config import Settings, filled
from batchmeter.errors import APIConnectionError, AuthenticationError, ConfigError
from batchmeter.providers import CallOptions
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_vertex.auth import Tokens
from batchmeter_vertex.settings import VertexSettings

OPTIONS = CallOptions()


@pytest.fixture
def issuer():
    """A token endpoint that counts; `?fail` refuses."""
    asked = []

    class Handler(BlockingHandler):
        def do_POST(self):  # noqa: N802 - http.server names them
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            failing = "fail" in self.path
            reply = (
                {"error": "invalid_grant"} if failing else {"access_token": f"fresh-{len(asked)}", "expires_in": 3599}
            )
            data = json.dumps(reply).encode()
            self.send_response(400 if failing else 200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with served(Handler) as address:
        yield f"{address}/token", asked


@pytest.fixture(scope="module")
def private_key():
    """PEM of a key that opens nothing."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization as forms

    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()


def account(token_uri, private_key):
    return {
        "type": "service_account",
        "project_id": "its-own",
        "client_email": "robot@example.com",
        "private_key_id": "1",
        "private_key": private_key,
        "token_uri": token_uri,
        "quota_project_id": "billing",
    }


async def test_google_auth_refreshes_once_and_off_the_loop(issuer, private_key):
    uri, asked = issuer
    tokens = Tokens(VertexSettings(credentials=json.dumps(account(uri, private_key))))
    assert await tokens.headers() == {"authorization": "Bearer fresh-1", "x-goog-user-project": "billing"}
    await tokens.headers()
    assert len(asked) == 1
    assert await tokens.project() == "its-own"


async def test_application_default_credentials(issuer, private_key, tmp_path, monkeypatch):
    uri, _ = issuer
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account(uri, private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    for settings in (VertexSettings(), VertexSettings(credentials=str(path))):
        tokens = Tokens(settings)
        assert (await tokens.headers())["authorization"].startswith("Bearer fresh-")
        assert await tokens.project() == "its-own"


async def test_an_emulator_gets_no_token(make, monkeypatch, vertex):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", vertex.bucket.base)

    def token():
        raise AssertionError

    provider = make(storage_base=None, token=token)
    page = await provider.list_files(purpose=None, after=None, limit=None, order=None, options=OPTIONS)
    assert len(page) == 0


async def test_a_refused_refresh_is_ours_and_shows_no_secret(issuer, private_key):
    uri, _ = issuer
    settings = VertexSettings(project="p", credentials=account(uri + "?fail", private_key))
    secret = private_key.splitlines()[5]
    assert secret not in repr(settings)
    with pytest.raises(APIConnectionError, match="could not be refreshed") as caught:
        await Tokens(settings).headers()
    assert secret not in str(caught.value)
    assert caught.value.never_sent


@pytest.mark.parametrize("text", ["/no/such/file.json", '{"type": "s3cret', '{"type": "unknown"}'])
async def test_bad_credentials_name_the_setting(text):
    with pytest.raises(ConfigError, match="set `credentials`") as caught:
        await Tokens(VertexSettings(project="p", credentials=text)).headers()
    assert "s3cret" not in str(caught.value)


async def test_token_functions_plain_and_async():
    async def later():
        return "b"

    assert await Tokens(VertexSettings(token=lambda: "a")).headers() == {"authorization": "Bearer a"}
    assert await Tokens(VertexSettings(token=later)).headers() == {"authorization": "Bearer b"}


async def test_a_project_has_to_be_known_somehow(monkeypatch):
    with pytest.raises(ConfigError, match="GOOGLE_CLOUD_PROJECT"):
        await Tokens(VertexSettings(token="t")).project()
    monkeypatch.setenv("VERTEXAI_PROJECT", "from-litellm")
    assert await Tokens(VertexSettings(token="t")).project() == "from-litellm"


async def test_a_wrong_token_is_an_authentication_error(make):
    with pytest.raises(AuthenticationError):
        await make(token="wrong").retrieve_batch("1", OPTIONS)


async def test_a_bucket_is_asked_for_in_words(make):
    with pytest.raises(ConfigError, match="GCS_BUCKET_NAME"):
        await make(bucket=None).list_files(purpose=None, after=None, limit=None, order=None, options=OPTIONS)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_hosts(location, host):
    assert VertexSettings(location=location).host == host


def test_environment(monkeypatch):
    for name, value in {
        "GOOGLE_CLOUD_PROJECT": "p",
        "VERTEXAI_LOCATION": "europe-west4",
        "GCS_BUCKET_NAME": "gs://b/team",
        "STORAGE_EMULATOR_HOST": "127.0.0.1:4443",
    }.items():
        monkeypatch.setenv(name, value)
    settings = VertexSettings()
    assert (settings.project, settings.location) == ("p", "europe-west4")
    assert settings.folder() == ("b", "team/batchmeter")
    assert settings.storage_host == settings.emulator == "http://127.0.0.1:4443"
    assert VertexSettings(storage_base="http://private").emulator is None


@pytest.mark.parametrize("location", ["evil.com/", "US", ""])
def test_a_location_is_part_of_a_host(location):
    with pytest.raises(ValueError, match="location"):
        VertexSettings(location=location)


def test_an_api_key_is_refused():
    with pytest.raises(ValueError, match="not `api_key`"):
        VertexSettings(api_key="k")


def test_the_token_is_not_shown():
    assert "hidden-token" not in repr(VertexSettings(token="hidden-token"))


ELSEWHERE = "https://vertex.corp.example"


@pytest.mark.parametrize(
    ("section", "kept"),
    [
        ({}, True),
        ({"api_base": "https://europe-west4-aiplatform.googleapis.com"}, True),
        ({"api_base": "https://us-central1-aiplatform-mine.p.googleapis.com", "storage_base": ELSEWHERE}, False),
        ({"api_base": ELSEWHERE}, False),
        ({"storage_base": ELSEWHERE}, False),
        ({"api_base": "http://aiplatform.googleapis.com"}, False),
        ({"api_base": "https://googleapis.com.corp.example"}, False),
        ({"api_base": "https://notgoogleapis.com"}, False),
    ],
)
async def test_the_machine_s_credentials_go_to_google_alone(issuer, private_key, tmp_path, monkeypatch, section, kept):
    uri, _ = issuer
    path = tmp_path / "adc.json"
    path.write_text(json.dumps(account(uri, private_key)))
    for variable in ("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        with monkeypatch.context() as patched:
            patched.delenv("VERTEXAI_CREDENTIALS", raising=False)
            patched.setenv(variable, str(path))
            tokens = Tokens(VertexSettings(project="p", **section))
            if kept:
                assert (await tokens.headers())["authorization"].startswith("Bearer ")
                continue
            with pytest.raises(
                ConfigError, match="is an address of its own, which gets no credentials of the machine's"
            ):
                await tokens.headers()
    own = filled(VertexSettings, {"project": "p", "credentials_file": str(path), **section}, "a test")
    assert (await Tokens(VertexSettings(**own)).headers())["authorization"].startswith("Bearer ")


async def test_a_call_s_own_address_gets_no_account_s_token(tmp_path):
    section = {"project": "p", "bucket": "b", "token": "of-the-account"}
    script = Script([Answer(body=b"{}")])
    settings = Settings(ledger=str(tmp_path / "l.db"), track=False, load=(), accounts={"vertex_ai": section})
    async with serving(script) as url, AsyncClient(settings=settings, environ={}) as client:
        with pytest.raises(ConfigError, match="address of its own"):
            await client.batches.list(custom_llm_provider="vertex_ai", api_base=url)
        assert script.received == []
        await client.batches.list(custom_llm_provider="vertex_ai", api_base=url, token="of-the-call")
    assert {request.headers["authorization"] for request in script.received} == {"Bearer of-the-call"}
