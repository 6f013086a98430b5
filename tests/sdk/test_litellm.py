"""Calls as LiteLLM's users write them come to what they come to in litellm; `.ci/litellm.sh` installs one to ask again."""

import inspect
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.heavy import HEAVY
from tests.warm_python import WARM

import batchmeter
from batchmeter.testing.sandbox import sandbox_thread

HOME = Path(__file__).parents[2] / ".cache" / "litellm"


def _run(python: Path | str, arguments: list[str], **env: str) -> Any:
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=False, timeout=110, env={**quiet, **env}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def python() -> Path:
    if not (HOME / "ready").exists():
        pytest.skip("litellm is not installed: run .ci/litellm.sh")
    return HOME / "bin" / "python"


KEPT = Path(__file__).parents[1] / "data" / "litellm_calls.json"
"""Outcomes of litellm's own calls, as `test_what_is_kept_is_what_litellm_does` finds them."""


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text("utf-8"))
    return found


@pytest.mark.skipif(not HEAVY, reason="litellm takes ten seconds to import: set BATCHMETER_HEAVY=1")
def test_what_is_kept_is_what_litellm_does(python: Path, theirs: dict[str, Any], tmp_path: Path) -> None:
    assert _outcomes("litellm", python, tmp_path) == theirs


def test_arguments_stand_in_litellms_order(theirs: dict[str, Any]) -> None:
    for name, order in theirs["signatures"].items():
        parameters = inspect.signature(getattr(batchmeter, name)).parameters.values()
        mine = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert mine[: len(order)] == order, name
    assert len(theirs["signatures"]) == 18


def test_each_call_comes_to_what_it_comes_to_in_litellm(theirs: dict[str, Any], tmp_path: Path) -> None:
    mine = _outcomes("batchmeter", WARM, tmp_path)["results"]
    assert {name: said for name, said in mine.items() if isinstance(said, str) and "Error" in said} == {}
    works = {name: said for name, said in theirs["results"].items() if not (isinstance(said, str) and "Error" in said)}
    assert len(works) > 40
    assert {name: mine[name] for name in works} == works


def _outcomes(which: str, program: Path | str, home: Path) -> dict[str, Any]:
    script = str(Path(__file__).with_name("litellm_calls.py"))
    with sandbox_thread(speed=1) as sandbox:
        env = {"OPENAI_BASE_URL": sandbox.url, "OPENAI_API_KEY": "sk-test", "BATCHMETER_LEDGER": ":memory:"}
        found: dict[str, Any] = _run(program, [script, which], HOME=str(home), BATCHMETER_PLUGINS="", **env)
    return found
