"""`batchmeter plugins` and `version`: the software that runs here, and why some of it is off."""

import dataclasses
import platform

import click

from batchmeter import __version__
from batchmeter.commands.output import as_json, print_json, table
from batchmeter.commands.session import settings


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


@click.command()
@as_json
def version(json_output: bool) -> None:
    """Print the versions of batchmeter, Python and the HTTP library in use."""
    from batchmeter.http.library import http_library

    library = http_library()
    found = {
        "batchmeter": __version__,
        "python": platform.python_version(),
        "http": f"{library.__name__} {library.__version__}",
    }
    if json_output:
        print_json(found)
    else:
        click.echo("\n".join(f"{name} {number}" for name, number in found.items()))
