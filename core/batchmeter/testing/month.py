"""A month of batches in a ledger: several accounts and teams, mixed models, failures, unknown costs, a late one, open ones."""

import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchmeter.config import Settings
from batchmeter.errors import SettlementError
from batchmeter.faces.client import AsyncClient
from batchmeter.ledger import open_ledger
from batchmeter.models import Attribution

from .sandbox import Sandbox, manual_clock, serve_sandbox

if TYPE_CHECKING:
    from batchmeter_sandbox import ManualClock

DAYS = 30
DAY_SECONDS = 86_400
MODELS = ("gpt-5", "gpt-5-mini", "o4-mini", "gpt-4.1-mini", "gpt-4o-mini", "house-llama-70b")
"""Nobody prices the last."""
WEIGHTS = (6, 5, 3, 3, 4, 1)
TEAMS = ("search", "support", "growth", "research", "catalog", "risk")
ACCOUNTS = ("openai", "eu-west", "research-org")
TOKENS = "tokens=40"
"""Prompts of a few thousand tokens, from small files."""
FATES = ("", "", "", "", "fail=0.05", "no_usage=3", "outcome=expired", "outcome=failed")
CHAT = "/v1/chat/completions"
_OPEN = 4
_LAST_SECONDS = 60 + 1400 + 700
"""From the first submission of the last day until now."""
_ENDS = (1460, 40_000, 45_000)
"""Seconds from look to look: ended, past the limit of those that expire."""


@dataclass(frozen=True, slots=True)
class Month:
    """The ledger that was filled, with the vendor that its batches came from still there."""

    client: AsyncClient
    sandbox: Sandbox
    clock: "ManualClock"


@asynccontextmanager
async def month(folder: Path, *, ends: float | None = None, days: int = DAYS, port: int = 0) -> AsyncGenerator[Month]:
    """`folder/ledger.db`, filled up to `ends` (epoch seconds; now): the same batches each time, whatever the day."""
    clock, choice = manual_clock(), random.Random(7)  # noqa: S311 - a story, not secrets
    clock.now = (time.time() if ends is None else ends) - (days - 1) * DAY_SECONDS - _LAST_SECONDS
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(serve_sandbox(speed=1, clock=clock, mixed_models=True, port=port))
        client = await stack.enter_async_context(_client(folder, sandbox, clock))
        story = _Story(client, clock, choice)
        begins = clock.now
        for day in range(days):
            clock.now = begins + day * DAY_SECONDS
            await story.day(last=day == days - 1, late=day == days - 2)
        yield Month(client, sandbox, clock)


def settings_of(folder: Path, sandbox: Sandbox) -> dict[str, object]:
    """As batchmeter.toml has them."""
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "any", "max_retries": 0}
    return {
        "ledger": str(folder / "ledger.db"),
        "track": False,
        "accounts": dict.fromkeys(ACCOUNTS, account),
        "plugins": {"file": {"path": str(folder / "events.jsonl")}},
    }


def _client(folder: Path, sandbox: Sandbox, clock: "ManualClock") -> AsyncClient:
    ledger = open_ledger(str(folder / "ledger.db"), clock=lambda: int(clock.now * 1000))
    settings = Settings.model_validate({**settings_of(folder, sandbox), "proxy": {"freshness": 0}, "load": ("file",)})
    return AsyncClient(settings=settings, ledger=ledger)


@dataclass(slots=True)
class _Story:
    client: AsyncClient
    clock: "ManualClock"
    choice: random.Random

    async def day(self, *, last: bool, late: bool) -> None:
        """A few batches from creation to settlement; on the last day some stay open, on the one before one is forgotten."""
        if late:
            forgotten = await self._submit(("gpt-5",), 1200, "")
            self.clock.advance(700)
            await self._look([forgotten])
        made = [await self._any() for _ in range(1 if last else self.choice.randint(1, 5))]
        for seconds in _ENDS[:1] if last else _ENDS:
            self.clock.advance(seconds)
            made = await self._look(made)
        if last:
            opened = [await self._submit((self.choice.choice(MODELS[:5]),), 900, "") for _ in range(_OPEN)]
            self.clock.advance(700)
            await self._look(opened)

    async def _look(self, batch_ids: list[str]) -> list[str]:
        """Returns those that go on."""
        going_on: list[str] = []
        for batch_id in batch_ids:
            batch = await self.client.batches.retrieve(batch_id)
            if not batch.ended:
                going_on.append(batch_id)
                continue
            with suppress(SettlementError):
                await self.client.batches.wait(batch_id, timeout=5)
        return going_on

    async def _any(self) -> str:
        mixed = self.choice.random() < 0.2  # noqa: PLR2004 - a fifth
        models = tuple(self.choice.choices(MODELS, WEIGHTS, k=3 if mixed else 1))
        return await self._submit(models, self.choice.randint(20, 90), self.choice.choice(FATES))

    async def _submit(self, models: tuple[str, ...], count: int, fate: str) -> str:
        account = self.choice.choice(ACCOUNTS)
        file = await self.client.files.create(
            file=("in.jsonl", _lines(models, count)), purpose="batch", custom_llm_provider=account
        )
        job = {"job": f"nightly-{self.choice.randint(1, 9)}"}
        batch = await self.client.batches.create(
            input_file_id=file.id,
            endpoint=CHAT,
            completion_window="24h",
            custom_llm_provider=account,
            metadata={**job, "sandbox": f"{fate} {TOKENS}".strip()},
            attribution=Attribution(team=self.choice.choice(TEAMS), user="ada", tags=("nightly",)),
        )
        return batch.id


def _lines(models: tuple[str, ...], count: int) -> bytes:
    text = "Sum this up. " * 40
    rows = [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {
                "model": models[number % len(models)],
                "messages": [{"role": "user", "content": text}],
                "max_tokens": 400,
            },
        }
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
