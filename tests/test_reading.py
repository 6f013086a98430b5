"""How much of the code a reader has to follow to understand one batch: the files it enters, and how often it changes file."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from batchmeter import AsyncClient

ROOT = Path(__file__).parent.parent
COUNTED = tuple(f"{ROOT / folder}/" for folder in ("core", "plugins", "providers"))
NOT_COUNTED = "batchmeter_sandbox"
FILES, CHANGES = 40, 250
"""The bar. Where a change of code makes them more, read the story aloud before raising them."""
REQUEST = (
    b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
    b'"body":{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}}\n'
)


class Reading:
    """The functions that were entered in the event loop's thread, in the order of time.

    A coroutine that goes on after an await is not entered again; comprehensions and lambdas belong to their function,
    and module bodies to the import.
    """

    def __init__(self) -> None:
        self.entered: list[str] = []
        self._frames: set[FrameType] = set()

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(COUNTED) or NOT_COUNTED in code.co_filename:
            return
        if code.co_name.startswith("<") or frame in self._frames:
            return
        self._frames.add(frame)  # kept, so that no later frame has its identity
        self.entered.append(str(Path(code.co_filename).relative_to(ROOT)))

    @contextmanager
    def going_on(self) -> Iterator[None]:
        before: Any = sys.getprofile()
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    @property
    def files(self) -> set[str]:
        return set(self.entered)

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        return Counter(pair for pair in pairwise(self.entered) if pair[0] != pair[1])


async def test_one_batch_is_read_in_few_files(tmp_path, monkeypatch):
    """From `batches.create` through its settlement to the file logger's two lines, with the client's own loops.

    Everything counts: the first batch of its process, idle rounds of the deliverer included.
    """
    monkeypatch.chdir(tmp_path)
    lines = tmp_path / "events.jsonl"
    settings = tmp_path / "batchmeter.toml"
    settings.write_text(
        f'[plugins.file]\npath = "{lines}"\n[accounts.sandbox]\nprovider = "sandbox"\nspeed = 1000000000\n'
    )
    async with AsyncClient(config=settings, ledger="ledger.db", track=False, environ={}) as client:
        file = await client.files.create(file=("in.jsonl", REQUEST), custom_llm_provider="sandbox")
        parts = await client.ready()
        reading = Reading()
        with reading.going_on():
            made = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="sandbox"
            )
            settlement = await client.batches.wait(made.id, custom_llm_provider="sandbox")
            await parts.deliverer.drain(5)
        assert settlement.request_counts.succeeded == 1
    assert ["acreate_batch" in line for line in lines.read_text().splitlines()] == [True, False]
    assert {"core/batchmeter/submit.py", "core/batchmeter/tracker/poller.py"} < reading.files, "it is counted"
    changes = reading.changes
    assert len(reading.files) <= FILES, sorted(reading.files)
    assert changes.total() <= CHANGES, changes.most_common(20)
