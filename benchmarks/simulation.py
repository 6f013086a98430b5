"""What following a million open batches asks of the providers, and how soon an ending is known: in compressed time.

python benchmarks/simulation.py [--open 1000000] [--accounts 50] [--minutes 30] [--sample 1]

The tracker's own schedule and window cover decide (`next_look`, `Sweep.cover`); only provider, ledger and clock are
made up. Every account is alike, so a sample of them is run and the requests are multiplied. Durations are an
assumption: a quarter of the batches take about 10 minutes, 45 % 1.5 hours, a quarter 6 hours, and 5 % run to their
expiry at 24 hours; the last 90 seconds on average show as `finalizing`.
"""

import argparse
import asyncio
import heapq
import json
import random
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchmeter.ledger.port import Claim, Submission, TrackedBatch
from batchmeter.models import Batch, Page
from batchmeter.providers import Capabilities
from batchmeter.tracking.options import DEFAULTS
from batchmeter.tracking.schedule import BACKGROUND, Pace, Random, in_step, next_look
from batchmeter.tracking.sweep import Sweep

DAY = 86_400.0
MEAN_SECONDS = 3.9 * 3600
REQUEST_SECONDS = 0.15
"""One answer's time; looks go eight at a time, lists one after another."""
BURST = 8
"""Batches created together, on average."""
WEBHOOK_SECONDS = 2.0
WEBHOOK_LOSS = 0.01


@dataclass(slots=True)
class Life:
    """One batch, as the provider knows it."""

    id: str
    created: float
    closing: float
    ended: float
    next: float = 0.0
    settled: bool = False

    def seen(self, now: float) -> Batch:
        status = "completed" if now >= self.ended else "finalizing" if now >= self.closing else "in_progress"
        return Batch.model_construct(
            id=self.id, status=status, created_at=int(self.created), expires_at=int(self.created + DAY)
        )


def duration(chance: random.Random) -> float:
    kind = chance.random()
    if kind < 0.05:
        return DAY + chance.uniform(0, 300)
    median = 600.0 if kind < 0.30 else 5400.0 if kind < 0.75 else 21_600.0
    return min(max(chance.lognormvariate(0, 0.5) * median, 60.0), DAY)


def births(chance: random.Random, rate: float, start: float, end: float) -> list[float]:
    times: list[float] = []
    at = start
    while at < end:
        at += chance.expovariate(rate / BURST)
        times += [at + number * 0.3 for number in range(min(int(chance.expovariate(1 / BURST)) + 1, 50))]
    return sorted(times)


@dataclass
class Account:
    """A provider account, its ledger, and its lane: as much of each as the sweep asks for."""

    account: str
    lives: list[Life]
    now_s: float = 0.0
    pace: Pace = BACKGROUND
    capabilities: Capabilities = field(default_factory=Capabilities)
    lists: int = 0
    looks: int = 0
    by_id: dict[str, Life] = field(init=False)
    order: list[tuple[float, str]] = field(init=False)
    due: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    waits: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        self.by_id = {life.id: life for life in self.lives}
        self.order = [(life.created, life.id) for life in self.lives]

    # the provider

    def page(self, after: str | None) -> Page[Batch]:
        end = bisect_left(self.order, (self.now_s, "~"))
        if after is not None:
            end = bisect_left(self.order, (self.by_id[after].created, after))
        found = self.lives[max(end - 100, 0) : end][::-1]
        return Page[Batch].model_construct(data=[life.seen(self.now_s) for life in found], has_more=end > 100)

    # the follower and the lane

    async def look_at_many(self, provider: object, after: str | None) -> Page[Batch]:
        self.lists += 1
        return self.page(after)

    @property
    def ledger(self) -> "Account":
        return self

    @property
    def budget(self) -> "Account":
        return self

    async def take(self) -> None: ...

    def worked(self) -> None: ...

    # the ledger

    def now(self) -> int:
        return int(self.now_s * 1000)

    async def observe(self, account: str, batch: Batch) -> Any:
        life = self.by_id[batch.id]
        if life.settled:
            return None
        self.settle(life)
        return replace(self.tracked(life), settled_at=self.now())

    async def put_off(self, account: str, looks: Collection[tuple[str, int]]) -> int:
        for batch_id, at in looks:
            life = self.by_id[batch_id]
            if not life.settled and life.next > self.now_s:
                life.next = max(life.next, at / 1000)
        return len(looks)

    def look_together(self, account: str, batch: Batch, draw: Random) -> int:
        return round(in_step(self.now_s + next_look(batch, self.now_s, draw, self.pace), account, self.pace) * 1000)

    def tracked(self, life: Life) -> TrackedBatch:
        return TrackedBatch(Submission(self.account, "openai"), life.seen(self.now_s), 0, int(life.next * 1000))

    def settle(self, life: Life) -> None:
        life.settled = True
        self.waits.append(self.now_s - life.ended)

    def plan(self, life: Life, at: float) -> None:
        life.next = at
        heapq.heappush(self.due, (at, life.id))

    def take_due(self, most: int) -> list[Life]:
        taken: dict[str, Life] = {}
        while self.due and len(taken) < most and self.due[0][0] <= self.now_s:
            _, name = heapq.heappop(self.due)
            life = self.by_id[name]
            if life.settled or name in taken:
                continue
            if life.next > self.now_s:  # put off meanwhile
                heapq.heappush(self.due, (life.next, name))
            else:
                taken[name] = life
        return list(taken.values())


@dataclass
class Policy:
    """How endings are looked for."""

    name: str
    pace: Pace = BACKGROUND
    cover: bool = True
    webhook: bool = False
    fixed: float | None = None
    """Seconds between two looks, whatever the batch's age."""


