"""Every logger: ids that two accounts do not share, receivers' ways to say yes, names in every script, odd files."""

import asyncio
import json
import os
import subprocess
import threading

import pytest
from tests.warm_python import WARM

from batchmeter.config import ConfigError
from batchmeter_datadog import DatadogSettings
from batchmeter_datadog.agent import Agent
from batchmeter_datadog.spans import spans_of
from batchmeter_datadog.tags import clean
from batchmeter_file import FileLogger, FileSettings
from batchmeter_langfuse import LangfuseSettings
from batchmeter_langfuse.observations import root_of
from batchmeter_otel.answer import refusal
from batchmeter_otel.ids import batch_context, submission_context


def test_two_accounts_with_one_batch_id_share_no_ids(events):
    here, there, plain = (events.succeeded("batch_1", account=account) for account in ("site-a", "site-b", "openai"))
    for ids in (
        lambda event: batch_context(event, child=False),
        submission_context,
        lambda event: root_of(event, child=False),
    ):
        assert len({(ids(event).trace_id, ids(event).span_id) for event in (here, there, plain)}) == 3
    spans = [span for event in (here, there, plain) for span in spans_of(event, event.time)]
    assert len({(span["trace_id"], span["span_id"]) for span in spans}) == len(spans)


@pytest.mark.parametrize("kind", ["application/x-protobuf", "text/plain", "application/json", ""])
@pytest.mark.parametrize("body", [b"success", b"OK", b"", b"  ok\n", b"{}"])
def test_a_plain_yes_is_an_acknowledgement(kind, body):
    assert refusal(200, {"content-type": kind}, body, where="x") is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>sign in</html>"),
        ("application/x-protobuf", b"<!DOCTYPE html>"),
        ("application/json", b"<html>"),
        ("text/plain", b"no such route"),
    ],
)
def test_a_page_is_no_acknowledgement(kind, body):
    assert refusal(200, {"content-type": kind}, body, where="x") is not None


def test_datadog_tags_keep_letters_of_every_script():
    teams = ("東京", "大阪", "финансы", "продажи", "équipe", "équipé", "हिन्दी", "ไทย")
    assert {clean(team) for team in teams} == set(teams)
    assert clean("R&D Team, North") == "r_d_team__north"


@pytest.mark.parametrize(
    "site", ["datadoghq.eu", "https://datadoghq.eu", "https://app.datadoghq.eu/", " HTTPS://api.datadoghq.eu/api "]
)
def test_datadog_site_may_be_written_as_a_url(monkeypatch, site):
    monkeypatch.setenv("DD_SITE", site)
    assert DatadogSettings(api_key="x").base_url == "https://api.datadoghq.eu"


async def test_the_pod_s_tag_is_on_every_point(monkeypatch):
    monkeypatch.setenv("DD_ENTITY_ID", "pod-1")
    monkeypatch.setenv("DD_ENV", "prod")
    agent = Agent(DatadogSettings(mode="agent"))
    assert agent._statsd.constant_tags == ["dd.internal.entity_id:pod-1"]
    await agent.aclose()


async def test_the_agent_is_reached_through_its_sockets(tmp_path, monkeypatch):
    import socket

    requests = []

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        requests.append((head.split(b"\r\n")[0], json.loads(await reader.readexactly(length))))
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "apm.socket")
    statsd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    statsd.bind(str(tmp_path / "dsd.socket"))
    statsd.setblocking(False)
    monkeypatch.setenv("DD_TRACE_AGENT_URL", f"unix://{tmp_path}/apm.socket")
    monkeypatch.setenv("DD_DOGSTATSD_SOCKET", f"unix://{tmp_path}/dsd.socket")
    agent = Agent(DatadogSettings(mode="agent"))
    await agent.spans([{"span_id": "1"}], ["team:x"], "app", None)
    await agent.counts(0, {("batchmeter.batches", ("team:x",)): 2})
    assert requests[0][0] == b"POST /evp_proxy/v4/api/v2/llmobs HTTP/1.1"
    assert statsd.recv(4096).startswith(b"batchmeter.batches:2.0|c|#team:x")
    await agent.aclose()
    statsd.close()
    server.close()
    await server.wait_closed()


def test_langfuse_s_environment_is_lowered_with_one_warning(monkeypatch, caplog):
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "Production-7")
    for _ in range(2):
        settings = LangfuseSettings(public_key="p", secret_key="s")
        assert settings.environment == "production-7"
    assert len([record for record in caplog.records if "Production-7" in record.getMessage()]) == 1


SCRIPT = """
import sys
from batchmeter_file import FileLogger, FileSettings
from batchmeter_file.cloudevent import to_line
logger = FileLogger(FileSettings(path=sys.argv[1]))
for number in range(2):
    logger._appender.append(b'{"specversion": "1.0"}\\n')
    print("a line of the app's own", flush=True)
"""


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_stdout_takes_events_beside_what_is_printed(tmp_path, kind):
    command = [WARM, "-c", SCRIPT, "/dev/stdout"]
    if kind == "pipe":
        out = subprocess.run(command, check=True, capture_output=True).stdout
    else:
        with (tmp_path / "out").open("wb") as file:
            subprocess.run(command, check=True, stdout=file)
        out = (tmp_path / "out").read_bytes()
    assert out.splitlines() == [b'{"specversion": "1.0"}', b"a line of the app's own"] * 2


def test_a_fifo_takes_events_while_somebody_reads(tmp_path, events):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    logger = FileLogger(FileSettings(path=path))
    with pytest.raises(OSError, match="No such device or address"):  # tried again until there is a reader
        logger.acreate_batch(events.created("batch_1"))
    read: list[bytes] = []
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(end, True)
    reader = threading.Thread(target=lambda: read.append(os.read(end, 1 << 20)))
    logger.acreate_batch(events.created("batch_1"))
    reader.start()
    reader.join()
    os.close(end)
    assert json.loads(read[0])["subject"] == "batch_1"


def test_what_takes_no_events_is_refused_at_the_start(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        with pytest.raises(ConfigError, match="cannot be written: it is a socket or a disk"):
            FileLogger(FileSettings(path=tmp_path / "sock"))
    with pytest.raises(ConfigError, match="is no regular file: leave out max_bytes"):
        FileLogger(FileSettings(path="/dev/null", max_bytes=100))
