"""The command, in process and as a process, against a sandbox served from a thread."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.warm_python import WARM

from batchmeter.cli import main
from batchmeter.testing.sandbox import Sandbox, sandbox_thread


@dataclass
class Ran:
    """A command's output, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A working directory with a configuration, in which commands run."""

    folder: Path

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Ran:
        result = CliRunner().invoke(main, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [WARM, "-m", "batchmeter", *arguments],
            cwd=self.folder,
            env=os.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def configure(self, text: str) -> None:
        (self.folder / "batchmeter.toml").write_text(text)

    def events(self) -> list[dict[str, Any]]:
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def requests(self, count: int = 20, name: str = "requests.jsonl", **body: Any) -> str:
        lines = [
            {
                "custom_id": f"r-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "gpt-5-mini",
                    "messages": [{"role": "user", "content": f"question {number}"}],
                    **body,
                },
            }
            for number in range(count)
        ]
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_thread() as served:
        yield served


@pytest.fixture
def make_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shell]:
    def make(url: str) -> Shell:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BATCHMETER_PLUGINS", "file")
        monkeypatch.setenv("BATCHMETER_FILE_PATH", str(tmp_path / "events.jsonl"))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-cli-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        return Shell(tmp_path)

    return make


@pytest.fixture
def shell(make_shell: Callable[[str], Shell], sandbox: Sandbox) -> Shell:
    return make_shell(sandbox.url)


def stop(process: "subprocess.Popen[str]", by: signal.Signals) -> Ran:
    process.send_signal(by)
    out, err = process.communicate(timeout=20)
    return Ran(process.returncode, out, err)
