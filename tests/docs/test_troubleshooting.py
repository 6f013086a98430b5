"""Each message on the page of troubles is one that the code says."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MESSAGES = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@cache
def spoken():
    """Every text of the code on a line, with `…` for what is filled in."""
    found = []
    for folder in ("core", "plugins", "providers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"%[sdgr]", "…", node.value))
    return "\n".join(found)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_on_the_page_is_in_the_code(message):
    assert message.rstrip("…") in spoken()


def test_an_invented_message_is_caught():
    assert len(MESSAGES) >= 20
    assert "no account …: it has left the building" not in spoken()
