"""Keys: from the settings, from AWS's chain, refreshed; for AWS's hosts alone, and in no text."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from batchmeter import errors
from batchmeter.providers import CallOptions
from batchmeter_bedrock.settings import BedrockSettings
from batchmeter_bedrock.signing import Signer

from .fake import ACCESS, BEARER, SECRET

PLAIN = CallOptions()
NONE = {"access_key_id": None, "secret_access_key": None}


async def look(provider):
    await provider.list_batches(after=None, limit=1, options=PLAIN)
    await provider.list_files(purpose=None, after=None, limit=1, order=None, options=PLAIN)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No keys of this machine's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize("way", ["settings", "profile", "token"])
async def test_keys_come_from_settings_or_a_profile(way, bedrock, make, tmp_path, caplog):
    """None of them is in a log, whatever its level."""
    caplog.set_level(logging.DEBUG)
    bedrock.storage.tokens = {"planted-session-token"}
    (tmp_path / "credentials").write_text(f"[mine]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
    given = {
        "settings": {},
        "profile": NONE | {"profile": "mine"},
        "token": {"session_token": "planted-session-token"},
    }[way]
    await look(make(**given))
    assert len(bedrock.received) == len(bedrock.storage.received) == 1
    assert caplog.records
    shown = caplog.text
    assert [
        one for one in (SECRET, "planted-session-token", bedrock.received[0].headers["authorization"]) if one in shown
    ] == []


async def test_keys_that_expire_are_fetched_again(bedrock, make, tmp_path):
    """A profile's own process tells keys for an instant; the token of each request is the newest."""
    spoken, soon = tmp_path / "count", (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    keys = {"Version": 1, "AccessKeyId": ACCESS, "SecretAccessKey": SECRET, "Expiration": soon}
    script = tmp_path / "keys.sh"
    said = json.dumps(keys | {"SessionToken": "TOKEN"}).replace("TOKEN", "t$n")
    script.write_text(
        f'#!/bin/sh\necho x >> {spoken}\nn=$(wc -l < {spoken} | tr -d " ")\necho "{said.replace(chr(34), chr(92) + chr(34))}"\n'
    )
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile mine]\ncredential_process = {script}\n")
    bedrock.storage.tokens = {f"t{n}" for n in range(1, 9)}
    provider = make(**NONE, profile="mine")
    await look(provider)
    await look(provider)
    tokens = [one.headers["x-amz-security-token"] for one in (*bedrock.received, *bedrock.storage.received)]
    assert len(set(tokens)) > 1


async def test_a_bedrock_key_is_a_bearer_for_jobs_alone(bedrock, make):
    await look(make(api_key=BEARER))
    assert bedrock.received[0].headers["authorization"] == f"Bearer {BEARER}"
    assert BEARER not in str(bedrock.storage.received[0].headers)


async def test_the_machines_keys_go_to_aws_alone(bedrock, make, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(errors.ConfigError, match="gets no credentials of the machine's"):
        await look(make(**NONE))
    assert (bedrock.received, bedrock.storage.received) == ([], [])
    found = await Signer(
        BedrockSettings(region="us-east-1", api_base="https://vpce-1.bedrock.us-east-1.vpce.amazonaws.com")
    ).credentials()
    assert found.access_key == ACCESS


@pytest.mark.parametrize(
    ("files", "profile", "message"),
    [
        ("", None, "credential chain has no credentials"),
        ("", "nobody", "no usable AWS credentials"),
        (
            "[profile mine]\ncredential_process = /bin/false\n",
            "mine",
            "no usable AWS credentials|could not be refreshed",
        ),
    ],
)
async def test_missing_keys_are_said_with_their_cure(files, profile, message, tmp_path):
    (tmp_path / "config").write_text(files)
    signer = Signer(BedrockSettings(region="us-east-1", profile=profile))
    with pytest.raises((errors.ConfigError, errors.APIConnectionError), match=message):
        await signer.credentials()


def test_settings_fall_back_on_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_BATCH_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    settings = BedrockSettings(bucket="s3://mine/folder/", access_key_id="a" * 9, secret_access_key=SECRET)
    assert (settings.host, settings.storage_host) == (
        "https://bedrock.eu-west-1.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com",
    )
    assert (settings.folder(), settings.role) == (("mine", "folder/batchmeter"), "arn:aws:iam::123456789012:role/x")
    assert SECRET not in repr(settings)
    assert BedrockSettings(region="cn-north-1").host.endswith(".amazonaws.com.cn")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"region": "US East"}, "pattern"),
        ({"role_arn": "batch"}, "is no role"),
        ({"access_key_id": "a"}, "together"),
        ({"prefix": "a=b"}, "pattern"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BedrockSettings(**settings)


@pytest.mark.parametrize("name", ["region", "bucket", "role_arn"])
async def test_what_is_missing_is_named(name, account, monkeypatch):
    for variable in ("AWS_DEFAULT_REGION", "AWS_S3_BUCKET_NAME", "AWS_BATCH_ROLE_ARN"):
        monkeypatch.delenv(variable, raising=False)
    settings = BedrockSettings(**{key: value for key, value in account.items() if key != name})
    with pytest.raises(errors.ConfigError, match=name):
        {"region": lambda: settings.place, "bucket": settings.folder, "role_arn": lambda: settings.role}[name]()
