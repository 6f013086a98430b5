"""The cost of a batch before it is submitted: from the sizes of its requests, with the reasons for what is unknown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from pydantic import Field

from batchmeter.host import CostRow
from batchmeter.models import Frozen, Usd
from batchmeter.pricebook.names import base_model
from batchmeter.pricing.groups import Group, GroupKey, PriceSource, Rates
from batchmeter.pricing.price import MILLION, Ask, PriceModel, Pricing, Terms, price_groups
from batchmeter.providers import Provider

METHOD = (
    "expected: UTF-8 bytes of the prompt's text / 4, / 2 where it is not mostly ASCII, plus 4 tokens a message; at most: "
    "a token for every 2 bytes of words and for every byte of other text, plus 16 a message and 32 a request, at the "
    "dearest rate that input may have today or tomorrow. Prompts sent as tokens are counted."
)
NO_OUTPUT_LIMIT = "no_output_limit"
OTHER_MODELS = "too_many_models"
PRICE_CHANGE_AHEAD = "price_change_ahead"
"""Flag: the price of tomorrow, when the batch may end, is another."""
MAX_BYTES = 1_900
"""The limit of sizes as JSON: they are kept with an uploaded file."""
MAX_MODELS = 64
FEES = frozenset({"searches", "tools"})
"""Reasons that no history of tokens settles: a use has its own fee."""
_INPUTS = ("input", "cached_input", "cache_write_5m")
_MARKED_INPUTS = (*_INPUTS, "cache_write_1h")


class Tier(msgspec.Struct, array_like=True, frozen=True):
    """Requests whose prompt is in one length tier."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def plus(self, requests: int, input_tokens: int, output_tokens: int) -> "Tier":
        return Tier(self.requests + requests, self.input_tokens + input_tokens, self.output_tokens + output_tokens)


