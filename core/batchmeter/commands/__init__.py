"""For commands that plugins add to the command line: a stand-in until they are used, and output as core's own have it.

@click.command()
@as_json
def mine(json_output: bool) -> None:
    run(_mine(json_output))         # with `async with client() as opened:` inside
"""

from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING

import click

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logs import start_log
    from .output import as_json, console, print_json, table
    from .session import client, run
    from .wait import show_settlement, wait_for

__all__ = [
    "LazyCommand",
    "as_json",
    "client",
    "console",
    "print_json",
    "run",
    "show_settlement",
    "start_log",
    "table",
    "wait_for",
]

_HOMES = {
    "logs": "start_log",
    "output": "as_json console print_json table",
    "session": "client run",
    "wait": "show_settlement wait_for",
}


class LazyCommand(click.Command):
    """Stands for the command at `target` (`package.module:name`); `line` is what `batchmeter --help` says of it."""

    def __init__(self, name: str, target: str, line: str) -> None:
        super().__init__(name, help=line)
        self.target = target

    def load(self) -> click.Command:
        module, _, name = self.target.partition(":")
        command: object = reduce(getattr, name.split("."), import_module(module))
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is no click command")
        return command


__getattr__ = lazy_names(__name__, _HOMES)
