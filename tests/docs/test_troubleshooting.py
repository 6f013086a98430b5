"""Each message on the page of troubles is one that the code says."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MESSAGES = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@cache
def sources():
    paths = [path for folder in ("core", "plugins", "providers") for path in (ROOT / folder).rglob("*.py")]
    return {path: path.read_text() for path in paths}


@cache
def spoken(path):
    """Every text of a file on a line, with `…` for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(sources()[path])):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(re.sub(r"%[sdgr]", "…", node.value))
    return "\n".join(found)


def is_said(message):
    """Only files that hold all its words are parsed, those with its beginning in one piece first."""
    words = set(re.findall(r"[a-z]+", message))
    paths = [path for path, text in sources().items() if all(word in text for word in words)]
    paths.sort(key=lambda path: message.partition("…")[0] not in sources()[path])
    return any(message.rstrip("…") in spoken(path) for path in paths)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_on_the_page_is_in_the_code(message):
    assert is_said(message)


def test_an_invented_message_is_caught():
    assert len(MESSAGES) >= 20
    assert not is_said("no account …: it has left the building")
