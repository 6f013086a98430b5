"""Following a million open batches in compressed time: requests to the providers, and how soon an ending is known.

python benchmarks/simulation.py [--open 1000000] [--accounts 50] [--minutes 20] [--warm 10] [--sample 2]

The tracker's own parts decide (`next_look`, `ListPolling.cover`, histories, hints, an account's lane and budget); only
provider, ledger and clock are made up. Every account is alike, so a sample of them is run and the requests are
multiplied. Durations are an assumption: a quarter of the batches take about 10 minutes, 45 % 1.5 hours, a quarter
6 hours, and 5 % run to their expiry at 24 hours; the last 90 seconds on average show as `finalizing`. Which kind a
batch is, nobody can tell beforehand. Histories begin with 512 earlier durations.

The bar: at equal requests a second, ours is within 1.2x of the best of the other policies, for the median and for the
99th percentile of the time from an ending until it is known, each against whichever is best at that. Every other
policy has one knob, how long it waits; it is turned until its requests a second are ours (two runs, and interpolation
between them). They are: asking for each batch at a fixed pace; for each, at a pace that follows its age; listing
everything at a fixed pace; the window cover at a fixed pace; and the window cover by age, as it was before there were
histories. With webhooks, of which 1 % are lost, ours may make 1.2x the requests of listing everything every 15 minutes
and asking once about each ending, and its median is within 1.2x of the webhook's own. Exits with 1 on a miss.
"""

import argparse
import asyncio
import heapq
import json
import random
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import log
from typing import Any

from batchmeter.ledger.records import Claim, Submission, TrackedBatch
from batchmeter.models import Batch, Page
from batchmeter.providers import Capabilities
from batchmeter.rounds.durations import durations_of
from batchmeter.rounds.list_polling import ListPolling
from batchmeter.tracker.account_state import AccountState, Budget
from batchmeter.tracker.schedule import BACKGROUND, DEFAULTS, Pace, Timetable

DAY = 86_400.0
START = 1000 * DAY
"""When the measurement begins."""
MEAN_SECONDS = 3.9 * 3600
REQUEST_SECONDS = 0.15
"""One answer's time; `looks` of an account are under way at once."""
BURST = 8
"""Batches created together, on average."""
WEBHOOK_SECONDS = 2.0
WEBHOOK_LOSS = 0.01
SAFETY_SECONDS = 900.0
BAR = 1.2
HISTORY = 512
APART = 1.15
"""By how much the second run's requests a second lie beyond ours, seen from the first: between the two is ours."""


ANY = Batch.model_construct(id="any")


@dataclass(slots=True)
class Life:
    """One batch, as the provider knows it."""

    id: str
    created: float
    closing: float
    ended: float
    next: float = 0.0
    settled: bool = False
    kept: Batch | None = None
    """The ledger's copy of it: as it was at its last look."""

    shown: Batch | None = None
    """Made once for each status."""

    def seen(self, now: float) -> Batch:
        over = now >= self.ended
        status = "completed" if over else "finalizing" if now >= self.closing else "in_progress"
        if self.shown is None or self.shown.status != status:
            own = {"id": self.id, "status": status, "completed_at": int(self.ended) if over else None}
            own |= {"created_at": int(self.created), "expires_at": int(self.created + DAY)}
            self.shown = ANY.model_copy(update=own)
        return self.shown


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


def population(chance: random.Random, open_now: int, seconds: float) -> list[Life]:
    rate = open_now / MEAN_SECONDS
    lives = []
    for number, created in enumerate(births(chance, rate, START - 1.1 * DAY, START + seconds)):
        ended = created + duration(chance)
        lives.append(Life(f"b{number:08}", created, ended - min(chance.expovariate(1 / 90), 600), ended))
    return lives


@dataclass(frozen=True)
class Policy:
    """How endings are looked for."""

    name: str
    pace: Pace = BACKGROUND
    cover: bool = True
    history: bool = False
    webhook: bool = False

    def slower(self, factor: float) -> "Policy":
        pace = self.pace
        stretched = replace(
            pace,
            age_share=pace.age_share * factor,
            shortest=pace.shortest * factor,
            longest=pace.longest * factor,
            closing=pace.closing * factor,
            after_deadline=pace.after_deadline * factor,
        )
        return replace(self, pace=stretched)


