"""`batchmeter keys`: a secret is shown once, the list never shows one, revoking is for good."""

import asyncio

import pytest
from tests.cases import case

import batchmeter
from batchmeter_proxy import ProxyKey, keyring_of


def test_a_key_from_create_to_revoke(shell):
    made = shell(
        *("keys", "create", "--name", "nightly", "--owner", "ada", "--team", "search", "--tag", "a", "--tag", "b"),
        *("--accounts", "openai", "--models", "gpt-5-mini,gpt-5-nano", "--expires", "30d", "--open-batches", "3"),
        *("--enqueued-tokens", "9"),
        "--json",
    )
    assert made.code == 0
    key = made.json
    assert key["secret"].startswith("bm-")
    assert (key["owner"], key["team"], key["tags"], key["accounts"]) == ("ada", "search", ["a", "b"], ["openai"])
    assert key["models"] == ["gpt-5-mini", "gpt-5-nano"]
    limits = {"requests_per_minute": None, "open_batches": 3, "lines_per_day": None, "enqueued_tokens": 9}
    assert key["limits"] == limits
    assert key["expires_at"] - key["created_at"] == pytest.approx(30 * 86_400_000, abs=60_000)
    (listed,) = shell("keys", "list", "--json").json
    assert listed == {name: value for name, value in key.items() if name != "secret"} | {"state": "active"}
    table = shell("keys", "list").out
    assert key["id"] in table.replace("\n", "")
    assert key["secret"] not in table.replace("\n", "")
    assert shell("keys", "revoke", key["id"]).code == 0
    assert "before" in shell("keys", "revoke", key["id"]).out
    assert shell("keys", "list", "--json").json[0]["state"] == "revoked"


def test_the_secret_is_all_there_is_on_standard_output(shell):
    made = shell("keys", "create", "--owner", "ada")
    assert made.out.strip().startswith("bm-")
    assert len(made.out.split()) == 1
    assert "not shown again" in made.err


REFUSED = (
    (("create", "--accounts", "opnai"), "did you mean 'openai'"),
    (("create", "--expires", "soon"), "not a time"),
    (("create", "--expires", "2020-01-01"), "expired already"),
    (("create", "--expires", "99999999w"), "year 9999"),
    (("create", "--expires", "9999999999w"), "not a time"),
    (("create", "--expires", "999999999w"), "year 9999"),
    (("create", "--accounts", ""), "accounts is empty"),
    (("create", "--models", " ,"), "models is empty"),
    (("create", "--requests-per-minute", "0"), "range"),
    (("revoke", "key_none"), "keys list"),
)


def test_what_cannot_be_is_said(shell):
    for arguments, words in REFUSED:
        with case(*arguments):
            ran = shell("keys", *arguments)
            assert ran.code == 2
            assert words in ran.err
            assert shell("keys", "list", "--json").json == []


def test_what_an_administrator_may_use_is_listed(shell):
    shell("keys", "create", "--admin", "--accounts", "openai")
    shell("keys", "create", "--admin")
    shell("keys", "create", "--models", "gpt-5-mini")
    table = " ".join(shell("keys", "list").out.split())
    assert "openai (admin)" in table
    assert "everything (admin)" in table
    assert "all accounts, gpt-5-mini" in table


def test_a_ledger_s_key_that_outlives_the_calendar_is_listed(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "keys.db"))

    async def add():
        async with batchmeter.AsyncClient(ledger=tmp_path / "keys.db") as client:
            await (await keyring_of(client)).add_key(ProxyKey(id="key_1", expires_at=10**16), secret_sha256="aa")

    asyncio.run(add())
    listed = shell("keys", "list")
    assert (listed.code, "9999-12" in listed.out) == (0, True)