def population(chance: random.Random, open_now: int, seconds: float) -> list[Life]:
    rate = open_now / MEAN_SECONDS
    lives = []
    for number, created in enumerate(births(chance, rate, -1.1 * DAY, seconds)):
        ended = created + duration(chance)
        lives.append(Life(f"b{number:08}", created, ended - min(chance.expovariate(1 / 90), 600), ended))
    return lives


async def follow(policy: Policy, open_now: int, seconds: float, seed: int, warm: float) -> Account:
    """One account, from `-warm` on so that its windows have fallen into step, measured from 0."""
    chance = random.Random(seed)
    lives = population(chance, open_now, seconds)
    account = Account("a", lives, -warm, policy.pace)
    sweep: Any = Sweep(account, account, enabled=policy.cover)  # type: ignore[arg-type]
    coming = [life for life in lives if life.created > -warm]
    for life in lives:
        if life.created <= -warm:
            if life.ended <= -warm:
                life.settled = True
            else:
                account.plan(life, -warm + chance.uniform(0, wait_for(policy, life, -warm, chance)))
    hooks = sorted(
        (life.ended + chance.expovariate(1 / WEBHOOK_SECONDS), life.id)
        for life in lives
        if policy.webhook and not life.settled and chance.random() > WEBHOOK_LOSS
    )
    measured = False
    while account.now_s < seconds:
        if not measured and account.now_s >= 0:
            measured, account.lists, account.looks, account.waits = True, 0, 0, []
        while coming and coming[0].created <= account.now_s:
            life = coming.pop(0)
            account.plan(life, life.created + wait_for(policy, life, life.created, chance))
        while hooks and hooks[0][0] <= account.now_s:
            account.plan(account.by_id[hooks.pop(0)[1]], account.now_s)
        account.now_s += await serve(policy, account, sweep, chance)
    return account


def wait_for(policy: Policy, life: Life, now: float, chance: random.Random) -> float:
    if policy.fixed is not None:
        return policy.fixed * chance.uniform(0.95, 1.05)
    return next_look(life.seen(now), now, chance.random, policy.pace)


async def serve(policy: Policy, account: Account, sweep: Any, chance: random.Random) -> float:
    """One round of the tracker; returns how long it took."""
    taken = account.take_due(DEFAULTS.block)
    if not taken:
        return 0.25
    claims: Sequence[Claim] = [Claim(account.tracked(life), 0, 0) for life in taken]
    before = account.lists
    draw = chance.random()
    seen = await sweep.cover(account, account, claims, lambda: draw)
    single = [life for life in taken if life.id not in seen]
    account.looks += len(single)
    for life in taken:
        if account.now_s >= life.ended:
            account.settle(life)
        elif life.id in seen and policy.fixed is None:
            account.plan(life, account.look_together("a", life.seen(account.now_s), lambda: draw) / 1000)
        else:
            account.plan(life, account.now_s + wait_for(policy, life, account.now_s, chance))
    return max((account.lists - before + len(single) / 8) * REQUEST_SECONDS, 0.05)


def swept(open_now: int, every: float, seconds: float, seed: int) -> Account:
    """The whole list of a day, again and again."""
    lives = population(random.Random(seed), open_now, seconds)
    account = Account("a", lives)
    for at in range(int(every), int(seconds) + 1, int(every)):
        account.now_s = float(at)
        account.lists += sum(at - DAY - 900 < life.created <= at for life in lives) // 100 + 1
        for life in lives:
            if not life.settled and life.ended <= at:
                life.settled = True
                if life.ended > at - every:
                    account.waits.append(at - life.ended)
    return account


POLICIES = (
    Policy("poll each, every 60 s", cover=False, fixed=60),
    Policy("poll each, every 300 s", cover=False, fixed=300),
    Policy("poll each, adaptive", cover=False),
    Policy("ours", cover=True),
    Policy("ours + webhook, 1 % lost", webhook=True),
)
SWEEPS = (60.0, 300.0)


def report(name: str, accounts: list[Account], options: argparse.Namespace) -> dict[str, Any]:
    seconds, factor = options.minutes * 60, options.accounts / len(accounts)
    waits = sorted(wait for account in accounts for wait in account.waits)
    return {
        "policy": name,
        "requests_per_s": round(sum(a.lists + a.looks for a in accounts) * factor / seconds, 1),
        "lists_per_s": round(sum(a.lists for a in accounts) * factor / seconds, 1),
        "p50_s": round(waits[len(waits) // 2], 1),
        "p90_s": round(waits[int(len(waits) * 0.9)], 1),
        "p99_s": round(waits[int(len(waits) * 0.99)], 1),
        "endings": len(waits),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm", type=float, default=20, help="minutes simulated before the measurement")
    parser.add_argument("--sample", type=int, default=1, help="accounts that are run")
    parser.add_argument("--only", help="part of a policy's name")
    options = parser.parse_args()
    each, seconds = options.open // options.accounts, options.minutes * 60
    for policy in POLICIES:
        if (options.only or "") in policy.name:
            runs = [
                asyncio.run(follow(policy, each, seconds, seed, options.warm * 60)) for seed in range(options.sample)
            ]
            print(json.dumps(report(policy.name, runs, options)), flush=True)
    for every in SWEEPS:
        name = f"list everything, every {every:.0f} s"
        if (options.only or "") in name:
            print(json.dumps(report(name, [swept(each, every, seconds, 0)], options)), flush=True)


if __name__ == "__main__":
    main()
