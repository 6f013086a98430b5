"""Bytecode of everything that the tests import, made by all processors: in a new clone the collection would make it alone."""

import compileall
import os
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

ROOT = Path(__file__).parents[1]
REWRITTEN = ("test_*.py", "conftest.py")


def compile_all(config: pytest.Config) -> None:
    """In as many processes as there are processors."""
    if sys.dont_write_bytecode or not hasattr(os, "fork"):
        return
    paths = [path for folder in ("core", "plugins", "providers", "tests") for path in (ROOT / folder).rglob("*.py")]
    number = os.cpu_count() or 1
    children = []
    for first in range(number):
        child = os.fork()
        if child == 0:
            try:
                for path in paths[first::number]:
                    _compile(config, path)
            finally:
                os._exit(0)  # a file that cannot be compiled fails where it is imported
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _compile(config: pytest.Config, path: Path) -> None:
    if not path.is_relative_to(ROOT / "tests") or not any(fnmatch(path.name, pattern) for pattern in REWRITTEN):
        compileall.compile_file(path, quiet=2)
        return
    state = config.stash[rewrite.assertstate_key]
    folder = rewrite.get_cache_dir(path)
    made = folder / (path.name[:-3] + rewrite.PYC_TAIL)
    if rewrite.try_makedirs(folder) and rewrite._read_pyc(path, made, state.trace) is None:
        found, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(state, code, found, made)
