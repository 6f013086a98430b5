"""`[proxy]` in batchmeter.toml: how the proxy behaves."""

from pydantic import BaseModel, ConfigDict

MB = 1024 * 1024


class ProxyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    freshness: float = 1.0
    """Seconds for which one answer about an open batch serves everybody who asks; 0 asks the provider every time."""
    max_upload_bytes: int = 512 * MB
    """Largest file; an input file's own limits (200 MB at OpenAI) hold besides."""
    check_inputs: bool = True
    """Refuse batch input files that break OpenAI's rules before their provider sees them."""
    max_header_bytes: int = 64 * 1024
    """Largest request headers, names and values together."""
    max_body_bytes: int = MB
    """Largest JSON body."""
    members: frozenset[str] = frozenset()
    """Members of a create, and form fields of an upload, that plain keys may send besides OpenAI's own and those that
    the account's provider knows to be harmless."""
    body_seconds: float = 30.0
    """Longest time for a JSON body to come in."""
    upload_idle_seconds: float = 60.0
    """A client that sends nothing for so long is sent away."""
    upload_seconds: float = 3600.0
    """Longest time for one upload."""
    download_idle_seconds: float = 60.0
    """A client that reads nothing of its file for so long is sent away."""
    download_seconds: float = 3600.0
    """Longest time for one download."""
    transfers: int = 64
    """Uploads and downloads at a time, in each worker; more wait their turn."""
    transfers_per_key: int = 16
    """Uploads and downloads of one key at a time, so that slow ones hold up nobody else."""
    transfer_wait_seconds: float = 30.0
    """How long one waits for its turn; then it is answered 429 or 503, with `retry-after`."""
    calls_per_key: int = 12
    """All other requests of one key under way at a time, in each worker; more wait as transfers do. An account has 16
    connections for them: what one key leaves is for the others, and for following batches."""
    connections: int = 4096
    """Connections at a time, in each worker; more wait. No more than the process may open files."""
    idle_seconds: float = 10.0
    """A connection that has sent no whole headers for so long is closed, also between two requests."""
    webhook_bodies: int = 64
    """Webhooks whose bodies are read at a time, in each worker, since nobody needs a key for them; more are answered
    503."""
