"""The proxy beside LiteLLM's and beside no proxy at all: same provider, same machine, one run. Linux only (/proc).

    .venv/bin/python benchmarks/proxy.py             200 MB files
    .venv/bin/python benchmarks/proxy.py --quick     20 MB files, shorter loads
    .venv/bin/python benchmarks/proxy.py --no-litellm

LiteLLM's proxy gets an environment of its own under .cache/, made on first use.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outputs

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
LITELLM = CACHE / "litellm-proxy"
TICKS = os.sysconf("SC_CLK_TCK")
BOUNDARY = "8e2a0c5d7b1f4e6990aa3c5d7e9f1b2c"
WORDS = [
    "the",
    "batch",
    "of",
    "requests",
    "was",
    "sent",
    "to",
    "its",
    "provider",
    "and",
    "every",
    "answer",
    "came",
    "back",
    "with",
    "usage,",
    "cost",
    "and",
    "tokens",
]
READS, UPLOAD_TIMES, UPLOAD_MB = 1000, 1.5, 60
"""The bars: reads a second per worker, an upload beside the direct one, memory that it takes."""

Report = dict[str, float]


@dataclass
class Server:
    """A process with its children, and where it listens."""

    process: subprocess.Popen[str] | None
    port: int
    started: float = 0.0
    """Seconds until the first answer."""

    def pids(self) -> list[int]:
        if self.process is None:
            return []
        found = [self.process.pid]
        for pid in found:
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def memory(self, field: str = "VmRSS") -> float:
        """MB, of all its processes."""
        total = 0.0
        for pid in self.pids():
            with suppress(OSError):
                found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
                total += int(found[1]) / 1024 if found else 0
        return total

    def forget_peak(self) -> None:
        for pid in self.pids():
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Seconds, of all its processes."""
        total = 0.0
        for pid in self.pids():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / TICKS
        return total


