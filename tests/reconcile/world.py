"""A ledger of really metered batches, and a vendor's site that books them: usage and costs by day, with faults to order."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from batchmeter import meter
from batchmeter.events import (
    BatchFailed,
    BatchSucceeded,
    BatchTimes,
    Outcome,
    Settlement,
    Subscription,
    event_id,
    register_event,
)
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Submission
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.testing.wire import Answer, Received
from batchmeter.tracker.build_events import created_event
from batchmeter_reconcile import Reconcile, ReconcileSettings, register_events
from batchmeter_reconcile.reconciler import Reconciler, Request

MINI, NANO, CLAUDE = "gpt-5-mini-2025-08-07", "gpt-4.1-nano-2025-04-14", "claude-haiku-4-5-20251001"
ADMIN = "sk-admin-0123456789abcdef"
DAY = timedelta(days=1)
KINDS = {"uncached_input": "input", "cached_input": "cached input", "output": "output"}


@dataclass
class Clock:
    now: int = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp() * 1000)

    def __call__(self) -> int:
        return self.now


def at(text: str) -> datetime:
    """`11-03 23:30` of 2026."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def output(model: str, lines: int, tokens: int, cached: int, answer: int, failed: int = 0) -> bytes:
    """A batch's output: each line has so many tokens."""
    usage = {
        "prompt_tokens": tokens,
        "completion_tokens": answer,
        "total_tokens": tokens + answer,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    body = {"object": "chat.completion", "model": model, "usage": usage}
    rows: list[dict[str, Any]] = [
        {"id": f"x{n}", "custom_id": f"c{n}", "response": {"status_code": 200, "body": body}, "error": None}
        for n in range(lines)
    ]
    rows += [
        {"id": f"f{n}", "custom_id": f"f{n}", "response": None, "error": {"code": "server_error", "message": "no"}}
        for n in range(failed)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass(frozen=True)
class Booked:
    """One booking there: a batch's share of a day, or other traffic."""

    day: date
    model: str
    fresh: int
    cached: int
    output: int
    requests: int
    usd: dict[str, Decimal] = field(default_factory=dict[str, Decimal], compare=False)
    """Kind -> amount."""
    project: str = "proj_a"
    key: str = "key_a"
    batch: bool = True


@dataclass
class Site:
    """The vendor. `faults` are those of the reference, by name."""

    books: list[Booked] = field(default_factory=list[Booked])
    faults: set[str] = field(default_factory=set[str])
    received: list[Received] = field(default_factory=list[Received])
    currency: str = "usd"
    prefix: str = "batch | "
    """Words before a batch's line item; empty where the vendor does not tell batches apart."""
    status: dict[str, int] = field(default_factory=dict[str, int])
    """Beginning of a path -> the status that it is refused with."""
    buckets: int = 31
    """Buckets of a page at most."""
    refused: int = 0

    def book(self, one: Booked) -> None:
        self.books.append(one)

    def shown(self) -> list[Booked]:
        """The books as the faults show them."""
        books = self.books
        if "late" in self.faults:
            newest = max(one.day for one in books)
            books = [one for one in books if one.day < newest]
        if "split_midnight" in self.faults:
            books = [part for one in books for part in _split(one)]
        if "rate" in self.faults:
            books = [replace(one, usd={kind: 2 * usd for kind, usd in one.usd.items()}) for one in books]
        return books

    async def __call__(self, request: Received) -> Answer:
        self.received.append(request)
        refusal = next((code for path, code in self.status.items() if request.path.startswith(path)), None)
        if refusal is not None:
            return _json({"error": {"message": f"no ({ADMIN})", "code": "x"}}, refusal)
        if "429" in self.faults and self.refused < 2:
            self.refused += 1
            return Answer(429, b'{"error": {"message": "slow down"}}', {"retry-after": "0.01"})
        if request.path.endswith("/Microsoft.CostManagement/query"):
            return self._azure(request)
        if request.path.startswith("/v1/organizations/"):
            return self._anthropic(request)
        if request.headers.get("authorization") != f"Bearer {ADMIN}":
            return _json({"error": {"message": "You need an admin key"}}, 401)
        query = {name.removesuffix("[]"): values for name, values in parse_qs(urlsplit(request.target).query).items()}
        reports = {"completions": self._usage, "embeddings": self._embeddings, "moderations": lambda *_: iter(())}
        return self._paged(query, reports.get(request.path.rpartition("/")[2], self._costs))

    def _paged(self, query: dict[str, list[str]], results: Any) -> Answer:
        """Buckets of days; an empty day has no results."""
        first, last = (datetime.fromtimestamp(int(query[name][0]), UTC).date() for name in ("start_time", "end_time"))
        days = [first + DAY * number for number in range((last - first).days)]
        place = int(query.get("page", ["0"])[0])
        size = min(int(query["limit"][0]), self.buckets)
        shown = days[place : place + size]
        more = place + size < len(days)
        data = [
            {
                "object": "bucket",
                "start_time": _seconds(day),
                "end_time": _seconds(day + DAY),
                "results": list(results(day, query)),
            }
            for day in shown
        ]
        page = {"object": "page", "data": data, "has_more": more, "next_page": str(place + size) if more else None}
        return _json(page)

    def _of_day(self, day: date, query: dict[str, list[str]]) -> list[Booked]:
        chosen = [one for one in self.shown() if one.day == day]
        if projects := query.get("project_ids"):
            chosen = [one for one in chosen if one.project in projects]
        return [one for one in chosen if one.key in query.get("api_key_ids", [one.key])]

    def _usage(self, day: date, query: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
        for one in self._of_day(day, query):
            if (query.get("batch") == ["true"] and not one.batch) or "embedding" in one.model:
                continue
            known = "null_fields" not in self.faults
            yield {
                "object": "organization.usage.completions.result",
                "input_tokens": one.fresh + one.cached,
                "output_tokens": one.output,
                "num_model_requests": one.requests,
                "input_cached_tokens": one.cached if known else None,
                "input_uncached_tokens": one.fresh if known else None,
                "model": one.model,
                "batch": one.batch if known else None,
                "project_id": one.project if "project_id" in query["group_by"] else None,
                "api_key_id": one.key if "api_key_id" in query["group_by"] else None,
            }

    def _embeddings(self, day: date, query: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
        """Usage without a batch flag."""
        for one in self._of_day(day, query):
            if "embedding" in one.model:
                yield {
                    "input_tokens": one.fresh,
                    "num_model_requests": one.requests,
                    "model": one.model,
                    "project_id": one.project,
                }

    def _costs(self, day: date, query: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
        for one in self._of_day(day, query):
            prefix = self.prefix if one.batch else ""
            for kind, usd in one.usd.items():
                yield self._cost(f"{prefix}{one.model}, {KINDS[kind]}", usd)
                if "credit" in self.faults:
                    yield self._cost(f"{prefix}{one.model}, {KINDS[kind]}", usd)
                    yield self._cost(f"{prefix}{one.model}, {KINDS[kind]}", -usd)
        if "unknown_item" in self.faults and day == self.books[0].day:
            yield self._cost("batch | quantum ponies", Decimal("1.25"))

    def _cost(self, item: str, usd: Decimal) -> dict[str, Any]:
        value: Any = _Literal(f"{usd:f}0000000000000004" if "float_noise" in self.faults else f"{usd:f}")
        amount = {"value": value, "currency": self.currency}
        return {"object": "organization.costs.result", "amount": amount, "line_item": item, "project_id": "proj_a"}

    # Anthropic
    def _anthropic(self, request: Received) -> Answer:
        if ADMIN not in (
            request.headers.get("x-api-key"),
            request.headers.get("authorization", "").removeprefix("Bearer "),
        ):
            return _json({"type": "error", "error": {"type": "authentication_error", "message": "no"}}, 401)
        query = {name.removesuffix("[]"): values for name, values in parse_qs(urlsplit(request.target).query).items()}
        first, last = (date.fromisoformat(query[name][0][:10]) for name in ("starting_at", "ending_at"))
        books = [one for one in self.shown() if first <= one.day < last]
        if "analytics" in request.path:
            rows = [
                row for one in books for row in (_cost_items(one) if "cost" in request.path else [_usage_item(one)])
            ]
            place = int(query.get("page", ["0"])[0])
            more = place + 3 < len(rows)
            return _json(
                {"data": rows[place : place + 3], "has_more": more, "next_page": str(place + 3) if more else None}
            )
        data = [{**_bounds(one), "results": _older(one, cost="cost" in request.path)} for one in books]
        return _json({"data": data, "has_more": False, "next_page": None})

    # Azure
    def _azure(self, request: Received) -> Answer:
        if request.headers.get("authorization") != f"Bearer {ADMIN}":
            return _json({"error": {"code": "AuthenticationFailed", "message": "no"}}, 401)
        period = json.loads(request.body)["timePeriod"]
        first, last = (date.fromisoformat(period[name][:10]) for name in ("from", "to"))
        rows = [row for one in self.shown() if first <= one.day <= last for row in self._meters(one)]
        second = "skiptoken" in request.target
        link = None if second else f"http://{request.headers['host']}{request.path}?api-version=x&skiptoken=2"
        columns = [
            {"name": name, "type": "x"}
            for name in ("UsageQuantity", "Cost", "UsageDate", "Meter", "ResourceId", "Currency")
        ]
        half = len(rows) // 2
        shown = rows[half:] if second else rows[:half]
        return _json({"properties": {"columns": columns, "rows": shown, "nextLink": link}})

    def _meters(self, one: Booked) -> Iterator[list[Any]]:
        words = {"uncached_input": "Inp", "cached_input": "cached Inp", "output": "Outp"}
        tokens = {"uncached_input": one.fresh, "cached_input": one.cached, "output": one.output}
        tier = "Batch " if one.batch else ""
        for kind, usd in one.usd.items():
            meter = f"{one.model} {tier}{words[kind]} glbl Tokens"
            quantity = _Literal(str(Decimal(tokens[kind]) / 1000))
            yield [
                quantity,
                _Literal(f"{usd:f}"),
                int(f"{one.day:%Y%m%d}"),
                meter,
                "/subscriptions/s/x/acct",
                self.currency.upper(),
            ]


class _Literal(float):
    """A JSON number with exactly these digits."""

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, float(text))
        made.text = text  # type: ignore[attr-defined]
        return made

    def __repr__(self) -> str:
        return self.text  # type: ignore[attr-defined,no-any-return]


def _json(body: Any, status: int = 200) -> Answer:
    text = _dumps(body)
    return Answer(status, text.encode(), {"content-type": "application/json"})


def _dumps(value: Any) -> str:
    if isinstance(value, _Literal):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_dumps(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_dumps(each) for each in value) + "]"
    return json.dumps(value)


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _split(one: Booked) -> list[Booked]:
    """A third of it is booked a day later."""
    moved = replace(
        one, day=one.day + DAY, fresh=one.fresh // 3, cached=one.cached // 3, output=one.output // 3,
        requests=one.requests // 3, usd={kind: usd / 4 for kind, usd in one.usd.items()},
    )  # fmt: skip
    kept = replace(
        one, fresh=one.fresh - moved.fresh, cached=one.cached - moved.cached, output=one.output - moved.output,
        requests=one.requests - moved.requests, usd={kind: usd - usd / 4 for kind, usd in one.usd.items()},
    )  # fmt: skip
    return [kept, moved]


def _bounds(one: Booked) -> dict[str, str]:
    return {"starting_at": f"{one.day}T00:00:00Z", "ending_at": f"{one.day + DAY}T00:00:00Z"}


def _group(one: Booked) -> dict[str, Any]:
    tier = "batch" if one.batch else "standard"
    return {"model": one.model, "service_tier": tier, "workspace_id": one.project, "api_key_id": one.key}


def _counters(one: Booked) -> dict[str, Any]:
    return {
        "uncached_input_tokens": one.fresh,
        "cache_read_input_tokens": one.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": one.output,
        "server_tool_use": {"web_search_requests": 0},
    }


def _usage_item(one: Booked) -> dict[str, Any]:
    total = one.fresh + one.cached + one.output
    return {
        **_bounds(one),
        "group": _group(one),
        "usage": {**_counters(one), "total_tokens": total, "requests": one.requests},
    }


_TYPES = {
    "uncached_input": "uncached_input_tokens",
    "cached_input": "cache_read_input_tokens",
    "output": "output_tokens",
}


def _cost_items(one: Booked) -> list[dict[str, Any]]:
    return [
        {
            **_bounds(one),
            "group": {**_group(one), "cost_type": "tokens", "token_type": _TYPES[kind]},
            "cost": {"amount": f"{usd * 100:f}", "list_amount": f"{usd * 200:f}", "currency": "USD", "requests": None},
        }
        for kind, usd in one.usd.items()
    ]


def _older(one: Booked, *, cost: bool) -> list[dict[str, Any]]:
    if not cost:
        return [{**_group(one), **_counters(one)}]
    return [
        {**_group(one), "cost_type": "tokens", "token_type": _TYPES[kind], "description": f"{one.model} {kind}",
         "amount": f"{usd * 100:f}", "currency": "USD"}
        for kind, usd in one.usd.items()
    ]  # fmt: skip


@dataclass
class World:
    """One process with the plugin, its ledger and the vendor."""

    ledger: Ledger
    clock: Clock
    folder: Path
    site: Site = field(default_factory=Site)
    plugins: Plugins = field(default_factory=Plugins)
    plugin: Reconcile = field(init=False)
    numbers: int = 0

    async def open(self, url: str = "", **sections: Any) -> "World":
        bill = {"admin_key": ADMIN, "base_url": f"{url}/v1", "source": "openai"} if url else {}
        settings = {"daily": False, "openai": bill, **sections}
        self.plugin = Reconcile(ReconcileSettings.model_validate(settings))
        register_events(register_event)
        self.plugins.register(self.plugin, "reconcile")
        await self.ledger.subscribe((Subscription("log", frozenset({"reconcile_drift"})),))
        await self.plugin.startup(ClientHost(self.plugins, self.ledger))
        return self

    @property
    def reconciler(self) -> Reconciler:
        return self.plugin.reconciler

    async def run(self, first: str = "11-01", last: str = "11-25", name: str = "openai", **how: Any) -> dict[str, Any]:
        request = Request(date.fromisoformat(f"2026-{first}"), date.fromisoformat(f"2026-{last}"), **how)
        return await self.reconciler.run(name, request)

    async def begin(
        self, begun: datetime, account: str = "openai", provider: str = "openai", endpoint: str = "/v1/chat/completions"
    ) -> Batch:
        """A batch that is under way."""
        self.numbers += 1
        batch = Batch(
            id=f"batch_{self.numbers}", status="in_progress", endpoint=endpoint,
            created_at=int(begun.timestamp()) - 60, in_progress_at=int(begun.timestamp()),
        )  # fmt: skip
        kept, self.clock.now = self.clock.now, int(begun.timestamp()) * 1000
        submission = Submission(account, provider)
        event = created_event(submission, batch, time=self.clock.now)
        await self.ledger.record_created(submission, batch, event, next_poll_at=self.clock.now)
        self.clock.now = kept
        return batch

    async def put(
        self, begun: str, ended: str, model: str = MINI, *, lines: int = 3, failed: int = 0, tokens: int = 100_000,
        account: str = "openai", provider: str = "openai", status: str = "completed", book: bool = True,
        endpoint: str = "/v1/chat/completions", **how: Any,
    ) -> Settlement:  # fmt: skip
        """A settled batch; `book`: the vendor books it, spread over the days that it ran on."""
        begin, end = at(begun), at(ended)
        batch = await self.begin(begin, account, provider, endpoint)
        cached, answer = tokens // 10, tokens // 4
        found = meter([output(model, lines, tokens, cached, answer, failed)], provider=provider, **how)
        kept, self.clock.now = self.clock.now, int(end.timestamp() + 60) * 1000
        claim = await self.ledger.claim(account, batch.id, owner="w", lease_seconds=60)
        assert claim is not None
        ended_batch = batch.model_copy(update={"status": status})
        about = {
            "account": account, "provider": provider, "batch_id": batch.id, "batch": ended_batch, "endpoint": endpoint,
        }  # fmt: skip
        settlement = Settlement(
            status=status, settled_at=datetime.fromtimestamp(self.clock.now / 1000, UTC),
            times=BatchTimes(created_at=begin, in_progress_at=begin, ended_at=end),
            request_counts=found.lines, usage=found.usage, cost=found.cost, models=found.models, rates=found.rates, **about,
        )  # fmt: skip
        outcome = {name: getattr(settlement, name) for name in Outcome.model_fields}
        kind = BatchSucceeded if status == "completed" else BatchFailed
        name = event_id(account, batch.id, kind.model_fields["type"].default)
        assert await self.ledger.settle(
            claim, settlement, {}, kind(id=name, time=settlement.settled_at, **about, **outcome)
        )
        self.clock.now = kept
        if book:
            for one in booked(settlement, begin.date(), end.date()):
                self.site.book(one)
        return settlement


def booked(settlement: Settlement, first: date, last: date, model: str | None = None) -> list[Booked]:
    """The vendor's books of a batch; the first day gets what the division leaves."""
    days = [first + DAY * number for number in range((last - first).days + 1)]
    found = []
    for used in settlement.rates:
        units = {name: used.units.get(name, 0) for name in ("input", "cached_input", "output")}
        rates = {name: used.usd_per_million.get(name) for name in units}
        for number, day in enumerate(days):
            share = {
                name: count // len(days) + (count % len(days) if number == 0 else 0) for name, count in units.items()
            }
            lines = used.lines // len(days) + (used.lines % len(days) if number == 0 else 0)
            kinds = {"input": "uncached_input", "cached_input": "cached_input", "output": "output"}
            usd = {
                kinds[name]: count * rate / 1_000_000
                for name, count in share.items()
                if (rate := rates[name]) is not None
            }
            found.append(
                Booked(
                    day, model or used.model or "", share["input"], share["cached_input"], share["output"], lines, usd
                )
            )
    return found


def statuses(found: dict[str, Any]) -> set[str]:
    return {row["status"] for row in found["rows"]}


def rows(found: dict[str, Any], *, status: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
    return [
        row
        for row in found["rows"]
        if (status is None or row["status"] == status) and (kind is None or row["kind"] == kind)
    ]
