"""The `batchmeter` command. Exit codes: 0 done, 1 failed, or the batch did, 2 the call has to change, 3 no budget, 130 Ctrl-C."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

import click

from batchmeter.commands import LazyCommand
from batchmeter.commands.inert import inert, make_log_inert
from batchmeter.errors import BatchmeterError, BudgetExceededError, UsageError

COMMANDS = {
    "submit": (
        "submit:submit",
        "Submit the batch input FILE (JSONL), `-` for standard input. Nothing is uploaded unless every line passes the provider's rules.",
    ),
    "batches": (
        "batches:batches",
        "List, show, cancel, delete or await batches, and get results (`list` when nothing else is said).",
    ),
    "files": ("files:files", "List, get, put or delete files at an account."),
    "track": (
        "track:track",
        "Run a tracker until Ctrl-C. Any number may share one ledger; batches are leased, never followed twice.",
    ),
    "adopt": (
        "track:adopt",
        "Track batches that scripts, notebooks or other gateways made: these, or all that the account lists.",
    ),
    "check": (
        "rerun:check",
        "Compare a finished batch's input with its output and error files; exit code 1 when anything is missing or double.",
    ),
    "retry": (
        "rerun:retry",
        "Submit what failed, expired or is missing in a finished batch again; its metadata names the first batch.",
    ),
    "stats": (
        "track:stats",
        "Open and overdue batches by account; percentiles of queue and run times by model. No provider is asked.",
    ),
    "meter": (
        "meter:meter",
        "Count and price every answer in FILEs of one job: output, errors, shards, a manifest, or a folder of them.",
    ),
    "prices": ("prices:prices", "Show, list, compare and update prices (USD per million tokens)."),
    "top": (
        "top:top",
        "Open batches with progress and time left, what was spent today, what loggers are owed. No provider is asked.",
    ),
    "costs": (
        "costs:costs",
        "Costs of settled batches: by model, account, key, team, tag, day and more, one or two of them.",
    ),
    "estimate": (
        "costs:estimate",
        "Requests, tokens, expected and highest cost of a batch input FILE; and what nobody can know yet.",
    ),
    "reprice": (
        "costs:reprice",
        "Price settled batches again, after new prices or your own rows; a changed cost is a new revision and event.",
    ),
    "events": (
        "deliveries:events",
        "Print recorded events in order: a table, or the whole events as JSON lines (always with --follow).",
    ),
    "deliveries": (
        "deliveries:deliveries",
        "Each logger's backlog; with --dead or --pending, the deliveries themselves.",
    ),
    "replay": (
        "deliveries:replay",
        "Deliver recorded events to a logger again, or for the first time to one enabled later.",
    ),
    "loggers": (
        "loggers:loggers",
        "Everything that is owed events, whichever process has it: what it handles, when it was last seen, what it waits for.",
    ),
    "abandon": (
        "loggers:abandon",
        "End a logger's (or redactor's) subscription: it is owed nothing more, and what it has not accepted is dead.",
    ),
    "ledger": ("ledger:ledger", "Check, copy or upgrade the ledger."),
    "prune": (
        "ledger:prune",
        "Forget batches settled long ago with their settlements and events; open or undelivered ones stay.",
    ),
    "config": ("config:config", "Check the settings, or show what they are and where each comes from."),
    "accounts": (
        "accounts:accounts",
        "The accounts that can be named, with address and key; exit code 1 when --check finds one that cannot be used.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look for what is wrong here: settings, ledger, accounts, loggers, clock, prices, network; each with the mend.",
    ),
    "plugins": (
        "plugins:plugins",
        "List plugins: name, version, state, hooks, and the reason where one is off or failed.",
    ),
    "new-plugin": (
        "new_plugin:new_plugin",
        "Write a project for a logger NAME, or a provider: pyproject.toml, modules, tests, README.",
    ),
    "version": ("plugins:version", "Print the versions of batchmeter, Python and the HTTP library in use."),
}
"""Command -> module:object, and its line of help: `batchmeter --help` imports none of them."""


class Commands(click.Group):
    """Imports a command's module only to run or describe it, and prints our own errors as one clear line."""

    loaded = False
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
        command = self._command(cmd_name)
        return command.load() if isinstance(command, LazyCommand) else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's own, without importing the commands."""
        commands = [command for name in self.list_commands(ctx) if (command := self._command(name)) is not None]
        limit = formatter.width - 6 - max(len(command.name or "") for command in commands)
        with formatter.section("Commands"):
            formatter.write_dl([(command.name or "", command.get_short_help_str(limit)) for command in commands])

    def _command(self, name: str) -> click.Command | None:
        if name in COMMANDS:
            home, line = COMMANDS[name]
            return LazyCommand(name, f"{__name__}.{home}", line)
        self._ask_plugins()
        return self.commands.get(name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from batchmeter.config import nearest

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def _ask_plugins(self) -> None:
        """No settings are read for this: a broken file leaves all commands, and they say what is wrong with it."""
        from batchmeter.discovery import call_all, usable

        if not self.loaded:
            self.loaded = True
            call_all(usable(os.environ), "register_commands", self)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            sys.exit(_show(error))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            ctx.exit(_show(error))
        except BatchmeterError as error:
            _complain(error)
            ctx.exit(3 if isinstance(error, BudgetExceededError) else 2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(), metavar="FILE", help="Settings file (default: batchmeter.toml).")
@click.option("--ledger", metavar="PATH|URL", help="Ledger to use instead of the configured one.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Of the log on standard error."
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Of the log, with times in UTC.")
@click.version_option(None, "-V", "--version", package_name="batchmeter", message="%(version)s")
@click.pass_context
def main(
    ctx: click.Context, config: str | None, ledger: str | None, log_level: str | None, log_format: str | None
) -> None:
    """Know what your LLM batch jobs did and cost."""
    ctx.obj = {"config": config, "ledger": ledger}
    if log_level or log_format or os.environ.get("BATCHMETER_LOG"):
        from batchmeter.commands.logs import name_log, start_log

        name_log(log_level, log_format)
        start_log()
    else:
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


def _show(error: click.ClickException) -> int:
    """One form for click's complaints and ours; returns the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    click.echo(f"error: {inert(error.format_message())}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"see {error.ctx.command_path} --help", err=True)
    return error.exit_code


def _complain(error: BatchmeterError) -> None:
    lines = [f"error: {error}", *getattr(error, "__notes__", [])]
    for line in lines:
        click.echo(inert(line), err=True)
