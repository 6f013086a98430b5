"""Projects of third parties, installed as users install them: built by their own pyproject, found by entry point."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.heavy import heavy
from tests.warm_python import WARM

INSTALL = """
import os, sys, tempfile, tomllib, zipfile
from importlib import import_module

folder, project = sys.argv[1:]
os.chdir(project)
with open("pyproject.toml", "rb") as file:
    backend = import_module(tomllib.load(file)["build-system"]["build-backend"])
with tempfile.TemporaryDirectory() as wheels:
    zipfile.ZipFile(os.path.join(wheels, backend.build_wheel(wheels))).extractall(folder)
"""
"""The work of pip, in an eighth of its time."""


@dataclass
class Site:
    """A folder of installed distributions beside this environment's own."""

    folder: Path
    working: Path

    def python(self, *arguments: str, cwd: Path | None = None, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Another interpreter, in which they are installed and no plugin is turned off."""
        modules = heavy({"batchmeter"}, {"batchmeter", "pytest"})
        program = WARM if arguments[0] == "-m" and arguments[1] in modules else sys.executable
        ours = {name: text for name, text in os.environ.items() if name != "BATCHMETER_PLUGINS"}
        return subprocess.run(
            [program, *arguments],
            cwd=cwd or self.working,
            env={**ours, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, project: Path) -> None:
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
        pip = ("-m", "pip", "install", *options, "--target")
        done = self.python(*heavy(pip, ("-c", INSTALL)), str(self.folder), str(project))
        assert done.returncode == 0, done.stderr

    def plugin(self, name: str) -> dict[str, Any]:
        """The line of `batchmeter plugins` about it."""
        done = self.python("-m", "batchmeter", "plugins", "--json")
        assert done.returncode == 0, done.stderr
        (found,) = [info for info in json.loads(done.stdout) if info["name"] == name]
        return found

    def own_tests(self, project: Path) -> str:
        """Run the project's tests against what is installed; returns what pytest printed."""
        strange = [f"-pno:{name}" for name in ("cacheprovider", "schemathesis", "hypothesispytest", "xdist", "anyio")]
        warm = "ignore::pytest.PytestAssertRewriteWarning"  # some plugins' distributions are imported already
        chosen = heavy((), ("-k", "not fast_to_import"))  # half of the time, for an interpreter that imports it all
        done = self.python(
            "-m", "pytest", "-q", *strange, *chosen, "-W", "error", "-W", warm, "--color=no", cwd=project
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty one."""
    (tmp_path / "working").mkdir()
    return Site(tmp_path / "site", tmp_path / "working")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Path], Site]:
    """Installs a project once for a file of tests; each works in a folder of its own."""
    folders: dict[Path, Path] = {}

    def install(project: Path, working: Path) -> Site:
        if project not in folders:
            folder = tmp_path_factory.mktemp(project.name)
            Site(folder, folder).install(project)
            folders[project] = folder
        return Site(folders[project], working)

    return install
