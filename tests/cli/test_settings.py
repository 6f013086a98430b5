"""`config`, `accounts` and `doctor`: the settings as they come out, and each thing that is wrong with its mend."""

import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

TOML = """
ledger = "batches.db"

[accounts.gateway]
provider = "openai"
api_base = "https://user:hunter2@llm.example.com/v1"
api_key_env = "GATEWAY_KEY"
headers = { Authorization = "Bearer sk-header" }

[accounts.other]
provider = "openai"
api_base = "${OTHER_BASE}"
api_key = "sk-in-the-file"

[plugins.file]
path = "events.jsonl"
"""
SECRETS = ("hunter2", "sk-header", "sk-in-the-file", "sk-gateway", "sk-cli-secret")


@pytest.fixture
def configured(shell, monkeypatch):
    shell.configure(TOML)
    monkeypatch.delenv("BATCHMETER_FILE_PATH")
    monkeypatch.delenv("BATCHMETER_LEDGER")
    monkeypatch.setenv("GATEWAY_KEY", "sk-gateway")
    monkeypatch.setenv("OTHER_BASE", "https://other.example.com/v1")
    return shell


def test_settings_are_shown_with_their_sources(configured, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    ran = configured("config", "show", "--json")
    shown = {one["setting"]: (one["value"], one["source"]) for one in ran.json}
    assert shown["ledger"] == ("batches.db", "batchmeter.toml")
    assert shown["track"] == ("true", "default")
    assert shown["load"] == ("file", "BATCHMETER_PLUGINS")
    assert shown["accounts.gateway.api_key"] == ("********", "batchmeter.toml: api_key_env = GATEWAY_KEY")
    assert shown["accounts.gateway.api_base"] == ("https://llm.example.com/v1", "batchmeter.toml")
    assert shown["accounts.gateway.headers"] == ("Authorization: ********", "batchmeter.toml")
    assert shown["accounts.other.api_base"] == ("${OTHER_BASE}", "batchmeter.toml")
    assert shown["accounts.openai.project"] == ("proj-1", "OPENAI_PROJECT_ID")
    assert shown["plugins.file.path"] == ("events.jsonl", "batchmeter.toml")
    assert "accounts.openai.timeout" not in shown
    everything = {one["setting"]: one["source"] for one in configured("config", "show", "--all", "--json").json}
    assert everything["accounts.openai.timeout"] == "default"
    assert configured("--ledger", "x.db", "config", "show", "--json").json[0]["source"] == "--ledger"


@pytest.mark.parametrize("command", [["config", "show", "--all"], ["config", "check"], ["accounts", "--all"]])
def test_no_secret_is_shown(configured, command) -> None:
    ran = configured(*command)
    assert ran.code == 0, ran.err
    assert [secret for secret in SECRETS if secret in ran.out + ran.err] == []


def test_settings_that_work_are_said_to(configured) -> None:
    assert configured("config", "check").out == "batchmeter.toml: nothing is wrong\n"
    assert configured("config", "check", "--json").json == {"source": "batchmeter.toml", "problems": []}


def test_all_that_is_wrong_is_listed_at_once(configured, monkeypatch) -> None:
    configured.configure(
        TOML + '[models]\n"gpt-5" = "nobody"\n[prices."openai/gpt-5"]\ninptu = "1"\n[proxy]\nfreshnes = 0\n'
    )
    monkeypatch.delenv("GATEWAY_KEY")
    ran = configured("config", "check")
    assert ran.code == 2
    gateway, nobody, price, proxy = ran.err.splitlines()
    assert gateway == "error: batchmeter.toml: [accounts.gateway]: api_key_env: the variable GATEWAY_KEY is not set"
    assert nobody.startswith("error: no account 'nobody'")
    assert "inptu" in price
    assert proxy.startswith("error: batchmeter.toml: [proxy]: unknown key 'freshnes'")
    assert "'freshness'" in proxy


def test_accounts_are_listed_and_asked(configured, sandbox) -> None:
    configured.configure(
        '[accounts.dead]\nprovider = "openai"\napi_base = "http://127.0.0.1:1"\napi_key = "k"\nmax_retries = 0\n'
    )
    listed = {one["account"]: one for one in configured("accounts", "--json").json}
    assert listed.keys() == {"dead", "openai"}
    assert (listed["openai"]["key"], listed["openai"]["default"], listed["openai"]["problem"]) == (True, True, None)
    ran = configured("accounts", "--check", "--json")
    assert ran.code == 1
    asked = {one["account"]: one for one in ran.json}
    assert asked["openai"]["milliseconds"] >= 0
    assert "127.0.0.1:1" in asked["dead"]["problem"]


def findings(ran) -> dict[str, dict[str, str]]:
    return {one["about"]: one for one in ran.json}


def test_doctor_finds_nothing_where_all_is_well(shell) -> None:
    shell("submit", shell.requests(1), "--wait")
    ran = shell("doctor", "--json")
    found = findings(ran)
    assert ran.code == 0, ran.out
    assert {name: one["state"] for name, one in found.items() if one["state"] != "ok"} == {}
    assert {"settings", "network", "prices", "ledger", "batches", "logger file", "account openai"} <= found.keys()
    assert "sk-cli-secret" not in ran.out


@pytest.mark.parametrize(
    ("setting", "value", "about", "mend"),
    [
        ("SSL_CERT_FILE", "/nowhere.pem", "network", "certificates cannot be read"),
        ("BATCHMETER_LEDGER", "/nowhere/at/all/l.db", "ledger", "create it"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1", "account openai", "127.0.0.1:1"),
    ],
)
def test_doctor_names_what_is_wrong(shell, monkeypatch, setting, value, about, mend) -> None:
    from batchmeter.http.library import tls

    tls.cache_clear()  # one for the process
    monkeypatch.setenv(setting, value)
    shell.configure("[accounts.openai]\nmax_retries = 0\n")
    ran = shell("doctor", "--json")
    tls.cache_clear()
    assert ran.code == 1
    found = findings(ran)[about]
    assert found["state"] == "wrong"
    assert mend in found["mend"]


class AnHourAhead(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"object": "list", "data": [], "has_more": false}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + 3600, usegmt=True)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_doctor_knows_a_wrong_clock(make_shell) -> None:
    with HTTPServer(("127.0.0.1", 0), AnHourAhead) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        found = findings(make_shell(f"http://127.0.0.1:{server.server_port}/v1")("doctor", "--json"))["clock"]
        server.shutdown()
        serving.join()
    assert found["state"] == "warning"
    assert "3,600 s behind the providers'" in found["text"] or "3,599 s behind" in found["text"]


def test_doctor_sees_work_that_nobody_does(shell, monkeypatch) -> None:
    shell.configure('[accounts.gone]\nprovider = "sandbox"\n')
    assert shell("submit", shell.requests(1), "--provider", "gone").code == 0
    shell.configure("")
    found = findings(shell("doctor", "--offline", "--json"))["batches"]
    assert found["state"] == "warning"
    assert found["text"].startswith("not followed here: gone (1 open)")
