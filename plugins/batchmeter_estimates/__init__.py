"""Estimates: an input's requests are counted as it is uploaded, and priced before its batch is submitted.

On by default. It counts only where a plugin has `before_submit`; `batchmeter.inputs` has the rules and the arithmetic.
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchmeter.host import Estimate, EstimateQuery, PluginHost, UploadInfo, UploadReader
    from batchmeter.inputs.estimate import History

FRESH = 600_000
"""Milliseconds for which an account's history is believed."""
DAY = 86_400_000
SPAN = 90 * DAY
"""Milliseconds of settled batches that make the history."""
_FEW = 8
"""Models that are priced on the event loop: a millisecond."""


class Estimates:
    """The plugin of one client."""

    def __init__(self) -> None:
        self._host: PluginHost | None = None
        self._histories: dict[str, tuple[int, dict[str, History]]] = {}

    @hookimpl
    def startup(self, host: "PluginHost") -> None:
        self._host = host

    @hookimpl
    def read_upload(self, upload: "UploadInfo") -> "UploadReader | None":
        from batchmeter.inputs.sizes import SizePass  # noqa: PLC0415 - only where somebody asks

        wanted = upload.guarded and upload.purpose in (None, "batch")
        return SizePass(upload.prices.boundaries) if wanted else None

    @hookimpl
    async def estimate_batch(self, query: "EstimateQuery") -> "Estimate | None":
        import asyncio  # noqa: PLC0415 - every command line loads this module

        import msgspec  # noqa: PLC0415 - as above

        from batchmeter.inputs.estimate import InputSizes, estimate_at  # noqa: PLC0415 - as above

        try:
            sizes = InputSizes.from_json(query.document)
        except msgspec.DecodeError:  # another plugin's text
            return None
        history = await self._history(query.provider.account, query.provider.name)

        def price() -> "Estimate":
            return estimate_at(query.provider, sizes, query.prices, history=history, ask=query.ask)

        return price() if len(sizes.models) <= _FEW else await asyncio.to_thread(price)

    async def _history(self, account: str, provider: str) -> "Mapping[str, History]":
        from batchmeter.inputs.estimate import histories  # noqa: PLC0415 - as above

        if self._host is None:
            return {}
        now = self._host.now()
        known = self._histories.get(account)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        since = max(now - SPAN, 0) // DAY * DAY  # whole days are summed already
        rows = await self._host.spend(("model",), since=since, where={"account": account})
        found = histories(rows, provider)
        self._histories[account] = now, found
        return found
