"""Words: docstrings and comments name the thing first, and test names are short enough to read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("core", "plugins", "providers", "tests", "benchmarks", "examples", "docs")
OPENINGS = re.compile(r"(What|Whatever|Who|Whoever|Whose|Of one)\b")
"""Beginnings of a relative clause, where a noun should stand."""
LONGEST_NAME = 70


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring and of every comment that begins its line."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.lstrip()
    comment = ""
    for number, line in enumerate(source.splitlines(), 1):
        before, comment = comment, line.strip() if line.strip().startswith("#") else ""
        if comment and not before:
            yield number, comment.lstrip("# ")


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_and_comments_open_with_a_noun(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in texts(path)
        if OPENINGS.match(text)
    ]
    assert found == [], "name the thing first: not “What was kept.” but “The text that was kept.”"


def test_statements_open_with_a_noun() -> None:
    """Comments of SQL; migrations are excepted, which nobody may change."""
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("core", "plugins", "providers")
        for path in sorted((ROOT / folder).rglob("*.sql"))
        if path.parent.name != "migrations"
        for line in path.read_text("utf-8").splitlines()
        if re.match(rf"-- {OPENINGS.pattern}", line)
    ]
    assert found == []


def test_names_of_tests_are_short() -> None:
    found = {
        name: len(name)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
        if len(name) > LONGEST_NAME
    }
    assert found == {}