@dataclass
class Account:
    """A provider's account, and the ledger: as much of each as the tracker's parts ask for."""

    lives: list[Life]
    now_s: float = 0.0
    account: str = "a"
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

    async def list_batches(self, *, after: str | None, limit: int, options: object) -> Page[Batch]:
        self.lists += 1
        end = bisect_left(self.order, (self.now_s, "~"))
        if after is not None:
            end = bisect_left(self.order, (self.by_id[after].created, after))
        found = self.lives[max(end - limit, 0) : end][::-1]
        return Page[Batch].model_construct(data=[life.seen(self.now_s) for life in found], has_more=end > limit)

    # the ledger

    def now(self) -> int:
        return int(self.now_s * 1000)

    async def observe_endings(self, account: str, ended: Sequence[Batch]) -> set[str]:
        unsettled = {batch.id for batch in ended if not self.by_id[batch.id].settled}
        for batch_id in sorted(unsettled):
            self.settle(self.by_id[batch_id])
        return unsettled

    async def put_off(self, account: str, looks: Collection[tuple[str, int]], *, began: int) -> int:
        for batch_id, at in looks:
            life = self.by_id[batch_id]
            if not life.settled and (life.next > self.now_s or life.next < began / 1000):
                life.next = max(life.next, at / 1000)
        return len(looks)

    def tracked(self, life: Life) -> TrackedBatch:
        batch = life.kept or life.seen(life.created)
        return TrackedBatch(Submission(self.account, "openai"), batch, 0, int(life.next * 1000))

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

    # the clock

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Tracker:
    """One account's tracker, from `start` on."""

    def __init__(self, policy: Policy, account: Account, chance: random.Random) -> None:
        self.account, self.chance = account, chance
        anything: Any = account
        self.provider = anything
        self.timetable = Timetable(account.now, chance.random, policy.pace)
        self.lists = ListPolling(anything, self.timetable) if policy.cover else None
        budget = Budget(lambda: account.now_s, account.sleep, most=DEFAULTS.requests_per_second)
        self.lane = AccountState(account.account, chance.random, budget)
        start, lives = account.now_s, account.lives
        if policy.history:
            earlier = [life.ended - life.created for life in lives if start - 7200 < life.ended <= start]
            durations = durations_of(self.timetable)
            for seconds in chance.sample(earlier, min(HISTORY, len(earlier))):
                durations.add(account.account, [], seconds)
        self.coming = deque(life for life in lives if life.created > start)
        told = (life for life in lives if policy.webhook and life.ended > start and chance.random() > WEBHOOK_LOSS)
        self.hooks = deque(sorted((life.ended + chance.expovariate(1 / WEBHOOK_SECONDS), life.id) for life in told))
        for life in lives:
            life.settled = life.ended <= start
            if life.created <= start < life.ended:
                wait = self.next_look(life, life.seen(start)) - start
                account.plan(life, start + chance.uniform(0, wait))

    def next_look(self, life: Life, batch: Batch) -> float:
        return self.timetable.alone(self.account.account, batch, self.account.tracked(life).submission.model) / 1000

    async def round(self) -> None:
        account = self.account
        while self.coming and self.coming[0].created <= account.now_s:
            life = self.coming.popleft()
            account.plan(life, self.next_look(life, life.seen(life.created)))
        while self.hooks and self.hooks[0][0] <= account.now_s:
            life = account.by_id[self.hooks.popleft()[1]]
            if not life.settled:
                self.timetable.hints.note(account.account, life.id)
                account.plan(life, account.now_s)
        taken = account.take_due(DEFAULTS.block)
        before = account.lists + account.looks
        if taken:
            await self.serve(taken)
        account.now_s += max((account.lists + account.looks - before) / DEFAULTS.looks * REQUEST_SECONDS, 0.2)

    async def serve(self, taken: Sequence[Life]) -> None:
        account, draw = self.account, self.chance.random()
        claims = [Claim(account.tracked(life), 0, 0) for life in taken]
        seen = await self.lists.cover(self.lane, self.provider, claims, lambda: draw) if self.lists else {}
        for life in taken:
            batch = seen.get(life.id)
            if batch is None:
                await self.lane.budget.take()
                account.looks += 1
                batch = life.seen(account.now_s)
            life.kept = batch
            if batch.ended:
                self.timetable.found(account.account, batch)
                account.settle(life)
            elif life.id in seen:
                account.plan(life, self.timetable.listed(account.account, batch, lambda: draw) / 1000)
            else:
                account.plan(life, self.next_look(life, batch))


def follow(policy: Policy, open_now: int, seconds: float, seed: int, warm: float) -> Account:
    """One account, for as long as `warm` before it is measured, so that its windows have fallen into step."""
    chance = random.Random(seed)
    account = Account(population(chance, open_now, seconds), START - warm)
    tracker = Tracker(policy, account, chance)

    async def run() -> None:
        while account.now_s < START:
            await tracker.round()
        account.lists, account.looks, account.waits = 0, 0, []
        while account.now_s < START + seconds:
            await tracker.round()

    asyncio.run(run())
    return account


@cache
def swept(open_now: int, every: float, seconds: float, seed: int) -> Account:
    """The whole list of a day, again and again."""
    account = Account(population(random.Random(seed), open_now, seconds + every))
    for number in range(1, int(seconds / every) + 1):
        at = account.now_s = START + number * every
        account.lists += sum(at - DAY - 900 < life.created <= at for life in account.lives) // 100 + 1
        account.waits += [at - life.ended for life in account.lives if at - every < life.ended <= at]
    account.lists = round(account.lists * seconds / (account.now_s - START))  # whole sweeps only were run
    return account


