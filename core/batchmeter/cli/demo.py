"""`batchmeter demo`: a batch of 1,000 requests from upload to priced event, against the embedded sandbox over HTTP."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .session import run
from .show import as_json, console, print_json
from .wait import show_settlement, wait_for

SPEED = 400.0
"""The sandbox's clock: a batch of 24 minutes takes under 4 seconds."""
SHOWN = ("id", "status", "request_counts", "usage", "cost", "metadata", "times")
TOPICS = ("otters", "tides", "sourdough", "glaciers", "jazz", "tea", "comets", "looms", "maps", "mushrooms")


@click.command()
@click.option("--requests", "count", default=1000, show_default=True, help="How many requests the batch has.")
@click.option("--model", default="gpt-5-mini", show_default=True, help="The model they ask for.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to leave the files (default: a new one).")
@as_json
def demo(count: int, model: str, folder: Path | None, json_output: bool) -> None:
    """Submit, follow, meter and price a batch, with no key and no network: what you would see with a real one."""
    chosen = folder or Path(tempfile.mkdtemp(prefix="batchmeter-demo-"))
    chosen.mkdir(parents=True, exist_ok=True)
    run(_demo(chosen, count, model, json_output))


async def _demo(folder: Path, count: int, model: str, json_output: bool) -> None:
    from batchmeter.client import AsyncClient
    from batchmeter.testing.sandbox import serve_sandbox

    requests = write_requests(folder / "requests.jsonl", count, model)
    log = folder / "events.jsonl"

    def say(text: str) -> None:
        if not json_output:
            console().print(text)

    async with serve_sandbox(speed=SPEED) as sandbox:
        say(f"1. a provider that speaks OpenAI's batch API: {sandbox.url}")
        async with AsyncClient(settings=_settings(folder, log, sandbox.url), environ={}) as client:
            file = await client.files.create(file=requests, purpose="batch")
            say(f"2. uploaded {count:,} requests ({file.bytes:,} bytes) as {file.id}")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", metadata={"team": "search"}
            )
            say(f"3. submitted {batch.id}; following it")
            settlement = await wait_for(client, batch.id, None)
    if json_output:
        print_json(settlement)
        return
    say("4. it has ended, and this is what it cost:\n")
    show_settlement(settlement)
    _show_events(log)


def write_requests(path: Path, count: int, model: str) -> Path:
    """A batch input file as OpenAI wants it: one request a line."""
    with path.open("w", encoding="utf-8") as lines:
        for number in range(count):
            lines.write(json.dumps(_request(number, model)) + "\n")
    return path


def _request(number: int, model: str) -> Mapping[str, Any]:
    topic = TOPICS[number % len(TOPICS)]
    messages = [
        {"role": "system", "content": "You are a patient teacher. Answer in two sentences."},
        {"role": "user", "content": f"Question {number + 1}: what should everyone know about {topic}?"},
    ]
    body = {"model": model, "messages": messages, "max_completion_tokens": 400}
    return {"custom_id": f"request-{number + 1}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def _settings(folder: Path, log: Path, url: str) -> Any:
    from batchmeter.config import Settings

    return Settings(
        ledger=str(folder / "ledger.db"),
        track=False,
        load=("file",),
        accounts={"openai": {"api_key": "any", "api_base": url}},
        plugins={"file": {"path": str(log)}},
    )


def _show_events(log: Path) -> None:
    """The file as a logger's user finds it: each event in a line, and the last one's facts in full."""
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    out = console()
    out.print(f"\n5. the events, as CloudEvents in {log}:\n")
    for event in found:
        out.print(f"   {event['data']['type']:14} {event['time']}  {event['subject']}")
    facts = {key: found[-1]["data"][key] for key in SHOWN}
    out.print(f"\n   {found[-1]['data']['type']} carries, among others:\n")
    out.print_json(data=facts)
