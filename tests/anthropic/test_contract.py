"""Anthropic keeps the contract of every provider, with OpenAI's lines, Anthropic's own, and both in OpenAI's envelope."""

import json

import pytest

from batchmeter.testing.providers import ProviderContract
from batchmeter.testing.requests import lines_of


class TestChat(ProviderContract):
    model = "claude-haiku-4-5"
    checks_keys = True
    pause = 0.0
    unknown_batch = "msgbatch_nobodyhasthis"

    @pytest.fixture
    async def provider(self, make):
        return make()

    @pytest.fixture
    async def locked_out(self, make):
        return make(api_key="sk-ant-wrong-0123456789")


class TestMessages(TestChat):
    endpoint = "/v1/messages"

    def lines(self):
        rows = [json.loads(line) for line in lines_of(self.requests, self.model, self.endpoint).splitlines()]
        body = {"model": self.model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        return b"".join(json.dumps({**row, "body": body}).encode() + b"\n" for row in rows)


class TestNative(TestMessages):
    @pytest.fixture
    async def provider(self, make):
        return make(format="native")

    def lines(self):
        rows = [json.loads(line) for line in super().lines().splitlines()]
        return b"".join(
            json.dumps({"custom_id": row["custom_id"], "params": row["body"]}).encode() + b"\n" for row in rows
        )
