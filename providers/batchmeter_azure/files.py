"""Azure's rules for files: how long they may live, and that a batch has to wait for its input."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from batchmeter.errors import APIConnectionError, ProviderError, UsageError
from batchmeter.inputs import REQUIRED, InputLimits
from batchmeter.models import FileObject

LIMITS = InputLimits(lines=100_000, embedding_inputs=100_000 * 2048, endpoints=frozenset(REQUIRED))
"""Urls with and without `/v1`; no limit is known for embedding inputs but the 2,048 of one request."""
_DAY = 86_400
_SHORTEST, _LONGEST = 3 * _DAY, 30 * _DAY
_ON_ITS_WAY = frozenset({"pending", "uploaded", "running"})
_LOST = frozenset({"error", "deleting", "deleted"})
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


def check_expiry(argument: str, given: Mapping[str, Any] | None) -> None:
    """UsageError before anything is sent: Azure's own words for it name neither the argument nor the limits."""
    if given is None:
        return
    seconds = given.get("seconds")
    if not str(seconds).isdecimal() or not _SHORTEST <= int(str(seconds)) <= _LONGEST:
        raise UsageError(
            f"{argument}: Azure keeps files for 3 to 30 days: seconds must be {_SHORTEST} to {_LONGEST}, not {seconds!r}"
        )


async def wait_until_processed(
    look: Callable[[], Awaitable[FileObject]], *, seconds: float, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Returns once the file can be used; words that are not known count as usable, as a create will tell."""
    left, pause = seconds, _FIRST_PAUSE
    while (file := await _file_now(look)).status in _ON_ITS_WAY:
        if left <= 0:
            raise ProviderError(
                f"file {file.id} is still {file.status} after {seconds:g} s, so no batch was created; try again later"
            )
        await sleep(min(pause, left))
        left, pause = left - pause, min(pause * 2, _LONGEST_PAUSE)
    if file.status in _LOST:
        why = f": {file.status_details}" if file.status_details else ""
        raise UsageError(f"file {file.id} cannot be used, its status is {file.status}{why}; upload it again")


async def _file_now(look: Callable[[], Awaitable[FileObject]]) -> FileObject:
    try:
        return await look()
    except APIConnectionError as error:
        raise APIConnectionError(
            f"{error} (looking at the input file; no batch was created)", never_sent=True
        ) from error
