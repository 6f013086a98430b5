"""The commands `sandbox` (a provider of your own on this machine, for any OpenAI client) and `demo` (one batch with it)."""

import asyncio
import ipaddress
import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchmeter.commands import as_json, console, print_json, run, show_settlement, wait_for
from batchmeter.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from .engine import Engine

SPEED = 400.0
"""The sandbox's clock: a batch of 24 minutes takes under 4 seconds."""
SHOWN = ("id", "status", "request_counts", "usage", "cost", "metadata", "times")
TOPICS = ("otters", "tides", "sourdough", "glaciers", "jazz", "tea", "comets", "looms", "maps", "mushrooms")
EPILOG = """\b
Words of a script (--script, or a batch's metadata key `sandbox`, or header x-sandbox-script at its creation):
  outcome=completed|failed|expired|cancelled
  fail=SHARE       of the lines that fail (1: only an error file)
  done=SHARE       of the lines run before an expiry or cancellation
  lag=N            looks before a finished batch names its files
  malformed=N      output lines cut in half
  no_usage=N       output lines with usage null
  tokens=N         counters N times what the texts have
  slow=SECONDS     before every 64 KB of a download
  truncate=N       downloads that break off halfway

\b
Faults (--fault, or header x-sandbox-fault): KIND[*TIMES] [METHOD] [/PATH*] [retry_after=SECONDS]
  rate_limit quota server_error unavailable
  drop             the connection breaks and nothing was done
  lose_answer      the connection breaks after everything was done
"""


@click.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4010, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--speed", default=300.0, show_default=True, help="1: a batch takes 22 minutes; 300: 4.5 seconds.")
@click.option("--seed", type=int, help="Same seed, same ids and answers.")
@click.option("--folder", type=click.Path(file_okay=False), help="Keep files and batches here, for the next start.")
@click.option("--api-key", envvar="BATCHMETER_SANDBOX_KEY", help="Accept this key only (default: any).")
@click.option("--mixed-models", is_flag=True, help="Take files that name several models, which OpenAI refuses.")
@click.option("--script", default="", metavar="WORDS", help="Fate of every batch, such as 'fail=0.05 lag=1'.")
@click.option(
    "--fault", "faults", multiple=True, metavar="WORDS", help="Trouble, such as 'rate_limit*2 POST /v1/batches'."
)
@as_json
def sandbox(
    host: str,
    port: int,
    speed: float,
    seed: int | None,
    folder: str | None,
    api_key: str | None,
    mixed_models: bool,
    script: str,
    faults: tuple[str, ...],
    json_output: bool,
) -> None:
    """Serve OpenAI's files, batches and single calls: no model behind it, real shapes, real usage, trouble on demand."""
    from .engine import Engine
    from .refusal import Refusal

    if not _is_loopback(host) and api_key is None:
        raise UsageError(f"--host {host} can be reached from elsewhere: give an --api-key, or stay on 127.0.0.1")
    if speed <= 0:
        raise UsageError("--speed has to be greater than 0")
    try:
        engine = Engine(folder=folder, seed=seed, speed=speed, script=script, faults=faults, mixed_models=mixed_models)
    except Refusal as refusal:
        raise UsageError(f"--script or --fault: {refusal.message}") from refusal
    except OSError as error:
        raise ConfigError(f"--folder {folder}: {error.strerror or error}; choose one that can be written") from error
    try:
        run(_serve(engine, host, port, api_key, json_output=json_output))
    finally:
        engine.close()


async def _serve(engine: "Engine", host: str, port: int, api_key: str | None, *, json_output: bool) -> None:
    from .server import serving

    try:
        async with serving(engine, host=host, port=port, api_key=api_key) as server:
            if json_output:
                print_json({"url": server.url})
            else:
                click.echo(_welcome(server.url, api_key))
            await asyncio.Event().wait()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (0 takes a free one)"
        ) from error


