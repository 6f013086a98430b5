"""Text of strangers does nothing to a terminal: models, metadata, ids and errors are printed inert."""

import json
import logging

import click
import pytest
from click.testing import CliRunner

from batchmeter.cli import main
from batchmeter.commands.inert import InertFormatter, inert, inert_json
from batchmeter.commands.output import console, errors, print_json, table
from batchmeter.errors import ProviderError

CLEAR, TITLE, CSI = "\x1b[2J", "\x1b]0;owned\x07", "\x9b31m"
NASTY = f"model{CLEAR}{TITLE}{CSI}\r\x08\x7f"


def active(text):
    return {found for found in text if (found < " " and found not in "\n\t") or "\x7f" <= found <= "\x9f"}


@pytest.mark.parametrize("way", ["table", "console", "errors", "json"])
def test_a_stranger_s_text_is_printed_inert(way, capsys):
    show = {
        "table": lambda: table(NASTY, ["a"], [[NASTY]]),
        "console": lambda: console().print(NASTY),
        "errors": lambda: errors().print(NASTY),
        "json": lambda: print_json({"model": NASTY}),
    }[way]
    show()
    shown = capsys.readouterr()
    assert "model" in shown.out + shown.err
    assert active(shown.out + shown.err) == set()
    if way == "json":
        assert json.loads(shown.out) == {"model": NASTY}


def test_an_error_that_quotes_a_server_is_inert(monkeypatch):
    @click.command()
    def failing():
        raise ProviderError(f"a.example answered 400: {NASTY}")

    monkeypatch.setattr(type(main), "get_command", lambda self, ctx, name: failing)
    ran = CliRunner().invoke(main, ["version"])
    assert ran.exit_code == 1
    assert "a.example answered 400: model\\x1b[2J" in ran.stderr
    assert active(ran.stderr) == set()


def test_a_log_line_is_inert():
    CliRunner().invoke(main, ["version"])
    assert isinstance(logging.lastResort.formatter, InertFormatter)
    record = logging.LogRecord("batchmeter", logging.WARNING, "", 0, "account x: %s", (NASTY,), None)
    assert active(InertFormatter().format(record)) == set()


def test_what_is_harmless_stays():
    text = "søk\tten\nlines \U0001f9a6"
    assert inert(text) == text
    assert json.loads(inert_json(json.dumps({"a": "\x9b"}, ensure_ascii=False))) == {"a": "\x9b"}
