"""The reference pages are what the settings models and commands say today, and hold every one with its meaning."""

import importlib
from pathlib import Path

import pytest

import batchmeter
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


def test_every_public_name_method_and_field_is_on_the_python_page(monkeypatch):
    monkeypatch.syspath_prepend(str(REFERENCE.parent))
    python = importlib.import_module("_pages.python")
    page = python.page()
    assert (REFERENCE / "python.md").read_text(encoding="utf-8") == page, "run python docs/generate.py"
    assert set(batchmeter.__all__) - python.names() == set()
    shown = [one for group in python.CLASSES.values() for one in group]
    assert [f"{one.__name__}.{name}" for one in shown for name, _, meaning in python.members(one) if not meaning] == []
    assert [
        f"{one.__name__}.{name}" for one in shown for name, method in python.methods(one) if not method.__doc__
    ] == []
    functions = [name for names in python.FUNCTIONS.values() for name in names]
    assert [name for name in functions if not getattr(batchmeter, name).__doc__] == []
