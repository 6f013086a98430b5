"""Receivers nobody on this project wrote, started on free ports of the loopback; `.ci/receivers.sh` installs them."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).parents[3] / ".cache" / "receivers"
START_SECONDS = 30.0


def installed(name: str) -> Path:
    path = HOME / name
    if not path.exists():
        pytest.skip(f"{name} is not installed: run .ci/receivers.sh")
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Lines:
    """Lines that a process prints, as it prints them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.seen: list[str] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            with self._more:
                self.seen.append(line.rstrip("\n"))
                self._more.notify_all()

    def wait(self, wanted: Callable[[str], bool], seconds: float = START_SECONDS) -> str:
        """The first line, past or to come, that is wanted."""
        end = time.monotonic() + seconds
        with self._more:
            while True:
                for line in self.seen:
                    if wanted(line):
                        return line
                if not self._more.wait(end - time.monotonic()):
                    raise TimeoutError(f"no such line in {seconds} s; the last ones: {self.seen[-5:]}")


@contextlib.contextmanager
def running(*command: str | Path, **environ: str) -> Iterator[Lines]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
    )
    lines = Lines(process)
    try:
        yield lines
    finally:
        process.terminate()
        process.wait(10)
        lines._thread.join(5)
        if process.stdout:
            process.stdout.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def until(found: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """The first answer that is one: what a server does after it has answered can only be asked for."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "the receiver does not show it"
        time.sleep(0.1)
    return answer


def until_up(url: str) -> None:
    """Servers that say nothing when they are ready can only be asked."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


@dataclass
class OtelTap:
    """oteltap: prints each span, log record and metric as a line of JSON."""

    url: str
    lines: Lines

    def wait(self, *words: str) -> dict[str, Any]:
        line = self.lines.wait(lambda line: line.startswith("{") and all(word in line for word in words))
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass
class TestAgent:
    """ddapm-test-agent: Datadog's own, which also takes OTLP; what it got can be asked for."""

    __test__ = False
    url: str
    otlp: str

    def otlp_got(self, signal: str) -> list[Any]:
        found: list[Any] = get(f"{self.otlp}/test/session/{signal}")
        return found

    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(f"{self.url}/test/session/requests")
        return found

    def clear(self) -> None:
        urllib.request.urlopen(f"{self.url}/test/session/clear", timeout=10).close()
        urllib.request.urlopen(f"{self.otlp}/test/session/clear", timeout=10).close()


@pytest.fixture(scope="session")
def oteltap() -> Iterator[OtelTap]:
    port = free_port()
    with running(installed("bin/oteltap"), "--port", str(port)) as lines:
        lines.wait(lambda line: "Listening" in line)
        yield OtelTap(f"http://127.0.0.1:{port}", lines)


@pytest.fixture(scope="session")
def _agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestAgent]:
    port, otlp, grpc = free_port(), free_port(), free_port()
    ports = ["--port", str(port), "--otlp-http-port", str(otlp), "--otlp-grpc-port", str(grpc)]
    extra = ["--host", "127.0.0.1", "--disable-llmobs-data-forwarding", "--web-ui-port", "0"]
    folder = ["--snapshot-dir", str(tmp_path_factory.mktemp("snapshots"))]
    with running(installed("bin/ddapm-test-agent"), *ports, *extra, *folder):
        agent = TestAgent(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{otlp}")
        until_up(f"{agent.url}/info")
        until_up(f"{agent.otlp}/test/session/traces")
        yield agent


@pytest.fixture
def agent(_agent: TestAgent) -> TestAgent:
    _agent.clear()
    return _agent


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """VictoriaMetrics' base URL; it speaks Datadog's series API under /datadog."""
    port = free_port()
    where = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={tmp_path_factory.mktemp('victoria')}"]
    with running(installed("victoria-metrics"), *where, "-search.latencyOffset=0s", "-retentionPeriod=100y"):
        url = f"http://127.0.0.1:{port}"
        until_up(f"{url}/health")
        yield url


@dataclass
class Statsd:
    """The Etsy daemon: adds up counters by name and tags, and prints them ten times a second."""

    port: int
    lines: Lines


@pytest.fixture
def statsd(tmp_path: Path) -> Iterator[Statsd]:
    port = free_port()
    ports = {"address": "127.0.0.1", "port": port, "mgmt_address": "127.0.0.1", "mgmt_port": free_port()}
    flush = {"backends": ["./backends/console"], "flushInterval": 100, "deleteCounters": True}
    (tmp_path / "config.js").write_text(json.dumps({**ports, **flush}))
    home = installed("node_modules/statsd")
    with running("node", home / "stats.js", tmp_path / "config.js") as lines:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            while True:  # it says that it is up before it listens
                probe.sendto(b"probe:1|c", ("127.0.0.1", port))
                try:
                    lines.wait(lambda line: "probe" in line, seconds=0.3)
                    break
                except TimeoutError:
                    continue
        yield Statsd(port, lines)
