"""`batchmeter serve` as a process of its own."""

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from tests.warm_python import WARM


@contextmanager
def serving(address: str, folder, *more: str, **environ: str) -> Generator[tuple[str, subprocess.Popen]]:
    """A proxy over the sandbox at `address`; ends as Ctrl-C ends it."""
    env = os.environ | {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "sk-provider", **environ}
    env["BATCHMETER_LEDGER"] = str(folder / "served.db")
    command = [WARM, "-m", "batchmeter", "serve", "--port", "0", *more]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=folder)
    try:
        first = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found, first
        yield found[0], process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
