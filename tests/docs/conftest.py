"""Pages of the documentation as blocks of code, with the marks that say what a test has to do with each.

A mark is an HTML comment on the line before the fence:

    <!-- run -->            execute it: python (with top-level await) and bash, in order, one namespace a page
    <!-- prints -->         what the last run block printed; `...` stands for anything
    <!-- save: NAME -->     put it into the working directory
    <!-- file: PATH -->     it is that file of the repository
    <!-- part: PATH -->     it is a part of that file
"""

import ast
import inspect
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter.testing import sandbox_thread
from batchmeter.testing.requests import lines_of

ROOT = Path(__file__).parents[2]
COMMANDS = Path(__file__).with_name("commands.py")
MARKS = ("run", "prints", "save", "file", "part")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its first line of text, 1-based."""
    language: str
    text: str
    mark: str = ""
    argument: str = ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def compiled(self) -> types.CodeType:
        """Python whose tracebacks name the page and line."""
        text = textwrap.dedent(self.text) if self.mark == "part" else self.text  # methods of a class
        source = "\n" * (self.line - 1) + text
        return compile(source, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    lines = iter(enumerate((page.read_text() if text is None else text).splitlines(), 1))
    before = ""
    for number, line in lines:
        if fence := re.fullmatch(r"(`{3,})(\w*).*", line):
            body: list[str] = []
            for _, inner in lines:
                if inner == fence[1]:
                    break
                body.append(inner)
            mark, argument = _mark(before, f"{page}:{number}")
            yield Block(page, number + 1, fence[2], "".join(f"{each}\n" for each in body), mark, argument)
        before = line


def _mark(line: str, where: str) -> tuple[str, str]:
    found = re.fullmatch(r"<!-- (\w+)(?:: (\S+))? -->", line)
    if found is None:
        return "", ""
    assert found[1] in MARKS, f"{where}: no mark is called {found[1]!r}; there are {', '.join(MARKS)}"
    return found[1], found[2] or ""


def _is_part(text: str, whole: str) -> bool:
    """Blank lines do not count, and methods may stand without their class: the formatter writes them so."""
    place = _unspaced(whole)
    return _unspaced(text) in place or _unspaced(textwrap.indent(text, "    ")) in place


def _unspaced(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


class Workshop:
    """Runs a page's blocks, one after the other."""

    def __init__(self, folder: Path, module: types.ModuleType) -> None:
        self.folder = folder
        self.module = module
        self.output: str | None = None

    async def work(self, block: Block) -> None:
        match block.mark, block.language:
            case "run", "python":
                self.output = await self._python(block)
            case "run", "bash":
                self.output = self._bash(block)
            case "prints", _:
                self._compare(block)
            case "save", _:
                (self.folder / block.argument).write_text(block.text)
            case "file", _:
                assert block.text == (ROOT / block.argument).read_text(), f"{block.where} is not {block.argument}"
            case "part", _:
                whole = (ROOT / block.argument).read_text()
                assert _is_part(block.text, whole), f"{block.where} is not in {block.argument}"
            case "run", language:
                pytest.fail(f"{block.where}: nobody knows how to run {language!r}")

    async def _python(self, block: Block) -> str:
        printed = io.StringIO()
        with redirect_stdout(printed):
            result = eval(block.compiled(), self.module.__dict__)
            if inspect.iscoroutine(result):
                await result
        return printed.getvalue()

    def _bash(self, block: Block) -> str:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.where}: {done.stdout}{done.stderr}"
        return done.stdout

    def _compare(self, block: Block) -> None:
        assert self.output is not None, f"{block.where}: nothing was run before"
        pattern = ".*".join(re.escape(part) for part in block.text.split("..."))
        if not re.fullmatch(pattern, self.output, re.DOTALL):
            assert self.output == block.text, block.where


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the command `batchmeter`."""
    folder = tmp_path_factory.mktemp("bin")
    server = subprocess.Popen([WARM, str(COMMANDS), str(folder)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    while server.stdout.readline() not in {"ready\n", ""}:
        pass
    yield folder
    server.kill()
    server.communicate()


@pytest.fixture
async def workshop(command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workshop]:
    """An empty folder with a requests.jsonl, the examples importable, and a sandbox where OpenAI would be."""
    folder = tmp_path / "workshop"
    folder.mkdir()
    (folder / "requests.jsonl").write_bytes(lines_of(20, "gpt-5-mini"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BATCHMETER_PLUGINS")
    monkeypatch.setenv("PATH", os.pathsep.join((str(command), str(Path(sys.executable).parent), os.environ["PATH"])))
    for example in (ROOT / "examples").iterdir():
        monkeypatch.syspath_prepend(example)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    with sandbox_thread() as sandbox:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-docs")
        monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
        yield Workshop(folder, module)
        batchmeter.close()


def _bash_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.where}: {done.stderr}"


def _json_parses(block: Block) -> None:
    """One document, or one a line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


PARSERS: dict[str, Callable[[Block], Any]] = {
    "python": Block.compiled,
    "toml": lambda block: tomllib.loads(block.text),
    "json": _json_parses,
    "jsonl": _json_parses,
    "bash": _bash_parses,
    "sh": _bash_parses,
}
"""How a block that is only shown is kept from being nonsense."""


@pytest.fixture(name="blocks")
def _blocks() -> Callable[..., Iterator[Block]]:
    return blocks


@pytest.fixture
def shown() -> list[tuple[Block, Callable[[Block], Any]]]:
    """Every block that has a parser, with it."""
    known = [block for page in pages() for block in blocks(page) if block.language in PARSERS]
    return [(block, PARSERS[block.language]) for block in known]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`runnable`: every page with something to do."""
    if "runnable" in metafunc.fixturenames:
        marked = [page for page in pages() if any(block.mark for block in blocks(page))]
        metafunc.parametrize("runnable", marked, ids=lambda page: str(page.relative_to(ROOT)))
