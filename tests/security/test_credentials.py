"""Credentials go to the hosts of the account's own settings: no redirect, link or address in an answer moves them."""

import json
from contextlib import suppress

import httpx
import httpx2
import pytest
from tests.heavy import HEAVY

from batchmeter import errors
from batchmeter.config import Settings
from batchmeter.http import HttpClient
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, upload_of
from batchmeter.testing.wire import Answer, serving

SECRET = "planted-secret-0123456789"
PLAIN = CallOptions()
LINKS = [
    "results_url",
    "next",
    "next_page",
    "next_url",
    "nextPageToken",
    "last_id",
    "output_file_id",
    "error_file_id",
    "output_blob",
    "error_blob",
    "upload_url",
    "uploadUrl",
    "location",
    "url",
    "href",
    "mediaLink",
    "selfLink",
    "content_url",
    "download_url",
]


async def entra_token():
    return SECRET


ACCOUNTS = {
    "openai key": ("openai", lambda url: {"api_key": SECRET, "api_base": url, "headers": {"x-team": SECRET}}),
    "azure key": ("azure", lambda url: {"api_key": SECRET, "endpoint": url}),
    "azure entra": ("azure", lambda url: {"ad_token_provider": entra_token, "endpoint": url}),
    "azure storage": ("azure", lambda url: {"api_key": "k" * 9, "endpoint": url, "storage_sas": f"sig={SECRET}"}),
    "vertex": (
        "vertex_ai",
        lambda url: {"token": SECRET, "project": "p", "bucket": "b", "api_base": url, "storage_base": url},
    ),
    "vertex native": (
        "vertex_ai",
        lambda url: (
            {"token": SECRET, "project": "p", "bucket": "b", "api_base": url, "storage_base": url}
            | {"format": "native"}
        ),
    ),
}
ACCOUNTS |= {
    "anthropic key": ("anthropic", lambda url: {"api_key": SECRET, "api_base": url}),
    "anthropic token": ("anthropic", lambda url: {"auth_token": SECRET, "api_base": url}),
    "gemini": ("gemini", lambda url: {"api_key": SECRET, "api_base": url}),
    "mistral": ("mistral", lambda url: {"api_key": SECRET, "api_base": url}),
    "xai": ("xai", lambda url: {"api_key": SECRET, "api_base": url}),
    "bedrock": (
        "bedrock",
        lambda url: (
            {"region": "us-east-1", "bucket": "b", "role_arn": "arn:aws:iam::123456789012:role/r", "min_records": 0}
            | {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "k" * 20, "session_token": SECRET}
            | {"api_base": url, "storage_base": url}
        ),
    ),
    "bedrock key": (
        "bedrock",
        lambda url: (
            {"region": "us-east-1", "bucket": "b", "role_arn": "arn:aws:iam::123456789012:role/r", "api_key": SECRET}
            | {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "k" * 20, "api_base": url, "storage_base": url}
        ),
    ),
}
NEEDS_NO_CREDENTIAL = {"sandbox"}
PROVIDERS = Plugins.load(Settings(), {}).providers
COMPATIBLE = sorted(
    name
    for name, factory in PROVIDERS.items()
    if name != "openai" and factory.__module__.startswith("batchmeter_openai.")
)
"""Vendors whose provider is the OpenAI one with another profile: fewer ways for each."""


def test_every_provider_has_a_case():
    assert set(PROVIDERS) - NEEDS_NO_CREDENTIAL == {provider for provider, _ in ACCOUNTS.values()}.union(COMPATIBLE)


class Stranger:
    """A server that, whatever it is asked, sends the caller on, to itself and back; it keeps all that it was sent."""

    def __init__(self):
        self.received = []
        self.url = ""
        self.home = ""

    async def __call__(self, request):
        self.received.append(request)
        if request.path == "/first":
            return Answer(302, headers={"location": f"{self.url}/second"})
        return Answer(body=b"{}")

    def shown(self):
        return b"".join(
            one.target.encode() + repr(sorted(one.headers.items())).encode() + one.body for one in self.received
        )


