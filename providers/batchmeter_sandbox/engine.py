"""The sandbox itself: files, batches and single answers as OpenAI gives them, on a clock that can run fast."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchmeter.inputs import OPENAI

from . import checks
from .answers import answer
from .batches import Batches
from .files import Files
from .folder import Folder
from .records import Records
from .results import Totals
from .script import Fault, Faults, Script
from .tokens import Dice


class Engine:
    """One organisation at a provider of our own.

    At `speed` 1 a batch takes 22 minutes, at 300 (the default) 4.5 seconds. The times it reports are real ones, so a
    fast batch ends within seconds of its creation. The same `seed` gives the same ids and the same answers. `max_bytes` is
    what its files may take together; with `mixed_models` one file may name several, as some compatible vendors allow.
    """

    def __init__(
        self,
        *,
        folder: str | Path | None = None,
        seed: int | None = None,
        speed: float = 300.0,
        script: Script | str = "",
        faults: Iterable[Fault | str] = (),
        max_bytes: int | None = None,
        mixed_models: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.faults = Faults()
        self.faults.add(*faults)
        self._seed = seed or 0
        self._clock = clock
        self._folder = Folder(folder, max_bytes)
        records = Records(self._folder, seed)
        records.refresh()
        fate = Script.parse(script) if isinstance(script, str) else script
        limits = replace(OPENAI, one_model=not mixed_models)
        self.batches = Batches(records, self._seed, speed, fate, clock, limits)
        self.files = Files(records, self.batches, clock)

    async def totals(self, batch_id: str) -> Totals:
        """The exact sums of an ended batch's files, for tests to compare."""
        return await self.batches.totals(batch_id)

    def answer(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a call outside a batch."""
        checks.body(endpoint, body)
        return answer(endpoint, body, Dice(self._seed, repr(sorted(body.items()))), int(self._clock()))

    def close(self) -> None:
        """Removes its folder, unless one was given."""
        self._folder.close()
