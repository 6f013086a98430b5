"""`batchmeter serve` with settings that are wrong: one line says so, and nothing starts."""

import pytest


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("[accounts.openai]\napi_kye = 'x'", {}, "unknown key 'api_kye'; did you mean 'api_key'?"),
        ("[proxy]\nfreshnes = 1", {}, "[proxy]: unknown key 'freshnes'; did you mean 'freshness'?"),
        ("[proxy]\nmax_upload_bytes = 'lots'", {}, "[proxy]: max_upload_bytes"),
        ("[plugins.file]\npth = 'x'", {}, "unknown key 'pth'"),
        ("", {"BATCHMETER_PLUGINS": "flie"}, "no plugin named 'flie' is installed; did you mean 'file'?"),
        ("default_account = 'opnai'", {}, "default_account: no account 'opnai'"),
        ("", {"BATCHMETER_DEFAULT_ACCOUNT": "opnai"}, "default_account: no account 'opnai'"),
        ("[models]\n'm' = 'nope'", {}, "[models] 'm': no account 'nope'"),
        ("[accounts.x]\nprovider = 'opnai'", {}, "[accounts.x]: account 'x': no provider 'opnai' is installed"),
    ],
)
def test_wrong_settings_are_one_line(shell, monkeypatch, text, environ, said):
    monkeypatch.setenv("BATCHMETER_LEDGER", str(shell.folder / "none.db"))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    shell.configure(text)
    ran = shell("serve", "--host", "192.0.2.1")  # an address of nobody: were the settings right, it would be refused
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not (shell.folder / "none.db").exists()
