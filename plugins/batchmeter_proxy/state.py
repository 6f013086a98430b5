"""The parts of one running proxy that every request uses."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from batchmeter import AsyncClient

from .identity import Admit, Authenticate
from .metrics import Metrics
from .options import ProxyOptions
from .read_cache import Reads
from .traffic import FOLDER, Traffic
from .transfers import Places, Shares, Transfers


@dataclass(slots=True)
class State:
    """One per app."""

    client: AsyncClient
    authenticate: Authenticate
    admit: Admit
    options: ProxyOptions
    reads: Reads
    transfers: Transfers
    calls: Shares
    """All that is no upload or download."""
    webhooks: Places
    traffic: Traffic = field(default_factory=lambda: Traffic(os.environ.get(FOLDER)))
    metrics: Metrics = field(default_factory=Metrics)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """The server was told to stop: answers that would go on for ever end."""
    openapi: Callable[[], bytes] = bytes
    """The description of all routes, written at the first call: anybody may ask for it, as often as they like."""
    docs: Callable[[], bytes] = bytes
    """The same for people."""
