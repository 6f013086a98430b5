"""Input rules of an account: OpenAI's at OpenAI's host, what every server takes elsewhere, the settings on top."""

import json

import pytest

from batchmeter.accounts import Accounts
from batchmeter.config import Settings
from batchmeter.errors import ConfigError
from batchmeter.inputs import COMPATIBLE, OPENAI, InputChecker, limits_of
from batchmeter.plugins import Plugins
from batchmeter_azure.files import LIMITS

CHAT = "/v1/chat/completions"


def account(section):
    settings = Settings(accounts={"mine": {"provider": "openai", "api_key": "k", **section}})
    return Accounts(settings, Plugins.load(settings, {}))


def limits(**section):
    return limits_of(account(section).get("mine"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, OPENAI),
        ("https://api.openai.com/v1", OPENAI),
        ("https://eu.api.openai.com/v1", OPENAI),
        ("https://api.groq.com/openai/v1", COMPATIBLE),
        ("https://api.openai.com.evil.example/v1", COMPATIBLE),
        ("http://127.0.0.1:4010/v1", COMPATIBLE),
    ],
)
def test_openai_rules_hold_at_openai_host_only(address, expected):
    assert limits(**({"api_base": address} if address else {})) is expected


def test_settings_change_the_rules_of_any_provider():
    changed = limits(input_limits={"lines": 7, "endpoints": ["/v1/x"], "one_model": True}, api_base="http://a")
    assert (changed.lines, changed.endpoints, changed.one_model) == (7, frozenset({"/v1/x"}), True)
    assert changed.bytes == COMPATIBLE.bytes
    azure = limits(provider="azure", endpoint="https://a", input_limits={"bytes": 5})
    assert (azure.bytes, azure.lines) == (5, LIMITS.lines)
    vertex = limits(provider="vertex_ai", api_key=None, project="p", input_limits={"lines": 3})
    assert vertex.lines == 3
    assert limits(check_inputs=False) is None
    with pytest.raises(ConfigError, match="lines"):
        limits(input_limits={"lines": 0})
    with pytest.raises(ConfigError, match="line_count"):
        limits(input_limits={"line_count": 2})


def request(custom_id, url, /, **body):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode() + b"\n"


GROQ = request("a", "/v1/audio/transcriptions", model="whisper-large-v3", url="https://x/a.wav")
MIXED = request("a", CHAT, model="m1", messages=[]) + request("b", CHAT, model="m2", messages=[])
MANY = b"".join(request(str(number), CHAT, model="m", messages=[]) for number in range(50_001))


@pytest.mark.parametrize("content", [GROQ, MIXED, MANY], ids=["other url", "mixed models", "more lines"])
def test_what_compatible_vendors_document_is_taken(content):
    compatible, openai = InputChecker(limits=COMPATIBLE), InputChecker(limits=OPENAI)
    for checker in (compatible, openai):
        checker.feed(content)
    assert compatible.close().ok
    assert not openai.close().ok


def test_what_no_server_takes_is_still_refused():
    checker = InputChecker(limits=COMPATIBLE)
    checker.feed(
        MIXED
        + request("a", CHAT, model="m", messages=[])
        + b"oops\n"
        + request("c", "/v1/other", model="m", messages=[])
    )
    assert [problem.code for problem in checker.close().problems] == [
        "duplicate_custom_id",
        "invalid_json_line",
        "url_mismatch",
    ]
