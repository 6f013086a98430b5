"""`batchmeter serve`: files and batches of every account for any OpenAI client, with the costs known."""

from typing import Any, cast

import click

from batchmeter import AsyncClient
from batchmeter.errors import ConfigError, UsageError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes to serve with.")
@click.option("--no-track", is_flag=True, help="Leave following open batches to `batchmeter track`.")
@click.option("--access-log", is_flag=True, help="Write a line for each request to standard error.")
def serve(host: str, port: int, workers: int, no_track: bool, access_log: bool) -> None:
    """Serve OpenAI's files and batches API over the configured accounts; trackers and loggers run inside."""
    options = cast("dict[str, Any]", click.get_current_context().find_root().obj or {})
    try:
        from . import server
    except ImportError as error:
        raise ConfigError(f"{error}: the proxy needs its extra: pip install 'batchmeter[proxy]'") from error
    client = AsyncClient(config=options.get("config"), ledger=options.get("ledger"))
    proxy = server.check(client)
    keys = server.keys_configured(client)
    if not server.is_loopback(host) and not keys:
        raise UsageError(
            f"--host {host} can be reached from elsewhere: create a key first (batchmeter keys create), "
            "or stay on 127.0.0.1"
        )
    given = {**options, "track": False if no_track else None, "access_log": access_log}
    server.serve(
        host,
        port,
        workers,
        given=given,
        ready=lambda url: click.echo(_welcome(url, keys)),
        options=proxy,
        accounts=len({*client.settings.accounts, client.accounts.default}),
    )


def _welcome(url: str, keys: bool) -> str:
    key = "YOUR_KEY" if keys else "any-key"
    return (
        f"batchmeter serves {url}/v1   (Ctrl-C stops; {url}/docs says what there is)\n\n"
        f"  any OpenAI client   OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}\n"
        f'  another account     header custom-llm-provider, or base_url="{url}/<account>/v1"\n'
    )