def fixed(seconds: float) -> Pace:
    return Pace(age_share=0.0, shortest=seconds, longest=seconds, closing=seconds)


OURS = Policy("ours", history=True)
WITH_WEBHOOKS = Policy("ours, webhooks, 1 % lost", history=True, webhook=True)
OTHERS = (
    Policy("each, fixed pace", fixed(2400), cover=False),
    Policy("each, by age", Pace(age_share=0.4, shortest=600, longest=7200, closing=600), cover=False),
    Policy("cover, fixed pace", fixed(140)),
    Policy("cover, by age", Pace(age_share=0.06, shortest=22, longest=225, closing=15)),
)
SWEEPS = (60.0, 120.0, 300.0)


def report(name: str, accounts: list[Account], options: argparse.Namespace) -> dict[str, Any]:
    seconds, factor = options.minutes * 60, options.accounts / len(accounts)
    waits = sorted(wait for account in accounts for wait in account.waits)
    row = {
        "policy": name,
        "requests_per_s": round(sum(a.lists + a.looks for a in accounts) * factor / seconds, 1),
        "lists_per_s": round(sum(a.lists for a in accounts) * factor / seconds, 1),
        "p50_s": round(waits[len(waits) // 2], 1),
        "p90_s": round(waits[int(len(waits) * 0.9)], 1),
        "p99_s": round(waits[int(len(waits) * 0.99)], 1),
        "endings": len(waits),
    }
    print(json.dumps(row), flush=True)
    return row


def between(rows: Sequence[dict[str, Any]], rate: float, what: str) -> float:
    """Of the same policy at two paces, what it is at this rate (both are lines on logarithmic paper)."""
    one, two = sorted(rows, key=lambda row: abs(log(row["requests_per_s"] / rate)))[:2]
    span = log(two["requests_per_s"] / one["requests_per_s"])
    share = log(rate / one["requests_per_s"]) / span if span else 0.0
    return float(one[what] * (two[what] / one[what]) ** share)


def at_our_rate(options: argparse.Namespace, rate: float, run: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    each, seconds = options.open // options.accounts, options.minutes * 60
    yield (
        "list everything",
        [
            report(f"list everything, every {every:.0f} s", [swept(each, every, seconds, 0)], options)
            for every in SWEEPS
        ],
    )
    for policy in OTHERS:
        first = run(policy)
        beyond = 1 / APART if first["requests_per_s"] > rate else APART
        yield policy.name, [first, run(policy.slower(first["requests_per_s"] / (rate * beyond)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--warm", type=float, default=10, help="minutes simulated before the measurement")
    parser.add_argument("--sample", type=int, default=2, help="accounts that are run")
    parser.add_argument("--ours", action="store_true", help="only ours, without comparison")
    options = parser.parse_args()
    each, seconds = options.open // options.accounts, options.minutes * 60

    def run(policy: Policy) -> dict[str, Any]:
        seeds = range(options.sample)
        warm = max(options.warm * 60, policy.pace.longest * 1.2)
        runs = [follow(policy, each, seconds, seed, warm) for seed in seeds]
        return report(policy.name, runs, options)

    ours, hooked = run(OURS), run(WITH_WEBHOOKS)
    if not options.ours:
        sys.exit(not verdict(ours, hooked, options, run))


def verdict(ours: dict[str, Any], hooked: dict[str, Any], options: argparse.Namespace, run: Any) -> bool:
    rate, seconds = ours["requests_per_s"], options.minutes * 60
    others = dict(at_our_rate(options, rate, run))
    ratios = {}
    for what in ("p50_s", "p99_s"):
        known = {name: between(rows, rate, what) for name, rows in others.items()}
        best = min(known, key=lambda name: known[name])
        ratios[f"{what} / {best}"] = ours[what] / known[best]
        print(what, "at our rate:", ", ".join(f"{name} {value:.0f}" for name, value in known.items()))
    each = options.open // options.accounts
    safety = swept(each, SAFETY_SECONDS, max(seconds, SAFETY_SECONDS), 0).lists / max(seconds, SAFETY_SECONDS)
    endings = hooked["endings"] / options.sample / seconds
    ratios["webhook requests / list all every 15 min"] = hooked["requests_per_s"] / (
        (safety + endings) * options.accounts
    )
    ratios["webhook p50 / its own delay"] = hooked["p50_s"] / (WEBHOOK_SECONDS * log(2) + 0.2)
    for name, ratio in ratios.items():
        print(f"{ratio:5.2f}x {name}: {'within' if ratio <= BAR else 'MISSES'} {BAR}x")
    return all(ratio <= BAR for ratio in ratios.values())


if __name__ == "__main__":
    main()
