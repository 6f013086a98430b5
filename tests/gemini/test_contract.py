"""Gemini keeps the contract of every provider: chat, embeddings, its own rows, and both spellings of states."""

import json

import pytest

from batchmeter.testing.providers import ProviderContract


class TestChat(ProviderContract):
    model = "gemini-2.5-flash"
    checks_keys = True
    pause = 0.0
    unknown_batch = "nobodyhasthis"

    @pytest.fixture
    async def provider(self, make):
        return make()

    @pytest.fixture
    async def locked_out(self, make):
        return make(api_key="AIza-wrong-0123456789")


class TestEmbeddings(TestChat):
    endpoint = "/v1/embeddings"
    model = "gemini-embedding-001"

    def lines(self):
        def line(number):
            body = {"model": self.model, "input": "hi"}
            return {"custom_id": f"r-{number}", "method": "POST", "url": self.endpoint, "body": body}

        return b"".join(json.dumps(line(number)).encode() + b"\n" for number in range(self.requests))


class TestNative(TestChat):
    @pytest.fixture
    async def provider(self, make, vendor):
        vendor.prefix = "JOB_STATE_"
        return make(format="native", api_version="v1")

    def lines(self):
        turns = [{"role": "user", "parts": [{"text": "hi"}]}]
        rows = [{"key": f"r-{n}", "request": {"contents": turns}} for n in range(self.requests)]
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
