"""Traffic: how many requests were answered and how long that took, summed over the workers of one server.

Each worker writes its counts into a folder that they share, a second after they changed; whichever is asked adds them up.
"""

import asyncio
import json
import logging
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger("batchmeter")

FOLDER = "BATCHMETER_SERVE_TRAFFIC"
"""The environment variable with the folder of a server's workers."""
_SECONDS = 1.0
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

Counted = Counter[tuple[str, str, int]]
"""(method, route, status) -> requests."""


class Traffic:
    """Every label is from a fixed set, whatever strangers send."""

    def __init__(self, folder: str | None = None) -> None:
        self._requests: Counted = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._file = Path(folder, f"{os.getpid()}-{secrets.token_hex(4)}.json") if folder else None
        self._writing = False

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """`route` is None for what fits none; `seconds` from the first byte of a request to the last of its answer."""
        known = route or "other"
        self._requests[method if method in _METHODS else "OTHER", known, status] += 1
        self._seconds[known] += seconds
        if self._file is not None and not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_later(_SECONDS, self.write)

    def write(self) -> None:
        """For the other workers; in one step, so that none reads half of it."""
        self._writing = False
        if self._file is None:
            return
        requests = [[*labels, count] for labels, count in self._requests.items()]
        part = self._file.with_suffix(".part")
        try:
            part.write_text(json.dumps({"requests": requests, "seconds": self._seconds}))
            part.replace(self._file)
        except OSError as error:
            log.warning("metrics: this worker's requests are not counted by the others: %s", error)
            self._file = None

    def whole(self) -> tuple[Counted, dict[str, float]]:
        """Requests, and seconds by route, of all workers: of those that ended too, so that no counter falls."""
        requests, seconds = Counter(self._requests), Counter(self._seconds)
        for found in self._others():
            for *labels, count in found["requests"]:
                requests[labels[0], labels[1], labels[2]] += count
            seconds.update(found["seconds"])
        return requests, dict(seconds)

    def _others(self) -> Iterator[Any]:
        if self._file is None:
            return
        for path in sorted(self._file.parent.glob("*.json")):
            if path != self._file:
                with suppress(OSError, ValueError):  # it was just removed with its server
                    yield json.loads(path.read_text())