class Home:
    """The account's own host, in a stranger's hands: each answer names the stranger in one way."""

    def __init__(self, way, stranger):
        self.way, self.stranger, self.received = way, stranger, []

    async def __call__(self, request):
        self.received.append(request)
        there = f"{self.stranger.url}/first"
        if isinstance(self.way, int) or (self.way == "both" and "files" in request.path):
            return Answer(307 if self.way == "both" else self.way, headers={"location": there})
        rows = [{"id": "batch_1", "status": "completed", "state": "JOB_STATE_SUCCEEDED", "object": "batch"}]
        links = dict.fromkeys(LINKS, there)
        body = {**rows[0], **links, "name": "projects/p/locations/l/batchPredictionJobs/1", "size": "2", "bytes": 2}
        body |= {"bucket": "b", "outputInfo": {"gcsOutputDirectory": there}, "request_counts": {"completed": 1}}
        if self.way in ("page", "both"):
            body |= {"data": rows, "items": [body | {"name": "n"}], "has_more": True}
            body |= {"batchPredictionJobs": [{"name": there, "state": "JOB_STATE_SUCCEEDED"}]}
        return Answer(
            body=json.dumps(body).encode(),
            headers={"location": there, "x-goog-upload-url": there, "link": f'<{there}>; rel="next"'},
        )


async def everything(provider):
    """Every operation once; what goes wrong is the answer's fault."""
    lines = lines_of(2, "gemini-2.5-flash" if provider.name == "vertex_ai" else "gpt-4o-mini")
    batch = Batch.model_validate({"id": "1", "status": "completed"})

    async def read(stream):
        async with stream as content:
            async for _ in content.chunks:
                pass

    async def settle(seen):
        for file in await provider.outputs(seen):
            with suppress(errors.BatchmeterError):
                await read(file.open())

    calls = [
        lambda: provider.create_file(upload_of(lines), PLAIN),
        lambda: provider.create_file(upload_of(lines, sized=False), PLAIN),
        lambda: provider.retrieve_file("file-1", PLAIN),
        lambda: provider.retrieve_file("gs://b/o", PLAIN),
        lambda: provider.list_files(purpose=None, after=None, limit=None, order=None, options=PLAIN),
        lambda: provider.delete_file("file-1", PLAIN),
        lambda: provider.delete_file("gs://b/o", PLAIN),
        lambda: read(provider.file_content("file-1", PLAIN)),
        lambda: read(provider.file_content("gs://b/o", PLAIN)),
        lambda: read(provider.file_content("vertex-output-1", PLAIN)),
        lambda: provider.create_batch(BatchRequest("file-1", "/v1/chat/completions"), PLAIN),
        lambda: provider.create_batch(BatchRequest("gs://b/o", "/v1/chat/completions", model="m"), PLAIN),
        lambda: read(provider.file_content("s3://b/o", PLAIN)),
        lambda: read(provider.file_content("bedrock-output-1", PLAIN)),
        lambda: provider.create_batch(BatchRequest("s3://b/o", "/v1/chat/completions", model="m"), PLAIN),
        lambda: provider.cancel_batch("1", PLAIN),
        lambda: provider.list_batches(after="1", limit=2, options=PLAIN),
        lambda: settle(batch),
    ]
    for call in calls:
        with suppress(errors.BatchmeterError):
            await call()
    with suppress(errors.BatchmeterError):
        await settle(await provider.retrieve_batch("1", PLAIN))


WAYS = [301, 302, 303, 307, 308, "link", "page"]
"""A status that redirects, a link among an answer's fields, or links in every item of its page."""


def libraries(name, way):
    """All providers follow redirects with one client: by default each account is attacked in each way with one library,
    and one account with every status, which is the libraries' own business."""
    if HEAVY or (name == "openai key" and isinstance(way, int)):
        return ("httpx", "httpx2")
    return () if way in OTHER_STATUSES else (("httpx", "httpx2")[(list(ACCOUNTS).index(name) + WAYS.index(way)) % 2],)


OTHER_STATUSES = (301, 302, 303, 308)
CASES = [
    pytest.param(name, way, library, id=f"{name}-{way}-{library}")
    for name in ACCOUNTS
    for way in WAYS
    for library in libraries(name, way)
]