class ModelSizes(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model's requests: tiers go by `PriceSource.boundaries`."""

    expected: dict[int, Tier] = {}
    """Tier -> requests and likely input tokens; no output."""
    most: dict[int, Tier] = {}
    """Tier -> requests, highest input tokens and the requests' own output limits."""
    unknown: dict[str, int] = {}
    """Reason -> requests of which text and limits do not tell all: `images`, `files`, `audio`, `tools`, …"""
    marked: bool = False
    """Some ask for a longer cache, whose writes cost more."""

    @property
    def requests(self) -> int:
        return sum(tier.requests for tier in self.expected.values())


class InputSizes(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sizes of an input file's requests: without prices, so that they are priced on the day of the submission."""

    models: dict[str, ModelSizes] = {}
    other: int = 0
    """Requests of models that found no room."""

    @property
    def requests(self) -> int:
        return sum(model.requests for model in self.models.values()) + self.other

    @classmethod
    def of(cls, models: Mapping[str, ModelSizes]) -> "InputSizes":
        """The models with most requests, as many as fit into `MAX_BYTES`."""
        kept: dict[str, ModelSizes] = {}
        room = MAX_BYTES
        for name, sizes in sorted(models.items(), key=lambda item: -item[1].requests):
            room -= len(msgspec.json.encode({name: sizes}))
            if room < 0 or len(kept) == MAX_MODELS:
                break
            kept[name] = sizes
        return cls(kept, sum(sizes.requests for name, sizes in models.items() if name not in kept))

    def to_json(self) -> str:
        """Less than 2 kB."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "InputSizes":
        return msgspec.json.decode(text, type=cls)


class ModelEstimate(Frozen, frozen=True):
    """One model's share of the file."""

    requests: int
    priced_as: str = ""
    """The model's name without snapshot, deployment or organisation."""
    input_tokens: int
    """Likely, of the text alone; see `Estimate.method`."""
    max_input_tokens: int | None
    """Bound; None where something besides text goes in."""
    max_output_tokens: int | None
    """Sum of the requests' own limits; None when `unlimited_requests` set none."""
    unlimited_requests: int
    """Requests without a limit: their output, and so the upper cost, is not known."""
    expected_output_tokens: int | None
    """From this ledger's settled batches of the model; None without any."""
    history_requests: int
    """Settled requests behind the expected output."""
    expected: Usd | None
    """USD; None where the output, a price or what goes in besides text is unknown."""
    upper: Usd | None
    """USD that it costs at most; None where a limit, a price or what goes in besides text is unknown."""


class Estimate(Frozen, frozen=True):
    """The cost as far as it is known before submitting. None is not zero: the reasons are in `unknown`."""

    requests: int
    method: str = METHOD
    models: dict[str, ModelEstimate] = Field(default_factory=dict[str, ModelEstimate])
    expected: Usd | None = None
    upper: Usd | None = None
    """An upper bound, or None."""
    currency: str = "USD"
    unknown: tuple[str, ...] = ()
    """`reason: model: requests`."""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Sums over one model's settled requests."""

    requests: int
    output_tokens: int
    input_tokens: int | None = None


def histories(rows: Iterable[CostRow], provider: str) -> dict[str, History]:
    """An account's costs by model: under the model that answered, and the alias that a dated snapshot is asked for by."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        for name in {row.group or "", base_model(provider, row.group or "")}:
            mine = sums.setdefault(name, [0, 0, 0])
            for place, more in enumerate((row.lines, row.usage.output_tokens, row.usage.input_tokens)):
                mine[place] += more
    return {name: History(*three) for name, three in sums.items()}


def estimate_at(
    provider: Provider,
    sizes: InputSizes,
    prices: PriceSource,
    *,
    history: Mapping[str, History] | None = None,
    ask: Ask | None = None,
    region: str | None = None,
) -> Estimate:
    """Price the sizes at an account, today; `region` in place of the account's own."""
    return estimate(
        sizes,
        provider=provider.name,
        prices=prices,
        region=region or provider.region,
        price_model=provider.price_model,
        history=history,
        ask=ask,
        terms=Terms(provider.capabilities.priced_as, provider.capabilities.standard_factor),
    )


def estimate(
    sizes: InputSizes,
    *,
    provider: str,
    prices: PriceSource,
    region: str | None = None,
    price_model: PriceModel | None = None,
    history: Mapping[str, History] | None = None,
    ask: Ask | None = None,
    terms: Terms | None = None,
    at: date | None = None,
) -> Estimate:
    """Price the sizes as of a UTC day (today), with what settled batches came to by model."""
    pricer = _Pricer(
        Pricing(
            provider=provider,
            source=prices,
            at=at or datetime.now(UTC).date(),
            region=region,
            price_model=price_model,
            ask=ask,
            terms=terms or Terms(),
        )
    )
    models = {name: _model(name, one, (history or {}).get(name), pricer) for name, one in sizes.models.items()}
    unknown = {text for name, one in sizes.models.items() for text in _unknown(name, one, models[name])}
    if sizes.other:
        unknown.add(f"{OTHER_MODELS}: {sizes.other} requests of other models are not estimated")
    whole = not sizes.other
    return Estimate(
        requests=sizes.requests,
        models=models,
        expected=_total([model.expected for model in models.values()]) if whole else None,
        upper=_total([model.upper for model in models.values()]) if whole else None,
        unknown=tuple(sorted(unknown | pricer.reasons)),
        flags=tuple(sorted(pricer.flags)),
    )


def _model(name: str, sizes: ModelSizes, history: History | None, pricer: "_Pricer") -> ModelEstimate:
    unlimited = sizes.unknown.get(NO_OUTPUT_LIMIT, 0)
    bounded = not sizes.unknown.keys() - {NO_OUTPUT_LIMIT}
    most_output = sum(tier.output_tokens for tier in sizes.most.values())
    output = _expected_output(sizes, history, silent=not unlimited and not most_output)
    return ModelEstimate(
        requests=sizes.requests,
        priced_as=pricer.base(name),
        input_tokens=sum(tier.input_tokens for tier in sizes.expected.values()),
        max_input_tokens=sum(tier.input_tokens for tier in sizes.most.values()) if bounded else None,
        max_output_tokens=None if unlimited else most_output,
        unlimited_requests=unlimited,
        expected_output_tokens=output,
        history_requests=history.requests if history else 0,
        expected=_expected(name, sizes, history, output, pricer),
        upper=pricer.upper(name, sizes) if bounded and not unlimited else None,
    )


def _expected_output(sizes: ModelSizes, history: History | None, *, silent: bool) -> int | None:
    if silent:
        return 0
    return history.output_tokens * sizes.requests // history.requests if history and history.requests else None


def _expected(
    name: str, sizes: ModelSizes, history: History | None, output: int | None, pricer: "_Pricer"
) -> Decimal | None:
    """Images and the like are taken to be as many tokens as in settled batches; a tool's fee is not known."""
    besides = sizes.unknown.keys() - {NO_OUTPUT_LIMIT}
    if output is None or besides & FEES:
        return None
    if not besides:
        return pricer.expected(name, sizes.expected, output)
    if history is None or history.input_tokens is None or not history.requests:
        return None
    tokens = history.input_tokens * sizes.requests // history.requests
    return pricer.expected(name, {0: Tier(sizes.requests, tokens)}, output)


@dataclass(slots=True)
class _Pricer:
    pricing: Pricing
    reasons: set[str] = field(default_factory=set[str])
    flags: set[str] = field(default_factory=set[str])

    def base(self, model: str) -> str:
        renamed = self.pricing.price_model
        return base_model(self.pricing.provider, renamed(model) if renamed else model)

    def expected(self, model: str, tiers: Mapping[int, Tier], output: int) -> Decimal | None:
        """The tokens of every tier, and its requests' share of the output."""
        requests = sum(tier.requests for tier in tiers.values()) or 1
        groups = {
            GroupKey(model, over): Group(
                tier.requests, {"input": tier.input_tokens, "output": output * tier.requests // requests}
            )
            for over, tier in tiers.items()
        }
        cost = price_groups(groups, self.pricing).cost
        self.reasons.update(f"{reason}: {model}" for reason in cost.unknown)
        self.flags.update(cost.flags)
        return cost.total

    def upper(self, model: str, sizes: ModelSizes) -> Decimal | None:
        """At the dearer price of today and tomorrow, whatever part of the input is written to a cache."""
        days = [self._upper(model, sizes, day) for day in (self.pricing.at, self.pricing.at + timedelta(days=1))]
        known = [cost for cost in days if cost is not None]
        if len(set(known)) > 1:
            self.flags.add(PRICE_CHANGE_AHEAD)
        return max(known) if len(known) == len(days) else None

    def _upper(self, model: str, sizes: ModelSizes, day: date) -> Decimal | None:
        total = Decimal(0)
        for over, tier in sizes.most.items():
            rates = self._rates(model, over, day)
            if rates is None:
                return None
            used = _MARKED_INPUTS if sizes.marked else _INPUTS
            inputs = [rates.usd_per_million[bucket] for bucket in used if bucket in rates.usd_per_million]
            output = rates.usd_per_million.get("output") if tier.output_tokens else Decimal(0)
            if "input" not in rates.usd_per_million or output is None:
                self.reasons.add(f"missing_rate: {model}")
                return None
            total += (max(inputs) * tier.input_tokens + output * tier.output_tokens) / MILLION
        return total

    def _rates(self, model: str, over: int, day: date) -> Rates | None:
        pricing = replace(self.pricing, at=day)
        rates, reason = pricing.rates(pricing.query(GroupKey(model, over)))
        if reason is not None:
            self.reasons.add(f"{reason}: {model}")
        self.flags.update(rates.flags if rates else ())
        return rates


def _total(costs: Sequence[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


_REASON_TEXT = {
    NO_OUTPUT_LIMIT: "set no max tokens",
    "images": "send or make images",
    "files": "send files",
    "audio": "send or make audio",
    "video": "send or make video",
    "stored_conversation": "go on with a stored conversation",
    "stored_prompt": "use a stored prompt",
    "searches": "may search, each for a fee",
    "tools": "may use the vendor's tools, each for a fee",
    "other_content": "send parts of a kind that is not known",
}


def _unknown(name: str, sizes: ModelSizes, model: ModelEstimate) -> Iterator[str]:
    for reason, requests in sizes.unknown.items():
        yield f"{reason}: {name}: {requests} requests {_REASON_TEXT.get(reason, 'cannot be estimated')}"
    if model.expected_output_tokens is None:
        yield f"no_history: {name}: no settled batch of it in this ledger"
