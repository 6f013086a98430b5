"""`focus_bill.py DIR`: a FOCUS 1.2 bill as Parquet of really metered batches, for the official validator."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ledger"))

from exports_world import fields_of, output, put

from batchmeter.access import Access
from batchmeter.ledger import open_ledger
from batchmeter_exports.focus import FocusOptions
from batchmeter_exports.focus_file import write_bill
from batchmeter_exports.span import span_of


class Clock:
    """Turned by `put`."""

    now = 0

    def __call__(self) -> int:
        return self.now


async def make(folder: Path) -> None:
    """One bill: two accounts, three models, owners and tags."""
    clock: Any = Clock()
    ledger = open_ledger(str(folder / "ledger.db"), clock=clock)
    await ledger.open()
    await put(ledger, clock, "b1", fields_of(output("gpt-5-mini")), team="search", tags=("a",))
    await put(ledger, clock, "b2", fields_of(output("gpt-5-mini", 2) + output("gpt-4o-mini", 1)), day="2026-11-30")
    await put(ledger, clock, "b3", fields_of(output("gpt-4.1-nano", 5)), account="other", day="2026-11-20")
    options = FocusOptions(span_of("2026-11", None, None), "1.2", form="parquet")
    await write_bill(Access(ledger), options, folder)
    await ledger.aclose()


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
