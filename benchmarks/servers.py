"""The processes that the proxy benchmark measures: ours, LiteLLM's, a provider; what they take, and how to ask them.

LiteLLM's proxy gets an environment of its own under .cache/, made on first use.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
LITELLM = CACHE / "litellm-proxy"
TICKS = os.sysconf("SC_CLK_TCK")


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
def bare_handler() -> Iterator[Server]:
    """Granian and Starlette with one batch that never changes: what any proxy on them costs."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--http", "1", "--no-ws", "--port", str(port)]
    with running([*command, "bare_handler:app"], {"PYTHONPATH": str(HERE)}, port) as server:
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
