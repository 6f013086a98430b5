"""Our requests beside those of LiteLLM's converter (make_oracle.py wrote them down): the same but where we mean to differ."""

import json
import re
from pathlib import Path

import pytest

from batchmeter_translate.gemini_request import gemini_request
from batchmeter_translate.untranslatable import Notes

ORACLE = json.loads((Path(__file__).parent.parent / "data" / "vertex" / "oracle.json").read_text())

DIFFERENT = {
    "assistant first": "Gemini wants the first turn to be the user's",
    "effort high": "Google's own OpenAI endpoint gives 24,576 tokens, LiteLLM 4,096",
    "effort none": "`includeThoughts: false` is what absence means",
}


def alike(value):
    """Both spellings of names, both cases of types, and a choice of one are the same to the API."""
    if isinstance(value, list):
        return [alike(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["anyOf"] and len(value["anyOf"]) == 1:
        return alike(value["anyOf"][0])
    made = {re.sub(r"_(.)", lambda found: found[1].upper(), key): alike(item) for key, item in value.items()}
    if isinstance(made.get("type"), str):
        made["type"] = made["type"].upper()
    return made


def pair(name):
    found = ORACLE["requests"][name]
    ours = gemini_request(found["openai"], ORACLE["model"], Notes(), [], importer=True)
    return alike(ours), alike(found["gemini"])


@pytest.mark.parametrize("name", sorted(ORACLE["requests"].keys() - DIFFERENT.keys()))
def test_the_same(name):
    ours, theirs = pair(name)
    assert ours == theirs


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_on_purpose(name):
    ours, theirs = pair(name)
    assert ours != theirs
