"""`batchmeter keys`: a secret is shown once, the list never shows one, revoking is for good."""

import pytest


def test_a_key_from_create_to_revoke(shell):
    made = shell(
        *("keys", "create", "--name", "nightly", "--owner", "ada", "--team", "search", "--tag", "a", "--tag", "b"),
        *("--accounts", "openai", "--models", "gpt-5-mini,gpt-5-nano", "--expires", "30d", "--open-batches", "3"),
        "--json",
    )
    assert made.code == 0
    key = made.json
    assert key["secret"].startswith("bm-")
    assert (key["owner"], key["team"], key["tags"], key["accounts"]) == ("ada", "search", ["a", "b"], ["openai"])
    assert key["models"] == ["gpt-5-mini", "gpt-5-nano"]
    assert key["limits"] == {"requests_per_minute": None, "open_batches": 3, "lines_per_day": None}
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--accounts", "opnai"), "did you mean 'openai'"),
        (("create", "--expires", "soon"), "not a time"),
        (("create", "--expires", "2020-01-01"), "expired already"),
        (("create", "--requests-per-minute", "0"), "range"),
        (("revoke", "key_none"), "keys list"),
    ],
)
def test_what_cannot_be_is_said(shell, arguments, said):
    ran = shell("keys", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert shell("keys", "list", "--json").json == []
