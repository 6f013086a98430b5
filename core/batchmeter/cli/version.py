"""`batchmeter version`: what runs here."""

import platform

import click

from batchmeter._version import __version__

from .show import as_json, print_json


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
