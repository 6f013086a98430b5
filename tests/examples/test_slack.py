"""examples/batchmeter-slack, installed as a user would install it, against a Slack on the loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from batchmeter.testing import sandbox_thread
from batchmeter.testing.requests import lines_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "batchmeter-slack"


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posts.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def site(installed, tmp_path):
    return installed(EXAMPLE, tmp_path)


@pytest.fixture
def slack():
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        server.posts = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_example_installs_is_found_and_tells_slack(site, slack):
    (site.working / "requests.jsonl").write_bytes(lines_of(7, "gpt-5-mini"))
    (site.working / "batchmeter.toml").write_text(
        f'[plugins.slack]\nwebhook_url = "http://127.0.0.1:{slack.server_port}/services/T0/B0/secret"\n'
    )
    found = site.plugin("slack")
    assert (found["state"], found["distribution"]) == ("on", "batchmeter-slack")
    with sandbox_thread() as sandbox:
        done = site.python(
            *("-m", "batchmeter", "submit", "requests.jsonl", "--wait", "--json"),
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=sandbox.url,
        )
    assert done.returncode == 0, done.stderr
    settled = json.loads(done.stdout.splitlines()[-1])
    ((path, message),) = slack.posts
    assert path == "/services/T0/B0/secret"
    cost = settled["cost"]["total"]
    assert f"{settled['batch_id']} completed: 7 of 7 requests, ${cost}" in message["text"]
    assert "secret" not in done.stdout + done.stderr


def test_the_examples_own_tests_pass(site):
    assert " passed" in site.own_tests(EXAMPLE)


def test_the_tutorials_promise_of_length():
    lines = (EXAMPLE / "batchmeter_slack.py").read_text().splitlines()
    assert len(lines) < 60


def test_a_wrong_setting_is_named(site):
    (site.working / "batchmeter.toml").write_text('[plugins.slack]\nwebhook = "https://hooks.slack.com/services/x"\n')
    done = site.python("-m", "batchmeter", "plugins")
    assert done.returncode == 2
    assert "[plugins.slack]: unknown key 'webhook'" in done.stderr
    assert "did you mean 'webhook_url'" in done.stderr
