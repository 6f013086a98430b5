"""`batchmeter plugins`: what is installed, what is on, and why the rest is not."""

import dataclasses

import click

from .session import settings
from .show import as_json, print_json, table


@click.command()
@as_json
def plugins(json_output: bool) -> None:
    """List plugins: name, version, state, hooks, and the reason where one is off or failed."""
    from batchmeter.plugins import Plugins

    found = Plugins.load(settings()).info()
    if json_output:
        print_json([dataclasses.asdict(info) for info in found])
        return
    rows = [(info.name, info.version, info.state, ", ".join(info.hooks), info.reason) for info in found]
    table(None, ("plugin", "version", "state", "hooks", "reason"), rows)