@contextmanager
def running(command: list[str], env: dict[str, str], port: int = 0) -> Iterator[Server]:
    """Until the block ends; ready when its liveliness answers, or when it has printed its port."""
    began = time.monotonic()
    log = (CACHE / "benchmarks" / "proxy.log").open("a")
    out = log if port else subprocess.PIPE
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=log, text=True)
    try:
        if not port:
            port = int(process.stdout.readline())  # type: ignore[union-attr]
        else:
            until_alive(process, port)
        yield Server(process, port, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        log.close()
        if process.stdout:
            process.stdout.close()


def until_alive(process: subprocess.Popen[str], port: int) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit(f"the server ended: see {CACHE}/benchmarks/proxy.log")
        with suppress(OSError):
            if request(port, "GET", "/health/liveliness")[0] == 200:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(port: int, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
    """One request on a connection of its own, its body written at once; status and answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=600) as link:
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-1234\r\nconnection: close\r\n"
        link.sendall(f"{head}content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        link.sendall(body)
        answer = bytearray()
        while piece := link.recv(1 << 20):
            answer += piece
    first, _, rest = bytes(answer).partition(b"\r\n\r\n")
    return int(first.split(b" ")[1]), rest


def inputs(megabytes: int) -> bytes:
    """A batch input file inside a form as OpenAI's SDKs send it, of 50,000 lines or less."""
    chance = random.Random(200)
    texts = [" ".join(chance.choices(WORDS, k=1000))[:3900] for _ in range(50)]
    rows = []
    for number in range(megabytes * 1_000_000 // 4096):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": texts[number % 50]}]}
        rows.append(
            json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})
        )
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    text = "\n".join(rows)
    return f"{head}{text}\r\n--{BOUNDARY}--\r\n".encode()


def upload(server: Server, provider: Server, form: bytes) -> Report:
    request(provider.port, "GET", "/stats")
    server.forget_peak()
    idle, began = server.memory(), time.monotonic()
    status, answer = request(server.port, "POST", "/v1/files", form, f"multipart/form-data; boundary={BOUNDARY}")
    seconds = time.monotonic() - began
    assert status == 200, answer[:300]
    seen = json.loads(request(provider.port, "GET", "/stats")[1])
    peak = server.memory("VmHWM") - idle if server.process else 0.0
    return {"seconds": seconds, "peak_mb": peak, "first_byte": seen["first_byte"] - began}


def download(server: Server, size: int) -> Report:
    server.forget_peak()
    idle, began, got, first = server.memory(), time.monotonic(), 0, 0.0
    with socket.create_connection(("127.0.0.1", server.port), timeout=600) as link:
        link.sendall(
            b"GET /v1/files/file-out/content HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-1234\r\n"
            b"connection: close\r\n\r\n"
        )
        while piece := link.recv(1 << 20):
            first = first or time.monotonic() - began
            got += len(piece)
    assert got >= size, f"{got} of {size} bytes"
    peak = server.memory("VmHWM") - idle if server.process else 0.0
    return {"seconds": time.monotonic() - began, "peak_mb": peak, "first_byte": first}


async def reads(server: Server, seconds: float, path: str = "/v1/batches/batch_open", links: int = 16) -> Report:
    """Requests on kept connections, one after the other on each."""
    asked = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-1234\r\n\r\n".encode()
    until = time.monotonic() + seconds
    times: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (began := time.monotonic()) < until:
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            await reader.readexactly(length)
            times.append(time.monotonic() - began)
        writer.close()

    cpu = server.cpu()
    await asyncio.gather(*[one() for _ in range(links)])
    times.sort()
    return {
        "per_second": len(times) / seconds,
        "cpu_us": (server.cpu() - cpu) / len(times) * 1e6,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
    }


def settled(server: Server, provider: Server, url: str) -> Report:
    """Liveness while a batch's output is downloaded and metered inside the proxy."""
    body = json.dumps({"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"})
    status, answer = request(server.port, "POST", "/v1/batches", body.encode())
    assert status == 200, answer[:300]
    request(provider.port, "GET", "/finish")
    times, began = [], time.monotonic()
    request(server.port, "GET", "/v1/batches/batch_open")
    while True:
        before = time.monotonic()
        request(server.port, "GET", "/health/liveliness")
        times.append(time.monotonic() - before)
        if request(server.port, "GET", url)[0] == 200:
            break
        if time.monotonic() - began > 120:
            raise SystemExit("the batch was not settled in two minutes")
        time.sleep(0.01)
    times.sort()
    return {
        "seconds": time.monotonic() - began,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "max_ms": times[-1] * 1000,
    }


@contextmanager
def batchmeter(provider: Server, folder: Path, name: str, toml: str = "") -> Iterator[Server]:
    config, ledger = folder / f"{name}.toml", folder / f"{name}.db"
    for old in folder.glob(f"{name}.db*"):
        old.unlink()
    config.write_text(
        f'[accounts.openai]\napi_base = "http://127.0.0.1:{provider.port}/v1"\napi_key = "sk-provider"\n{toml}'
    )
    port = free_port()
    command = [sys.executable, "-m", "batchmeter", "--config", str(config), "--ledger", str(ledger)]
    with running([*command, "serve", "--port", str(port)], {"BATCHMETER_PLUGINS": ""}, port) as server:
        yield server


@contextmanager
def litellm(provider: Server, folder: Path) -> Iterator[Server]:
    config = folder / "litellm.yaml"
    base = f"http://127.0.0.1:{provider.port}/v1"
    settings = {"custom_llm_provider": "openai", "api_base": base, "api_key": "sk-provider"}
    general = {"dangerously_permit_weak_or_unset_master_key": True}  # no keys, as ours has none here
    config.write_text(json.dumps({"files_settings": [settings], "general_settings": general}))  # JSON is YAML
    env = {
        "OPENAI_API_KEY": "sk-provider",
        "OPENAI_API_BASE": base,
        "OPENAI_BASE_URL": base,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    port = free_port()
    command = [
        str(litellm_folder() / "bin" / "litellm"),
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    with running(command, env, port) as server:
        yield server


def litellm_folder() -> Path:
    """LiteLLM as benchmarks/metering.py installs it, and what its extra `proxy` asks for."""
    marker, pinned = LITELLM / "installed.txt", HERE / "litellm.txt"
    if not marker.exists() or marker.read_text() != pinned.read_text():
        print("installing LiteLLM's proxy into", LITELLM.relative_to(HERE.parent))
        venv.create(LITELLM, with_pip=True, clear=True)
        pip = [str(LITELLM / "bin/pip"), "install", "-q"]
        subprocess.run([*pip, "--no-deps", "-r", str(pinned)], check=True, stderr=subprocess.DEVNULL)
        code = "from importlib.metadata import requires; print(*requires('litellm'), sep='\\n')"
        wanted = subprocess.run([LITELLM / "bin/python", "-c", code], check=True, capture_output=True, text=True).stdout
        asked = LITELLM / "proxy.txt"
        asked.write_text("\n".join(_without_extra(line) for line in wanted.splitlines() if "extra == 'proxy'" in line))
        subprocess.run([*pip, "-r", str(asked)], check=True, stderr=subprocess.DEVNULL)
        marker.write_text(pinned.read_text())
    return LITELLM


def _without_extra(requirement: str) -> str:
    """Its own companions in any version: mirrors do not have them all."""
    plain = re.sub(r"( and | ; )extra == 'proxy'", "", requirement)
    return re.sub(r"^(litellm-[a-z-]+)==.*", r"\1", plain)


def row(name: str, report: Report, *keys: str) -> None:
    units = {
        "per_second": "/s",
        "cpu_us": " us CPU",
        "seconds": " s",
        "peak_mb": " MB",
        "first_byte": " s to first byte",
    }
    shown = [f"{report[key]:10,.2f}{units.get(key, ' ' + key)}" for key in keys if key in report]
    print(f"  {name:<34}", *shown)


def verdict(what: str, found: str, passed: bool) -> bool:
    print(f"  {'pass' if passed else 'FAIL'}  {what}: {found}")
    return passed


def best(task: Callable[[], Report], times: int = 3) -> Report:
    return min((task() for _ in range(times)), key=lambda report: report["seconds"])


def start(name: str, server: Server) -> None:
    time.sleep(1)
    print(f"  {name:<34} {server.started:10.2f} s {server.memory():10.1f} MB idle, {len(server.pids())} processes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small files, for a look")
    parser.add_argument("--no-litellm", action="store_true", help="only ours and the direct way")
    asked = parser.parse_args()
    megabytes, seconds = (20, 1.0) if asked.quick else (200, 4.0)
    folder = CACHE / "benchmarks"
    output = outputs.written(folder, "chat", outputs.chat, 2_000 if asked.quick else outputs.CHAT_LINES)
    with ExitStack() as stack:
        provider = stack.enter_context(running([sys.executable, str(HERE / "proxy_provider.py"), str(output)], {}))
        servers = {"direct": Server(None, provider.port)}
        print("start-up and idle memory")
        servers["batchmeter"] = stack.enter_context(batchmeter(provider, folder, "proxy"))
        start("batchmeter", servers["batchmeter"])
        if not asked.no_litellm:
            servers["LiteLLM"] = stack.enter_context(litellm(provider, folder))
            start("LiteLLM", servers["LiteLLM"])
        always = stack.enter_context(batchmeter(provider, folder, "always", "[proxy]\nfreshness = 0\n"))
        return 0 if measured(provider, servers, always, megabytes, seconds, output.stat().st_size) else 1


def measured(
    provider: Server, servers: dict[str, Server], always: Server, megabytes: int, seconds: float, size: int
) -> bool:
    print("\nGET /v1/batches/{id}, 16 connections")
    found: dict[str, Any] = {}
    readers = {**servers, "batchmeter, asking every time": always}
    for name, server in readers.items():
        found[name] = asyncio.run(reads(server, seconds))
        row(name, found[name], "per_second", "cpu_us", "p50_ms", "p99_ms")
    before = servers["batchmeter"].memory()
    asyncio.run(reads(servers["batchmeter"], seconds))
    grown = servers["batchmeter"].memory() - before
    checks = [
        verdict(
            "reads a second", f"{found['batchmeter']['per_second']:,.0f}", found["batchmeter"]["per_second"] >= READS
        ),
        verdict("memory stays flat", f"{grown:+.1f} MB after as many again", grown < 5),
    ]
    form = inputs(megabytes)
    print(f"\nupload, {len(form) / 1e6:.0f} MB of batch input")
    sent = {name: best(lambda server=server: upload(server, provider, form)) for name, server in servers.items()}  # type: ignore[misc]
    for name, report in sent.items():
        row(name, report, "seconds", "peak_mb", "first_byte")
    times = sent["batchmeter"]["seconds"] / sent["direct"]["seconds"]
    peak = sent["batchmeter"]["peak_mb"]
    checks += [
        verdict("beside the direct upload", f"{times:.2f}x", times <= UPLOAD_TIMES),
        verdict("memory it takes", f"{peak:.1f} MB", peak < UPLOAD_MB),
    ]
    print(f"\ndownload, {size / 1e6:.0f} MB")
    for name, server in servers.items():
        row(name, best(lambda server=server: download(server, size)), "seconds", "peak_mb", "first_byte")  # type: ignore[misc]
    print("\nliveness while that output is settled")
    row(
        "batchmeter",
        settled(servers["batchmeter"], provider, "/v1/batches/batch_open/cost"),
        "seconds",
        "p99_ms",
        "max_ms",
    )
    return all(checks)


if __name__ == "__main__":
    sys.exit(main())