@pytest.mark.parametrize(("name", "way", "by"), CASES)
async def test_no_answer_moves_a_secret(name, way, by, monkeypatch):
    monkeypatch.setenv("BATCHMETER_HTTP", by)
    await attack(name, way, *ACCOUNTS[name])


@pytest.mark.parametrize("name", COMPATIBLE)
async def test_no_answer_moves_a_compatible_vendor_s_secret(name):
    """Files are redirected, batches come in pages of links; a profile tells which fields of them are read."""
    for way in (307, "page") if HEAVY else ("both",):
        await attack(name, way, name, lambda url: {"api_key": SECRET, "api_base": url})


async def attack(name, way, provider_name, settings):
    if provider_name == "bedrock":
        pytest.importorskip("botocore", reason="botocore is in the extra `bedrock` and in the test group")
    factory = PROVIDERS[provider_name]
    stranger = Stranger()
    home = Home(way, stranger)
    async with serving(stranger) as stranger.url, serving(home) as url:
        given = {"max_retries": 0, "timeout": 20, **settings(url)}
        provider = factory(name.replace(" ", "-"), factory.Settings(**given))
        await everything(provider)
        await provider.aclose()
    assert home.received
    assert SECRET.encode() not in stranger.shown()
    if name != "azure storage":  # its only secret is for a storage that is not named
        assert any(SECRET in repr(one.headers) for one in home.received)


@pytest.mark.parametrize("owner", [httpx, httpx2])
async def test_a_lent_client_s_own_login_is_no_stranger_s(owner):
    """Its headers, its login and its query go where it was told to go, not where an answer points."""
    stranger = Stranger()
    home = Home(302, stranger)
    async with serving(stranger) as stranger.url, serving(home) as url:
        lent = owner.AsyncClient(headers={"x-key": SECRET}, auth=("user", SECRET), params={"key": SECRET})
        async with lent:
            with suppress(errors.BatchmeterError):
                await HttpClient(url, client=lent, headers={"api-key": SECRET}).request("GET", "files")
    assert len(stranger.received) == 2
    assert SECRET in repr(home.received[0].headers)
    assert SECRET.encode() not in stranger.shown()
    assert b"Basic" not in stranger.shown()


async def test_a_request_for_another_host_is_not_sent(library):
    stranger = Stranger()
    async with serving(stranger) as stranger.url:
        client = HttpClient("http://127.0.0.1:1/v1", headers={"api-key": SECRET})
        for method in ("GET", "PUT", "DELETE"):
            with pytest.raises(errors.APIResponseError, match="an address at another host"):
                await client.request(method, f"{stranger.url}/first?sig=1")
        await client.aclose()
    assert stranger.received == []


@pytest.mark.parametrize("target", ["http://own.example/x", "http://other/x"])
def test_tls_is_not_left_by_a_redirect(target):
    source = "https://own.example"
    with pytest.raises(errors.APIResponseError, match="does not go from https to http"):
        HttpClient(source)._check_redirect(source, target)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(target, library):
    async def away(_):
        return Answer(302, headers={"location": target})

    async with serving(away) as url:
        client = HttpClient(url, sleep=never)
        with pytest.raises(errors.ProviderError):
            await client.request("GET", "files")
        await client.aclose()


async def never(_):
    raise AssertionError("it was tried again")


async def test_outputs_are_read_at_named_storage_accounts_only():
    factory = PROVIDERS["azure"]
    stranger = Stranger()
    async with serving(stranger) as stranger.url:
        given = {"endpoint": "http://127.0.0.1:1", "api_key": SECRET, "storage_sas": f"sv=1&sig={SECRET}"}
        blob = Batch.model_validate({"id": "b", "status": "completed", "output_blob": f"{stranger.url}/first"})
        for named, asked in (((), 0), (("mine",), 0), (("mine", stranger.url), 2)):
            provider = factory("azure", factory.Settings(**given, storage_accounts=named))
            (file,) = await provider.outputs(blob)
            if asked:
                async with file.open() as content:
                    assert [chunk async for chunk in content.chunks] == [b"{}"]
            else:
                with pytest.raises(errors.APIResponseError, match="none of this account's storage accounts"):
                    async with file.open():
                        pass
            assert len(stranger.received) == asked
            await provider.aclose()
