"""The reference pages are what the settings models and commands say today."""

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    from _pages import cli, configuration

    return {"reference/configuration.md": configuration.page, "reference/cli.md": cli.page}


@pytest.mark.parametrize("name", ["reference/configuration.md", "reference/cli.md"])
def test_a_generated_page_is_fresh(pages, name):
    assert (DOCS / name).read_text(encoding="utf-8") == pages[name](), "run python docs/generate.py"


def test_every_command_has_a_section():
    from batchmeter.cli import COMMANDS

    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"## `batchmeter {name}`\n" not in text] == []


def test_every_setting_says_what_it_means():
    rows = [
        line
        for line in (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_secrets_and_alternatives_are_shown_as_what_they_are(pages):
    text = pages["reference/configuration.md"]()
    assert "| `api_key` | secret | `OPENAI_API_KEY` |" in text
    assert "| `mode` | `durable` or `embedded` | `durable` |" in text
    assert "| `path` | path | required |" in text
