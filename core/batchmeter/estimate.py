"""What a batch input file may cost, before it is submitted; and what cannot be known beforehand."""

import codecs
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from .models import Cost, Frozen, Usd
from .pricing.groups import Group, GroupKey, PriceSource
from .pricing.price import PriceModel, price_groups

METHOD = (
    "UTF-8 bytes of all prompt text / 4, plus 4 tokens a message; prompts sent as tokens are counted; "
    "images, audio and files are not"
)
"""Within about a quarter for English; other scripts and code use fewer bytes a token than English prose."""
BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_TEXT = ("messages", "input", "prompt", "instructions", "tools")
_NO_OUTPUT = ("/embeddings", "/moderations")


class ModelEstimate(Frozen, frozen=True):
    """One model's share of the file."""

    requests: int
    input_tokens: int
    """Estimated, see `Estimate.method`."""
    max_output_tokens: int | None
    """Sum of the requests' own limits; None when `unlimited_requests` set none."""
    unlimited_requests: int
    """Requests without a limit: their output, and so the upper cost, is not known."""
    expected_output_tokens: int | None
    """From this ledger's settled batches of the model; None without any."""
    history_requests: int
    """How many settled requests that rests on."""
    expected: Usd | None
    """USD; None where the output or a price is unknown."""
    upper: Usd | None
    """USD if every request uses all it may; None where a limit or a price is unknown."""


class Estimate(Frozen, frozen=True):
    """What is known before submitting. None is not zero: the reasons are in `unknown`."""

    requests: int
    method: str = METHOD
    models: dict[str, ModelEstimate] = Field(default_factory=dict[str, ModelEstimate])
    expected: Usd | None = None
    upper: Usd | None = None
    currency: str = "USD"
    unknown: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """What one model's settled requests came to."""

    requests: int
    output_tokens: int


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    input_tokens: int = 0
    limit: int = 0
    unlimited: int = 0
    by_tier: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    """Tier -> requests, input tokens, output limits."""


def estimate(
    path: Path,
    *,
    provider: str,
    prices: PriceSource,
    region: str | None = None,
    price_model: PriceModel | None = None,
    history: Mapping[str, History] | None = None,
) -> Estimate:
    """Read the file once, a line in memory. Lines that are no requests are left out: check the file for those."""
    sums: dict[str, _Sum] = defaultdict(_Sum)
    for request in _requests(path):
        raw = request.get("body")
        body = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
        _add(sums[str(body.get("model") or "unknown")], body, str(request.get("url") or ""), prices.boundaries)
    pricer = _Pricer(provider, prices, region, price_model)
    models = {model: _model(model, total, (history or {}).get(model), pricer) for model, total in sums.items()}
    return Estimate(
        requests=sum(total.requests for total in sums.values()),
        models=models,
        expected=_total([model.expected for model in models.values()]),
        upper=_total([model.upper for model in models.values()]),
        unknown=tuple(sorted(_unknown(models) | pricer.reasons)),
        flags=tuple(sorted(pricer.flags)),
    )


def _requests(path: Path) -> Iterator[Mapping[str, Any]]:
    import msgspec  # noqa: PLC0415 - light core

    with path.open("rb") as lines:
        for line in lines:
            try:
                request = msgspec.json.decode(line.removeprefix(codecs.BOM_UTF8))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(request, dict):
                yield cast("dict[str, Any]", request)


def _add(total: _Sum, body: Mapping[str, Any], url: str, boundaries: tuple[int, ...]) -> None:
    tokens = _tokens(body)
    limit = 0 if url.endswith(_NO_OUTPUT) else _limit(body)
    total.requests += 1
    total.input_tokens += tokens
    if limit is None:
        total.unlimited += 1
    total.limit += limit or 0
    tier = total.by_tier[max((edge for edge in boundaries if tokens > edge), default=0)]
    for index, number in enumerate((1, tokens, limit or 0)):
        tier[index] += number


