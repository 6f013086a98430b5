"""Machines without a home, without rights, or with odd proxy variables: one line each, never a traceback."""

import os
import pwd

import pytest
from click.testing import CliRunner

from batchmeter.cli import main

REQUEST = '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5-mini", "messages": []}}\n'
ANSWER = (
    '{"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-5-mini",'
    ' "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}}}\n'
)


def said(*command: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, command, catch_exceptions=True)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, [line for line in result.output.splitlines() if line]


@pytest.fixture
def homeless(monkeypatch):
    """An arbitrary uid, as OpenShift gives: no HOME, and nobody in the list of users."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "BATCHMETER_LEDGER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nowhere(monkeypatch):
    """A home that cannot be made: a read-only root."""
    monkeypatch.delenv("BATCHMETER_LEDGER")
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/proc/nope")


@pytest.mark.parametrize("machine", ["homeless", "nowhere"])
def test_no_home_is_one_line_that_says_how_to_go_on(machine, request, tmp_path, monkeypatch):
    request.getfixturevalue(machine)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    (tmp_path / "in.jsonl").write_text(REQUEST)
    for command in (["track", "--once"], ["submit", str(tmp_path / "in.jsonl")], ["batches"]):
        code, lines = said(*command)
        assert code != 0
        [line] = lines
        assert "name a ledger that can be written, with --ledger, BATCHMETER_LEDGER" in line


@pytest.mark.parametrize("machine", ["homeless", "nowhere"])
def test_what_needs_no_home_works_without(machine, request, tmp_path, monkeypatch):
    request.getfixturevalue(machine)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.jsonl").write_text(ANSWER)
    (tmp_path / "b.toml").write_text(f'ledger = "{tmp_path}/l.db"\n')
    assert said("meter", "out.jsonl")[0] == 0
    assert said("plugins")[0] == 0
    assert said("--config", str(tmp_path / "b.toml"), "batches")[0] == 0
    assert said("--ledger", str(tmp_path / "m.db"), "batches")[0] == 0


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1", "ALL_PROXY: a SOCKS proxy needs the package socksio"),
        ("SSL_CERT_FILE", "/nonexistent.pem", "SSL_CERT_FILE: the certificates cannot be read: No such file"),
        ("HTTPS_PROXY", "proxy.corp:3128:x", "HTTPS_PROXY: not an address that a proxy can have"),
        ("NO_PROXY", "localhost,::1/128", "NO_PROXY"),
    ],
)
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_odd_variables_are_one_line(variable, value, message, library, monkeypatch, tmp_path):
    (tmp_path / "b.toml").write_text("[accounts.openai]\nmax_retries = 0\n")
    monkeypatch.setenv("BATCHMETER_CONFIG", str(tmp_path / "b.toml"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("BATCHMETER_LEDGER", ":memory:")
    monkeypatch.setenv("BATCHMETER_HTTP", library)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv(variable, value)
    code, lines = said("adopt", "--account", "openai", "batch_1")
    assert code != 0
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert message in lines[0] or "127.0.0.1:9" in lines[0]


def test_demo_pages_without_their_extra_are_one_line_at_once(monkeypatch):
    monkeypatch.setattr("batchmeter_sandbox.commands.find_spec", lambda name: None)
    code, lines = said("demo", "--ui")
    assert (code, lines) == (2, ["error: the pages need their extra: pip install 'batchmeter[proxy]'"])