def _welcome(url: str, api_key: str | None) -> str:
    key = "YOUR_KEY" if api_key else "any-key"
    return (
        f"sandbox listening on {url}   (Ctrl-C stops)\n\n"
        f"  any OpenAI client   OPENAI_BASE_URL={url} OPENAI_API_KEY={key}\n"
        f'  Python              openai.OpenAI(base_url="{url}", api_key="{key}")\n'
        f"  batchmeter          OPENAI_BASE_URL={url} OPENAI_API_KEY={key} batchmeter submit FILE --wait\n"
        f'  trouble             metadata {{"sandbox": "fail=0.1 outcome=expired"}}, header x-sandbox-fault: rate_limit*2\n'
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command()
@click.option("--requests", "count", default=1000, show_default=True, help="How many requests the batch has.")
@click.option("--model", default="gpt-5-mini", show_default=True, help="The model they ask for.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to leave the files (default: a new one).")
@click.option(
    "--ui", "pages", is_flag=True, help="Fill a ledger with a month of batches, and open the web pages over it."
)
@click.option("--port", default=4000, show_default=True, help="With --ui: of the pages.")
@click.option("--no-open", is_flag=True, help="With --ui: open no browser.")
@as_json
def demo(count: int, model: str, folder: Path | None, pages: bool, port: int, no_open: bool, json_output: bool) -> None:
    """Submit, follow, meter and price a batch, with no key and no network: what you would see with a real one."""
    chosen = folder or Path(tempfile.mkdtemp(prefix="batchmeter-demo-"))
    chosen.mkdir(parents=True, exist_ok=True)
    if pages:
        if (chosen / "ledger.db").exists():
            raise UsageError(f"{chosen} has a ledger: choose another --folder for a month of batches")
        run(_month(chosen, port, no_open=no_open))
        return
    run(_demo(chosen, count, model, json_output))


async def _demo(folder: Path, count: int, model: str, json_output: bool) -> None:
    from batchmeter import AsyncClient
    from batchmeter.testing.sandbox import serve_sandbox

    requests = write_requests(folder / "requests.jsonl", count, model)
    log = folder / "events.jsonl"

    def say(text: str) -> None:
        if not json_output:
            console().print(text)

    async with serve_sandbox(speed=SPEED) as sandbox:
        say(f"1. a provider that speaks OpenAI's batch API: {sandbox.url}")
        async with AsyncClient(
            config=write_settings(folder / "batchmeter.toml", log, sandbox.url), environ={}
        ) as client:
            file = await client.files.create(file=requests, purpose="batch")
            say(f"2. uploaded {count:,} requests, {file.bytes:,} bytes: {file.id}")
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


async def _month(folder: Path, port: int, *, no_open: bool) -> None:
    """The vendor stays, so that the pages can read failures and files; Ctrl-C stops both."""
    from batchmeter.testing.month import month

    if find_spec("starlette") is None:  # before a month is made that nothing can show
        raise ConfigError("the pages need their extra: pip install 'batchmeter[proxy]'")
    console().print(f"filling {folder / 'ledger.db'} with a month of batches …")
    async with month(folder) as filled:
        await filled.client.aclose()
        settings = write_month_settings(folder / "batchmeter.toml", filled.sandbox.url)
        words = ["--config", str(settings), "ui", "--port", str(port), *(["--no-open"] if no_open else [])]
        server = await asyncio.create_subprocess_exec(sys.executable, "-m", "batchmeter", *words)
        try:
            await server.wait()
        finally:
            if server.returncode is None:
                server.terminate()
                await server.wait()


def write_month_settings(path: Path, url: str) -> Path:
    """Each account of the month at the same sandbox."""
    from batchmeter.testing.month import ACCOUNTS

    ledger, base = (json.dumps(text, ensure_ascii=False) for text in (str(path.parent / "ledger.db"), url))
    account = f'provider = "openai"\napi_key = "any"\napi_base = {base}\n'
    accounts = "".join(f'\n[accounts."{name}"]\n{account}' for name in ACCOUNTS)
    events = json.dumps(str(path.parent / "events.jsonl"), ensure_ascii=False)
    plugins = f"\n[plugins.file]\npath = {events}\n"
    path.write_text(f"ledger = {ledger}\ntrack = false\n{accounts}{plugins}", encoding="utf-8")
    return path


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


def write_settings(path: Path, log: Path, url: str) -> Path:
    """So that `batchmeter --config` shows the demo's ledger afterwards, too."""
    ledger, events, base = (
        json.dumps(str(value), ensure_ascii=False) for value in (path.parent / "ledger.db", log, url)
    )
    path.write_text(
        f'ledger = {ledger}\ntrack = false\nload = ["file"]\n\n[accounts.openai]\napi_key = "any"\napi_base = {base}\n\n'
        f"[plugins.file]\npath = {events}\n",
        encoding="utf-8",
    )
    return path


def _show_events(log: Path) -> None:
    """The file as a logger's user finds it: each event in a line, and the last one's facts in full."""
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    out = console()
    out.print(f"\n5. the events, as CloudEvents in {log}:\n")
    for event in found:
        out.print(f"   {event['data']['type']:13} {event['time']} {event['subject']}")
    facts = {key: found[-1]["data"][key] for key in SHOWN}
    out.print(f"\n   {found[-1]['data']['type']} carries, among others:\n")
    out.print_json(data=facts)
