"""The access log: one line a request, without what may be secret."""

import logging
import re

import pytest

from batchmeter_proxy.access_log import access


@pytest.fixture
def written(caplog, monkeypatch):
    monkeypatch.setattr(access, "level", logging.INFO)
    access.manager._clear_cache()
    yield lambda: [record.getMessage() for record in caplog.records if record.name == access.name]
    access.manager._clear_cache()


async def test_each_request_is_a_line(caller, lines, written):
    ada = await caller(owner="ada")
    await ada.submit(lines(1))
    await ada.get("/v1/batches/batch%2F1%0A?api_key=sk-query")
    found = written()
    shapes = [re.sub(r"[\d.]+ms$", "ms", line) for line in found]
    assert shapes == [
        f"127.0.0.1 {ada.key.id} POST /v1/files 200 ms",
        f"127.0.0.1 {ada.key.id} POST /v1/batches 200 ms",
        f"127.0.0.1 {ada.key.id} GET /v1/batches/batch%2F1%0A 404 ms",
    ]
    assert not any(ada.secret in line or "sk-query" in line for line in found)


async def test_nothing_is_written_unless_asked_for(http, caplog):
    caplog.set_level(logging.INFO)
    await http.get("/v1/models")
    assert [record for record in caplog.records if record.name == access.name] == []
