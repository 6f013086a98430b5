"""Web pages that have a browser on this machine ask a proxy without keys."""

from tests.cases import case


async def test_without_keys_web_pages_from_elsewhere_are_refused(http, lines, sandbox):
    """A browser on this machine sends a text/plain POST wherever a page asks it to."""
    for host, origin in [
        ("127.0.0.1:4000", "https://evil.example"),
        ("127.0.0.1:4000", "http://evil.example:4000"),
        ("localhost:4000", "null"),
        ("localhost:4000", "http://localhost.evil.example"),
        ("evil.example:4000", "http://evil.example:4000"),  # a name that is made to lead here
        ("evil.example", None),
        ("test.evil.example", "http://app.test"),
        ("app.test", "http://other.test"),
        ("127.0.0.1.evil.example", None),
        ("localhost:4000", "http://["),
    ]:
        with case(host, origin):
            headers = {"host": host, "content-type": "text/plain", **({"origin": origin} if origin else {})}
            for method, path in (("POST", "/v1/batches"), ("GET", "/v1/batches"), ("POST", "/v1/files")):
                answer = await http.request(method, path, headers=headers, content=b"{}" if method == "POST" else None)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site"), path


async def test_without_keys_this_machine_s_own_pages_may(http):
    for host, origin in [
        ("127.0.0.1:4000", None),
        ("localhost:4000", "http://localhost:3000"),
        ("LOCALHOST", "http://127.0.0.1:8080"),
        ("[::1]:4000", "http://[::1]:5173"),
        ("app.localhost:4000", "http://app.localhost:4000"),
        ("proxy", None),
        ("app.test", "http://app.test"),
        ("proxy", "http://proxy"),
        ("192.168.1.7:4000", None),
    ]:
        with case(host, origin):
            headers = {"host": host, **({"origin": origin} if origin else {})}
            assert (await http.get("/v1/batches", headers=headers)).status_code == 200


async def test_with_a_key_pages_from_anywhere_may(caller):
    ada = await caller(owner="ada")
    assert (await ada.get("/v1/batches", host="batches.example", origin="https://app.example")).status_code == 200
