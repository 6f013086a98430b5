"""How long the command line takes to start, in CPU time: `--help`, and `meter` of a small file.

python benchmarks/startup.py [--runs 9]

The best of some runs, beside `python -c pass` and, where it is installed, `llm --help`. Exits with 1 over 150 ms for
`--help` or 400 ms for `meter`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BARS = {"help": 0.150, "meter": 0.400}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Installed packages have their bytecode beside them, and so have these after the first run."""
LINE = {
    "custom_id": "r-1",
    "response": {
        "status_code": 200,
        "body": {
            "object": "chat.completion",
            "model": "gpt-5-mini",
            "choices": [],
            "usage": {"prompt_tokens": 8, "completion_tokens": 5, "total_tokens": 13},
        },
    },
}


def cpu_seconds(command: list[str], folder: str) -> float:
    """CPU seconds of one run, its children's included."""
    before = os.times()
    subprocess.run(
        command, cwd=folder, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    batchmeter = [sys.executable, "-m", "batchmeter"]
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import batchmeter"],
        "help": [*batchmeter, "--help"],
        "meter": [*batchmeter, "meter", "output.jsonl"],
    }
    if llm := shutil.which("llm"):
        commands["llm_help"] = [llm, "--help"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "output.jsonl").write_text(json.dumps(LINE) + "\n")
        found = {name: min(cpu_seconds(command, folder) for _ in range(runs)) for name, command in commands.items()}
    print(json.dumps({f"{name}_cpu_ms": round(seconds * 1000) for name, seconds in found.items()}))
    sys.exit(any(found[name] > bar for name, bar in BARS.items()))


if __name__ == "__main__":
    main()
