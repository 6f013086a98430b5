"""The `batchmeter` command. Exit codes: 0 done, 1 it failed or the batch did, 2 the call has to change, 130 Ctrl-C."""

import errno
import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from batchmeter.errors import BatchmeterError, UsageError

from .inert import inert, make_log_inert

COMMANDS = {
    "submit": "submit:submit",
    "batches": "batches:batches",
    "track": "track:track",
    "adopt": "adopt:adopt",
    "check": "check:check",
    "retry": "retry:retry",
    "stats": "stats:stats",
    "meter": "meter:meter",
    "prices": "prices:prices",
    "costs": "costs:costs",
    "estimate": "estimate:estimate",
    "reprice": "reprice:reprice",
    "events": "events:events",
    "deliveries": "deliveries:deliveries",
    "replay": "deliveries:replay",
    "loggers": "loggers:loggers",
    "abandon": "loggers:abandon",
    "ledger": "ledger:ledger",
    "prune": "ledger:prune",
    "plugins": "plugins:plugins",
    "new-plugin": "new_plugin:new_plugin",
    "version": "version:version",
}
"""Command -> module:object, imported when it is used: `batchmeter --help` loads none of them but their first lines."""


class Commands(click.Group):
    """Imports a command's module only to run or describe it, and prints our own errors as one clear line."""

    asked = False
    """Whether plugins have added their commands."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """A full disk, a missing right or too many open files are one line too."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
                stream.reconfigure(errors="backslashreplace")  # a terminal need not have every character
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            _discard_output()
            click.echo(f"error: {_in_words(error)}", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return [*COMMANDS, *sorted(self.commands.keys() - COMMANDS.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = COMMANDS.get(cmd_name)
        if home is None:
            self._ask_plugins()
            return self.commands.get(cmd_name)
        module, _, name = home.partition(":")
        command: click.Command = getattr(import_module(f".{module}", __name__), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from batchmeter.config import nearest

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def _ask_plugins(self) -> None:
        """No settings are read for this: a broken file leaves all commands, and they say what is wrong with it."""
        from batchmeter.discovery import call_all

        if not self.asked:
            self.asked = True
            call_all(os.environ, "register_commands", self)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BatchmeterError as error:
            _complain(error)
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(), metavar="FILE", help="Settings file (default: batchmeter.toml).")
@click.option("--ledger", metavar="PATH|URL", help="Ledger to use instead of the configured one.")
@click.version_option(None, "-V", "--version", package_name="batchmeter", message="%(version)s")
@click.pass_context
def main(ctx: click.Context, config: str | None, ledger: str | None) -> None:
    """Know what your LLM batch jobs did and cost."""
    ctx.obj = {"config": config, "ledger": ledger}
    make_log_inert()


def _in_words(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    many = error.errno in {errno.EMFILE, errno.ENFILE}
    return f"{error.strerror or error}{where}{' (raise the limit: ulimit -n)' if many else ''}"


def _discard_output() -> None:
    """Or the interpreter would try once more to write what is left, and complain itself."""
    with suppress(OSError, ValueError):
        output = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def _complain(error: BatchmeterError) -> None:
    lines = [f"error: {error}", *getattr(error, "__notes__", [])]
    for line in lines:
        click.echo(inert(line), err=True)
