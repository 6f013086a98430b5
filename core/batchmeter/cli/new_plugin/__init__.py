"""`batchmeter new-plugin`: a complete small project to start a logger or a provider from."""

import keyword
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Literal

import click

from batchmeter import __version__
from batchmeter.commands.output import as_json, print_json
from batchmeter.errors import UsageError

LOGGER = {
    "pyproject.toml": "pyproject.toml.in",
    "{{module}}.py": "module.py.in",
    "tests/test_{{name}}.py": "test.py.in",
    "README.md": "README.md.in",
}
"""File of the project -> file in `logger/`; `{{…}}` in both are fields of `Names`."""
PROVIDER = {
    "pyproject.toml": "pyproject.toml.in",
    "{{module}}/__init__.py": "init.py.in",
    "{{module}}/py.typed": "py.typed.in",
    "{{module}}/provider.py": "provider.py.in",
    "{{module}}/dialects.py": "dialects.py.in",
    "tests/vendor.py": "vendor.py.in",
    "tests/test_{{name}}.py": "test.py.in",
    "README.md": "README.md.in",
}
"""The same, in `provider/`. It is examples/batchmeter-acme with other names."""
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Names:
    """A plugin's names: of its package, its class and its entry point."""

    name: str
    """The entry point, and the section `[plugins.<name>]`."""
    project: str
    module: str
    class_name: str
    batchmeter: str = __version__

    @property
    def title(self) -> str:
        """For people: `Big Llm`."""
        return " ".join(map(str.capitalize, self.name.split("_")))

    @property
    def variable(self) -> str:
        """The start of an environment variable: `BIG_LLM`."""
        return self.name.upper()

    @property
    def host(self) -> str:
        """A part of a host's name: `big-llm`."""
        return self.name.replace("_", "-")

    @classmethod
    def of(cls, text: str) -> "Names":
        """UsageError when it cannot be a name, or is taken."""
        name = re.sub(r"^batchmeter[-_]", "", text)
        if not _NAME.fullmatch(name) or len(name) > _LONGEST:
            raise UsageError(
                f"{text!r} cannot be a plugin's name: use small letters and digits, words joined by - or _, "
                f"at most {_LONGEST} characters, such as slack or team-costs"
            )
        name = name.replace("-", "_")
        if keyword.iskeyword(name):
            raise UsageError(
                f"{text!r} cannot be a plugin's name: it is a word of Python's own; add another, such as {name}-costs"
            )
        for entry in entry_points(group="batchmeter"):
            if entry.name == name:
                owner = entry.dist.name if entry.dist else entry.value
                raise UsageError(f"there is a plugin {name!r} already, from {owner}; choose another name")
        words = name.split("_")
        return cls(name, "-".join(("batchmeter", *words)), f"batchmeter_{name}", "".join(map(str.capitalize, words)))

    def fill(self, text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda match: str(getattr(self, match[1])), text)


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="The project's folder, new or empty (default: batchmeter-NAME)."
)
@click.option("--provider", is_flag=True, help="A provider over HTTP, with a test server of its vendor.")
@as_json
def new_plugin(name: str, folder: Path | None, provider: bool, json_output: bool) -> None:
    """Write a project for a logger NAME, or a provider: pyproject.toml, modules, tests, README.

    It installs, is found by `batchmeter plugins`, and passes its own tests.
    """
    names = Names.of(name)
    target = folder or Path(names.project)
    written = write_project(names, target, "provider" if provider else "logger")
    if json_output:
        print_json({"name": names.name, "folder": str(target), "files": written})
        return
    click.echo(f"{target}:")
    for path in written:
        click.echo(f"  {path}")
    click.echo(
        f"\nnow: cd {target} && pip install -U pip && pip install -e . --group test && pytest && batchmeter plugins"
    )


def write_project(names: Names, folder: Path, kind: Literal["logger", "provider"]) -> list[str]:
    """Its files, relative to `folder`; UsageError, and nothing written, where that is not free."""
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; give --folder a new one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give --folder a folder")
    template = files(__name__) / kind
    filled = {
        names.fill(path): names.fill((template / source).read_text(encoding="utf-8"))
        for path, source in (PROVIDER if kind == "provider" else LOGGER).items()
    }
    try:
        for path, text in filled.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error}") from error
    return list(filled)
