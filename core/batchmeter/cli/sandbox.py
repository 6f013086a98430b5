"""`batchmeter sandbox`: a provider of your own on this machine, for any OpenAI client."""

import asyncio
import ipaddress
from typing import TYPE_CHECKING

import click

from batchmeter.errors import ConfigError, UsageError

from .session import run
from .show import as_json, print_json

if TYPE_CHECKING:
    from batchmeter_sandbox import Engine


EPILOG = """\b
Words of a script (--script, or a batch's metadata key `sandbox`, or header x-sandbox-script at its creation):
  outcome=completed|failed|expired|cancelled
  fail=SHARE       of the lines that fail (1: only an error file)
  done=SHARE       of the lines run before an expiry or cancellation
  lag=N            looks before a finished batch names its files
  malformed=N      output lines cut in half
  no_usage=N       output lines with usage null
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
    from batchmeter_sandbox import Engine, Refusal

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
    from batchmeter_sandbox import serving

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
