"""Commands that plugins add to the command line: imported when they are used, a line of help until then."""

from functools import reduce
from importlib import import_module

import click


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
