"""Draws demo.svg, the picture in the README: what `batchmeter demo` prints on a terminal. `python docs/demo.py`."""

import io
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).with_name("demo.svg")
COLUMNS = 92
UNTIL = "carries, among others"
"""The rest is the event as JSON, longer than a picture should be."""


def main(target: Path, program: list[str]) -> None:
    """Run it, draw it."""
    with tempfile.TemporaryDirectory() as folder:
        printed = on_a_terminal([*program, "demo", "--folder", "demo"], folder)
    target.write_text(drawn(printed), encoding="utf-8")


def on_a_terminal(command: list[str], folder: str) -> str:
    """Standard output of a command that believes it is one, colours and all."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        printed = b"".join(pieces(ours))
    os.close(ours)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {printed.decode()}")
    return printed.decode().replace("\r\n", "\n")


def pieces(terminal: int):  # noqa: ANN201 - a generator of bytes
    """Until the other side is closed, which Linux tells as an error."""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            return
        if not piece:
            return
        yield piece


def drawn(printed: str) -> str:
    """The picture, with the command on top."""
    shown = printed.partition(UNTIL)[0].rpartition("\n")[0].rstrip()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(f"$ batchmeter demo\n{shown}\n"))
    return console.export_svg(title="no key, no network, 15 seconds", unique_id="demo")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET, [str(Path(sys.executable).with_name("batchmeter"))])
