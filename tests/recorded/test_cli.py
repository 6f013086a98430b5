"""Recorded traffic of OpenAI through the command line: it prints what the official SDK and the recorded files say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from batchmeter.cli import main

from .conftest import Exchange, Replay
from .test_openai import ENDED, official, sums

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Replay], Command]:
    """Runs `batchmeter …` whose account `openai` is the replay; gives the exit code and what was printed."""

    def for_replay(playing: Replay) -> Command:
        config = tmp_path / "batchmeter.toml"
        account = f'[accounts.openai]\napi_key = "sk-test"\napi_base = "{playing.url}/v1"\nmax_retries = 0\n'
        config.write_text(f'ledger = "{tmp_path / "ledger.db"}"\n{account}')
        monkeypatch.setenv("BATCHMETER_CONFIG", str(config))

        def run(*arguments: str) -> tuple[int, str]:
            result = CliRunner().invoke(main, list(arguments))
            return result.exit_code, result.stdout + result.stderr

        return run

    return for_replay


def only_ended(exchange: Exchange) -> Exchange | None:
    """A command is run once, when the batch has ended: earlier looks are left out."""
    one_batch = exchange.method == "GET" and exchange.path.startswith("/v1/batches/")
    ended = one_batch and exchange.answer.json.get("status") in {"completed", "failed", "expired", "cancelled"}
    return exchange if ended or not one_batch else None


@pytest.mark.parametrize(("story", "status"), ENDED.items())
def test_an_adopted_batch_is_settled_and_shown(replay, command, story, status):
    playing = replay(story, edit=only_ended)
    run = command(playing)
    path = next(one.path for one in playing.exchanges if one.path.startswith("/v1/batches/batch_"))
    batch_id = path.rpartition("/")[2]
    assert run("adopt", batch_id, "--provider", "openai")[0] == 0
    code, printed = run("batches", "wait", batch_id, "--json")
    assert code == (0 if status == "completed" else 1), printed
    code, printed = run("batches", "show", batch_id, "--json")
    assert code == 0
    shown: dict[str, Any] = json.loads(printed)
    with official(playing) as theirs:
        expected = theirs.batches.retrieve(batch_id).to_dict(mode="json")
    assert shown["batch"]["status"] == expected["status"] == status
    succeeded, read, written = sums(playing, expected)
    settled = shown["settlement"]
    assert settled["request_counts"]["succeeded"] == succeeded
    assert (settled["usage"]["input_tokens"], settled["usage"]["output_tokens"]) == (read, written)
    assert float(settled["cost"]["total"]) >= 0
    assert (float(settled["cost"]["total"]) > 0) == (succeeded > 0)