def _tokens(body: Mapping[str, Any]) -> int:
    prompts = _prompts(body.get("messages") or body.get("input") or body.get("prompt"))
    counted = [_token_ids(prompt) for prompt in prompts]
    text = sum(_text_bytes(body.get(name)) for name in _TEXT)
    return text // BYTES_PER_TOKEN + sum(TOKENS_PER_MESSAGE if ids is None else ids for ids in counted)


def _prompts(prompt: object) -> list[object]:
    """Messages or texts; an array of numbers is one text, sent as its tokens."""
    if _token_ids(prompt) is not None or not isinstance(prompt, list):
        return [prompt]
    return cast("list[object]", prompt)


def _token_ids(prompt: object) -> int | None:
    """How many tokens an array of them holds; None for anything else."""
    numbers = cast("list[object]", prompt) if isinstance(prompt, list) else []
    return len(numbers) if numbers and all(type(number) is int for number in numbers) else None


def _text_bytes(value: object, name: str = "") -> int:
    """Bytes of all text below, without what is sent as data (images, audio, files)."""
    if isinstance(value, str):
        return 0 if name in ("url", "data", "file_data", "image_url") else len(value.encode("utf-8", "replace"))
    if isinstance(value, list):
        return sum(_text_bytes(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        return sum(_text_bytes(item, key) for key, item in cast("dict[str, object]", value).items())
    return 0


def _limit(body: Mapping[str, Any]) -> int | None:
    """Most output tokens of one request, over all its choices; None where it names none that makes sense."""
    n = 1 if body.get("n") is None else body["n"]
    for name in _LIMITS:
        limit = body.get(name)
        if type(limit) is int and type(n) is int and limit >= 0 < n:
            return limit * n * max(len(_prompts(body.get("prompt"))), 1)
    return None


def _model(model: str, total: _Sum, history: History | None, pricer: "_Pricer") -> ModelEstimate:
    bounded = total.unlimited == 0
    silent = bounded and total.limit == 0
    per_request = Decimal(history.output_tokens) / history.requests if history and history.requests else None
    expected = 0 if silent else None if per_request is None else int(per_request * total.requests)
    return ModelEstimate(
        requests=total.requests,
        input_tokens=total.input_tokens,
        max_output_tokens=total.limit if bounded else None,
        unlimited_requests=total.unlimited,
        expected_output_tokens=expected,
        history_requests=history.requests if history else 0,
        expected=None if expected is None else pricer.cost(model, total, per_request or Decimal(0)),
        upper=pricer.cost(model, total, None) if bounded else None,
    )


@dataclass(slots=True)
class _Pricer:
    provider: str
    prices: PriceSource
    region: str | None
    price_model: PriceModel | None
    reasons: set[str] = field(default_factory=set[str])
    flags: set[str] = field(default_factory=set[str])

    def cost(self, model: str, total: _Sum, per_request: Decimal | None) -> Decimal | None:
        """With `per_request` output tokens each, or as many as each may use."""
        groups = {
            GroupKey(model, tier): Group(
                requests, {"input": tokens, "output": limit if per_request is None else int(per_request * requests)}
            )
            for tier, (requests, tokens, limit) in total.by_tier.items()
        }
        cost: Cost = price_groups(
            groups, provider=self.provider, region=self.region, at=datetime.now(UTC).date(), source=self.prices,
            price_model=self.price_model,
        ).cost  # fmt: skip
        self.reasons.update(f"{reason}: {model}" for reason in cost.unknown)
        self.flags.update(cost.flags)
        return cost.total


def _total(costs: list[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _unknown(models: Mapping[str, ModelEstimate]) -> set[str]:
    reasons: set[str] = set()
    for name, model in models.items():
        if model.unlimited_requests:
            reasons.add(f"no_output_limit: {name}: {model.unlimited_requests} requests set no max tokens")
        if model.expected_output_tokens is None:
            reasons.add(f"no_history: {name}: no settled batch of it in this ledger")
    return reasons
