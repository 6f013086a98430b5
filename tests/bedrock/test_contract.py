"""Bedrock keeps the contract of every provider, with OpenAI's lines of each family and with its own records."""

import json

import pytest

from batchmeter.testing.providers import ProviderContract

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


class TestClaude(ProviderContract):
    model = CLAUDE
    checks_keys = True
    pause = 0.0
    unknown_batch = "nobodyhasit0"

    @pytest.fixture
    async def provider(self, make):
        return make()

    @pytest.fixture
    async def locked_out(self, make):
        return make(secret_access_key="another-secret-0123456789")


class TestNative(TestClaude):
    @pytest.fixture
    async def provider(self, make):
        return make(format="native")

    def lines(self):
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9}
        body |= {"messages": [{"role": "user", "content": "hi"}]}
        return b"".join(json.dumps({"modelInput": body}).encode() + b"\n" for _ in range(self.requests))
