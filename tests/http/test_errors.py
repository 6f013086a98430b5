"""Errors keep what the provider sent and show no secret; redirects carry none."""

import traceback

import httpx
import pytest

from batchmeter import errors
from batchmeter.http import HttpClient, error_message, redact_url
from batchmeter.testing.wire import Answer, Script, serving

KEY = "sk-very-secret-0123456789"


async def bearer():
    return {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (418, errors.APIStatusError),
        (422, errors.UnprocessableEntityError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (599, errors.InternalServerError),
    ],
)
async def test_each_status_is_its_exception_with_everything_sent(status, kind, connect):
    body = b'{"error": {"message": "No batch found", "type": "invalid_request_error", "code": "gone"}}'
    async with serving(Script([Answer(status, body, {"X-Request-Id": "req_7", "Retry-After": "9"})])) as url:
        with pytest.raises(errors.APIStatusError, match=f"{url} answered {status}: No batch found") as caught:
            await connect(url, max_retries=0).request("GET", "batches/b")
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.content, error.code) == (status, body, "gone")
    assert (error.request_id, error.retry_after) == ("req_7", 9.0)


async def test_an_error_that_is_not_json_keeps_its_text(connect):
    async with serving(Script([Answer(403, b"<html>blocked</html>", {"content-type": "text/html"})])) as url:
        with pytest.raises(errors.PermissionDeniedError, match="blocked") as caught:
            await connect(url).request("GET", "batches/b")
    assert caught.value.body == "<html>blocked</html>"


async def test_an_error_whose_body_breaks_off_is_still_that_error(connect):
    async with serving(Script([Answer(401, b'{"error": ', length=500)])) as url:
        with pytest.raises(errors.AuthenticationError):
            await connect(url).request("GET", "batches/b")


async def test_a_login_page_is_not_json(connect):
    page = Answer(body=b"<html>Sign in</html>", headers={"content-type": "text/html"})
    async with serving(Script([page])) as url:
        answer = await connect(url).request("GET", "batches/b")
    with pytest.raises(errors.APIResponseError, match=r"expected JSON, got text/html.*api_base"):
        answer.json()


async def test_a_server_that_repeats_the_key_is_not_repeated(connect):
    echo = Answer(401, f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'.encode())
    async with serving(Script([echo])) as url:
        with pytest.raises(errors.AuthenticationError, match="provided: \\[redacted\\]") as caught:
            await connect(url, auth=bearer).request("GET", "batches/b")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY.encode() not in caught.value.content


@pytest.mark.parametrize("stray", ["\n", "\r\n", "€", "\x00"])
async def test_a_key_with_a_stray_character_is_named_not_shown(stray, connect):
    async with serving(Script([Answer()])) as url:
        with pytest.raises(errors.ConfigError, match="header 'authorization' holds a line break") as caught:
            await connect(url, headers={"Authorization": f"Bearer {KEY}{stray}"}).request("GET", "files")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_no_secret_in_the_repr():
    client = HttpClient("https://api.example.com", headers={"api-key": KEY}, auth=bearer, params={"sig": KEY})
    assert KEY not in repr(client)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@api.example.com/v1/?sig=abc#x", "https://api.example.com/v1"),
        ("https://api.example.com/v1/users/@me", "https://api.example.com/v1/users/@me"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
def test_a_shown_url_has_no_secret(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "text"}, "text"),
        ({"message": "m"}, "m"),
        ({"detail": [{"loc": []}]}, "{'loc': []}"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ({"error": None}, None),
        ({"errors": [{"status": "403", "title": "Forbidden", "detail": "API key is invalid"}]}, "API key is invalid"),
        ({"errors": [{"title": "Forbidden"}, "too long", None, "too long"]}, "Forbidden; too long"),
        ({"errors": {"name": ["is empty"]}}, "{'name': ['is empty']}"),
        ({"errors": []}, None),
        ([{"error": {"code": 400, "message": "bad row"}}], "bad row"),
        ("plain", "plain"),
        ("", None),
        ([], None),
        (None, None),
    ],
)
def test_the_human_part_of_an_error(body, message):
    assert error_message(body) == message


def test_endless_error_is_no_error_of_ours():
    nested = []
    for _ in range(5_000):
        nested = [nested]
    for body in ({"detail": nested}, {"errors": nested}, nested, {"error": {"message": nested}}):
        assert error_message(body) == "an error that is nested too deeply to be shown"


async def test_a_redirected_download_is_followed_without_credentials(connect):
    store = Script([Answer(body=b"lines")])
    async with serving(store) as elsewhere:
        api = Script([Answer(302, headers={"location": f"{elsewhere}/blob?sig=1"})])
        async with serving(api) as url:
            client = connect(url, auth=bearer, headers={"api-key": KEY})
            async with client.stream("GET", "files/f/content", headers={"range": "bytes=0-4"}) as response:
                got = b"".join([chunk async for chunk in response.chunks])
    assert got == b"lines"
    (request,) = store.received
    assert request.target == "/blob?sig=1"
    assert request.headers["range"] == "bytes=0-4"
    assert KEY not in str(request.headers)


async def test_a_redirect_on_the_same_host_keeps_credentials(connect):
    script = Script([Answer(307, headers={"location": "/v1/files?page=2"}), Answer(body=b"{}")])
    async with serving(script) as url:
        await connect(url, auth=bearer).request("GET", "files")
    assert [request.target for request in script.received] == ["/files", "/v1/files?page=2"]
    assert script.received[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_other_redirects_say_where_the_api_is(method, connect):
    loop = Script(
        [Answer(301, headers={"location": "http://user:pw@127.0.0.1:1/v1?key=1" if method == "POST" else "/"})]
    )
    async with serving(loop) as url:
        with pytest.raises(errors.APIResponseError, match=r"redirects to .*; set api_base") as caught:
            await connect(url).request(method, "files", json_body={} if method == "POST" else None)
    assert "pw@" not in str(caught.value)
    assert "key=1" not in str(caught.value)


def test_causes_in_a_circle_end():
    """A library that raises what it was given anew makes one: the event loop would stand still."""
    from batchmeter.http.failure import transport_error

    first, second = httpx.ConnectError("first"), OSError("second")
    first.__context__, second.__context__ = second, first
    assert isinstance(transport_error(first, "somewhere"), errors.APIConnectionError)
