"""The proxy beside LiteLLM's and beside no proxy at all: same provider, same machine, one run. Linux only (/proc).

.venv/bin/python benchmarks/proxy.py             200 MB files
.venv/bin/python benchmarks/proxy.py --quick     20 MB files, shorter loads
.venv/bin/python benchmarks/proxy.py --no-litellm
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import outputs
from servers import CACHE, HERE, Server, bare_handler, batchmeter, litellm, request, running

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
READS, READS_OF_BARE, UPLOAD_TIMES, UPLOAD_MB = 5000, 0.25, 1.5, 60
"""The bars: reads a second of a worker's CPU time, and beside a bare handler; an upload beside the direct one, memory
that it takes. By CPU time, since a client on the same cores takes as much as the worker."""
ROUNDS = 3
LINK_MB = 125
"""A second: 1 Gbit/s, which few machines have between them and a provider."""

Report = dict[str, float]


def inputs(megabytes: int, purpose: str = "batch") -> bytes:
    """A batch input file inside a form as OpenAI's SDKs send it, of 50,000 lines or less."""
    chance = random.Random(200)
    texts = [" ".join(chance.choices(WORDS, k=1000))[:3900] for _ in range(50)]
    rows = []
    for number in range(megabytes * 1_000_000 // 4096):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": texts[number % 50]}]}
        rows.append(
            json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})
        )
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    text = "\n".join(rows)
    return f"{head}{text}\r\n--{BOUNDARY}--\r\n".encode()


def upload(server: Server, provider: Server, form: bytes) -> Report:
    """`server` sends on to `provider`, or is it."""
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
        "per_cpu_second": len(times) / (used := max(server.cpu() - cpu, 1e-9)),
        "cpu_us": used / len(times) * 1e6,
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
        bare = stack.enter_context(bare_handler())
        always = stack.enter_context(batchmeter(provider, folder, "always", "[proxy]\nfreshness = 0\n"))
        passed = measured(provider, servers, bare, always, megabytes, seconds, output.stat().st_size)
    return 0 if over_a_link(output, folder, megabytes) and passed else 1


def measured(
    provider: Server,
    servers: dict[str, Server],
    bare: Server,
    always: Server,
    megabytes: int,
    seconds: float,
    size: int,
) -> bool:
    print("\nGET /v1/batches/{id}, 16 connections")
    found: dict[str, Any] = {}
    readers = {"a bare handler": bare, **servers, "batchmeter, asking every time": always}
    rounds = [{name: asyncio.run(reads(server, seconds)) for name, server in readers.items()} for _ in range(ROUNDS)]
    for name in readers:  # what else runs on this machine takes from each round another share
        found[name] = min((each[name] for each in rounds), key=lambda report: report["cpu_us"])
        row(name, found[name], "per_second", "cpu_us", "p50_ms", "p99_ms")
    before = servers["batchmeter"].memory()
    asyncio.run(reads(servers["batchmeter"], seconds))
    grown = servers["batchmeter"].memory() - before
    ours, of_bare = (found[name]["per_cpu_second"] for name in ("batchmeter", "a bare handler"))
    checks = [
        verdict("reads a second of CPU", f"{ours:,.0f}", ours >= READS),
        verdict("beside a bare handler", f"{ours / of_bare:.2f}", ours / of_bare >= READS_OF_BARE),
        verdict("memory stays flat", f"{grown:+.1f} MB after as many again", grown < 5),
    ]
    form = inputs(megabytes)
    print(f"\nupload, {len(form) / 1e6:.0f} MB of batch input, without a network: client, proxy and provider share")
    print(f"the {os.cpu_count()} cores of this machine, so the direct way is the limit and no bar")
    sent = {name: best(lambda server=server: upload(server, provider, form)) for name, server in servers.items()}  # type: ignore[misc]
    for name, report in sent.items():
        row(name, report, "seconds", "peak_mb", "first_byte")
    peak = sent["batchmeter"]["peak_mb"]
    print(f"  {sent['batchmeter']['seconds'] / sent['direct']['seconds']:.2f}x the direct way")
    checks.append(verdict("memory it takes", f"{peak:.1f} MB", peak < UPLOAD_MB))
    large = inputs(megabytes * 512 // 200, "user_data")
    report = upload(servers["batchmeter"], provider, large)
    row(f"batchmeter, {len(large) / 1e6:.0f} MB of user data", report, "seconds", "peak_mb", "first_byte")
    checks.append(verdict("memory it takes", f"{report['peak_mb']:.1f} MB", report["peak_mb"] < UPLOAD_MB))
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


def over_a_link(output: Path, folder: Path, megabytes: int) -> bool:
    """The bar for uploads, at a provider that takes them as fast as a network brings them."""
    command = [sys.executable, str(HERE / "proxy_provider.py"), str(output), str(LINK_MB)]
    form = inputs(megabytes)
    print(f"\nupload, {len(form) / 1e6:.0f} MB of batch input to a provider behind {LINK_MB} MB/s")
    with running(command, {}) as provider, batchmeter(provider, folder, "link") as server:
        direct = best(lambda: upload(Server(None, provider.port), provider, form))
        ours = best(lambda: upload(server, provider, form))
    row("direct", direct, "seconds", "first_byte")
    row("batchmeter", ours, "seconds", "peak_mb", "first_byte")
    times, peak = ours["seconds"] / direct["seconds"], ours["peak_mb"]
    passed = verdict("beside the direct upload", f"{times:.2f}x", times <= UPLOAD_TIMES)
    return verdict("memory it takes", f"{peak:.1f} MB", peak < UPLOAD_MB) and passed


if __name__ == "__main__":
    sys.exit(main())
