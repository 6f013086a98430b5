"""Slack: messages that it gets, how its refusals are taken, and the contract every logger keeps."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from batchmeter_slack import SlackLogger, SlackSettings

from batchmeter.testing import LoggerContract, open_bench, run_batch

SECRET = "/services/T0/B0/hunter2hunter2"


class FakeSlack(ThreadingHTTPServer):
    """Keeps what it accepts; `answers` are given first, then 200."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}{SECRET}"
        self.messages = []
        self.answers = []


class Handler(BaseHTTPRequestHandler):
    """Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        if status == 200 and self.path == SECRET:
            self.server.messages.append(message)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"ok" if status == 200 else b"no_text")

    def log_message(self, *args):
        pass


@pytest.fixture
def slack():
    with FakeSlack() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def logger_for(url, **settings):
    return SlackLogger(SlackSettings(webhook_url=url, **settings))


async def test_a_batch_is_one_message(slack):
    run = await run_batch(logger_for(slack.url), requests=5)
    run.assert_delivered()
    (message,) = slack.messages
    cost = run.settlement.cost.total
    (model,) = run.settlement.models
    assert message["text"] == f"{run.settlement.batch_id} completed: 5 of 5 requests, ${cost} ({model})"
    assert message["blocks"][0]["block_id"] == run.ending.id


async def test_an_unknown_cost_is_no_zero(slack):
    await run_batch(logger_for(slack.url), script="no_usage=1")
    assert ", at least $0.0" in slack.messages[0]["text"]


async def test_successes_can_be_left_out(slack):
    async with open_bench(logger_for(slack.url, failures_only=True)) as bench:
        await bench.run()
        await bench.run(script="outcome=expired done=0")
    assert [message["text"].split()[1] for message in slack.messages] == ["expired:"]


async def test_slack_asking_for_patience_gets_it(slack):
    slack.answers = [(429, {"retry-after": "30"}), (500, {})]
    run = await run_batch(logger_for(slack.url))
    run.assert_delivered()
    assert [delivery.attempts for delivery in run.deliveries] == [3]
    assert len(slack.messages) == 1


async def test_what_slack_will_never_take_is_not_sent_again(slack):
    slack.answers = [(400, {})]
    run = await run_batch(logger_for(slack.url))
    assert [(delivery.state, delivery.attempts) for delivery in run.deliveries] == [("dead", 1)]
    assert "no_text" in run.deliveries[0].last_error
    assert slack.messages == []


class TestContract(LoggerContract):
    module = "batchmeter_slack"
    secrets = ("hunter2hunter2",)

    @pytest.fixture
    def logger(self, slack):
        self.slack = slack
        return logger_for(slack.url)

    @pytest.fixture
    def broken(self):
        with FakeSlack() as nobody:
            url = nobody.url
        return logger_for(url)

    def received(self, logger):
        return [(message["blocks"][0]["block_id"], message) for message in self.slack.messages]
