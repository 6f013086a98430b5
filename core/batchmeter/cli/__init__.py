"""The `batchmeter` command. Exit codes: 0 done, 1 it failed or the batch did, 2 the call has to change, 130 Ctrl-C."""

import os
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
    "sandbox": "sandbox:sandbox",
    "demo": "demo:demo",
    "version": "version:version",
}
"""Command -> module:object, imported when it is used: `batchmeter --help` loads none of them but their first lines."""


class Commands(click.Group):
    """Imports a command's module only to run or describe it, and prints our own errors as one clear line."""

    asked = False
    """Whether plugins have added their commands."""

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


def _complain(error: BatchmeterError) -> None:
    lines = [f"error: {error}", *getattr(error, "__notes__", [])]
    for line in lines:
        click.echo(inert(line), err=True)
