"""The reference pages are what the settings models and commands say today, and hold every one with its meaning."""

import importlib
from pathlib import Path

import pytest

from batchmeter.cli import COMMANDS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture
def settings():
    return (REFERENCE / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["configuration", "cli"])
def test_a_generated_page_is_fresh(name, monkeypatch):
    monkeypatch.syspath_prepend(str(REFERENCE.parent))
    page = importlib.import_module(f"_pages.{name}").page()
    assert (REFERENCE / f"{name}.md").read_text(encoding="utf-8") == page, "run python docs/generate.py"


def test_every_command_has_a_section():
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"## `batchmeter {name}`\n" not in text] == []


def test_every_setting_says_what_it_means(settings):
    rows = [line for line in settings.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_secrets_and_alternatives_are_shown_as_what_they_are(settings):
    assert "| `api_key` | secret | `OPENAI_API_KEY` |" in settings
    assert "| `mode` | `durable` or `embedded` | `durable` |" in settings
    assert "| `path` | path | required |" in settings
