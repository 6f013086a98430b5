"""price_groups: exact, equal to line by line, and honest about what it cannot price."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter.models import Cost, ModelUsage, ReportedCost
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import BUCKETS, Group, GroupKey, Groups, PriceQuery, Rates
from batchmeter.pricing.price import Priced, Pricing, Share, price_groups

AT = date(2026, 11, 10)


@dataclass
class Fixed:
    """A price source of constants."""

    table: dict[str, Rates] = field(default_factory=dict[str, Rates])
    digest: str = "d1"
    boundaries: tuple[int, ...] = (1000,)

    def rates(self, query: PriceQuery) -> Rates | None:
        return self.table.get(query.model)


TEXT = Rates({"input": Decimal("0.075"), "output": Decimal("0.3")})


def priced(groups: Groups, source: object = None, **options: object) -> Priced:
    added = {name: options.pop(name) for name in ("unknown", "details") if name in options}
    arguments = {"provider": "openai", "at": AT, "source": source or Fixed({"m": TEXT})} | options
    return price_groups(groups, Pricing(**arguments), **added)  # type: ignore[arg-type]


def test_exact_and_by_model() -> None:
    groups = {
        GroupKey("m"): Group(2, {"input": 1, "output": 1}),
        GroupKey("m", 1000): Group(1, {"input": 10**12}),
    }
    result = priced(groups)
    assert result.cost.total == result.cost.known == Decimal("75000.000000375")
    assert result.models == {"m": Share(Decimal("75000.000000375"), list_price=Decimal("75000.000000375"))}
    assert (result.cost.price_book, result.cost.priced_at, result.unpriced_lines) == ("d1", AT, 0)


def test_nothing_costs_nothing() -> None:
    assert priced({}).cost.total == 0
    assert priced({GroupKey("m"): Group(3, {})}).cost.total == 0


def test_unknown_is_never_zero() -> None:
    groups = {
        GroupKey("m"): Group(2, {"input": 1_000_000}),
        GroupKey("n"): Group(3, {"input": 1}),
        GroupKey(None): Group(4, {"input": 1}),
        GroupKey("m", 1000): Group(5, {"input": 1, "audio_in": 1}),
    }
    result = priced(groups, unknown={"usage_missing": 6}, details={"usage_missing": ["line 7"]})
    assert result.cost.total is None
    assert result.cost.known == Decimal("0.075000075")
    assert result.cost.unknown == {"missing_rate": 5, "unknown_model": 7, "usage_missing": 6}
    assert result.cost.details == {
        "missing_rate": ("m: audio_in",),
        "unknown_model": ("n", "no model named"),
        "usage_missing": ("line 7",),
    }
    assert result.models == {
        "m": Share(Decimal("0.075000075"), Counter(missing_rate=5), None),
        "n": Share(Decimal(0), Counter(unknown_model=3), None),
        None: Share(Decimal(0), Counter(unknown_model=4), None),
    }
    assert result.unpriced_lines == 18


def test_a_bucket_that_was_not_used_needs_no_rate() -> None:
    assert priced({GroupKey("m"): Group(1, {"input": 2, "audio_in": 0})}).cost.total == Decimal("0.00000015")


def test_a_declared_zero_is_a_price() -> None:
    free = Fixed({"m": Rates({"input": Decimal(0), "output": Decimal(0)})})
    cost = priced({GroupKey("m"): Group(1, {"input": 5, "output": 5})}, free).cost
    assert (cost.total, cost.unknown) == (0, {})


def test_only_a_derived_rate_that_was_used_makes_an_estimate() -> None:
    rates = Rates(TEXT.usd_per_million, estimated=True, estimated_buckets=frozenset({"output"}))
    source = Fixed({"m": rates, "all": Rates(TEXT.usd_per_million, estimated=True)})
    assert not priced({GroupKey("m"): Group(1, {"input": 5})}, source).cost.estimated
    assert priced({GroupKey("m"): Group(1, {"output": 5})}, source).cost.estimated
    assert priced({GroupKey("all"): Group(1, {"input": 5})}, source).cost.estimated


def test_flags_are_gathered_once_each() -> None:
    source = Fixed({"m": Rates(TEXT.usd_per_million, flags=("b", "a")), "n": Rates(TEXT.usd_per_million, flags=("a",))})
    groups = {GroupKey(model): Group(1, {"input": 1}) for model in ("m", "n")}
    assert priced(groups, source).cost.flags == ("a", "b")


def test_the_query_carries_all_that_decides() -> None:
    asked: list[PriceQuery] = []

    def ask(query: PriceQuery) -> Rates | None:
        asked.append(query)
        return None

    groups = {GroupKey("dep", 1000, "us", "standard"): Group(1, {"input": 1})}
    created = date(2026, 11, 9)
    result = priced(groups, region="eu", batch_created=created, price_model={"dep": "m"}.__getitem__, ask=ask)
    assert asked == [PriceQuery("openai", "m", AT, "eu", "us", 1000, "standard", created)]
    assert result.models == {"dep": Share(Decimal("0.000000075"), list_price=Decimal("0.000000075"))}
    (used,) = result.rates
    assert (used.model, used.priced_as, used.prompt_over, used.geo, used.processing) == (
        "dep",
        "m",
        1000,
        "us",
        "standard",
    )


def test_a_plugins_answer_wins_and_its_failure_is_a_reason() -> None:
    groups = {GroupKey("m"): Group(2, {"input": 1_000_000}), GroupKey("n"): Group(1, {"input": 1_000_000})}

    def ask(query: PriceQuery) -> Rates | None:
        if query.model == "n":
            raise RuntimeError("no idea")
        return Rates({"input": Decimal(9)}, origin="mine")

    cost = priced(groups, ask=ask).cost
    assert (cost.total, cost.known, cost.unknown) == (None, 9, {"price_plugin_failed": 1})


@pytest.mark.parametrize(
    "answer",
    [
        {"input": 9},
        Rates({"input": "nine"}),  # type: ignore[dict-item]
        Rates({"input": None}),  # type: ignore[dict-item]
        Rates({"input": Decimal("nan")}),
        Rates({"input": Decimal(-1)}),
        Rates(None),  # type: ignore[arg-type]
        "nine",
    ],
)
def test_a_plugins_answer_that_is_no_rates_leaves_only_its_group_unpriced(answer: Any, caplog: Any) -> None:
    groups = {GroupKey("m"): Group(2, {"input": 1_000_000}), GroupKey("n"): Group(1, {"input": 1_000_000})}
    rates = {"m": Rates({"input": 9.1}), "n": answer}  # type: ignore[dict-item]

    cost = priced(groups, ask=lambda query: rates[query.model]).cost

    assert (cost.total, cost.known, cost.unknown) == (None, Decimal("9.1"), {"price_plugin_failed": 1})
    assert "a price_lines hook failed for openai/n" in caplog.text


def test_a_price_hook_that_is_async_or_exits_leaves_its_group_unpriced() -> None:
    async def later(query: PriceQuery) -> Rates:
        return Rates({"input": Decimal(9)})

    def leave(query: PriceQuery) -> Rates:
        raise SystemExit(3)

    groups = {GroupKey("m"): Group(2, {"input": 1_000_000})}
    for ask in (later, leave):
        assert priced(groups, ask=ask).cost.unknown == {"price_plugin_failed": 2}


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            ["gpt-5.4", "gpt-5.4-2026-03-05", "gpt-4o-mini", "ft:gpt-4o-2024-08-06:a::b", "gpt-5.6-luna", "nope", None]
        ),
        st.sampled_from([0, 272_000]),
        st.dictionaries(st.sampled_from(BUCKETS), st.integers(0, 10**7), max_size=4),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def embedded() -> PriceBook:
    return PriceBook()


def key(model: str | None, over: int, counts: dict[str, int]) -> GroupKey:
    """As the meter makes it."""
    used = sorted(bucket for bucket, count in counts.items() if count and bucket not in {"input", "output"})
    return GroupKey(model, over, buckets=tuple(used))


@settings(deadline=None)
@given(lines=LINES)
def test_grouped_equals_line_by_line(embedded: PriceBook, lines: list[tuple[str | None, int, dict[str, int]]]) -> None:
    groups: dict[GroupKey, Group] = {}
    known, unknown, estimated = Decimal(0), Counter[str](), False
    for model, over, counts in lines:
        alone = priced({key(model, over, counts): Group(1, dict(counts))}, embedded).cost
        known += alone.known
        unknown.update(alone.unknown)
        estimated |= alone.estimated
        group = groups.setdefault(key(model, over, counts), Group(0, {}))
        group.lines += 1
        for bucket, count in counts.items():
            group.counts[bucket] = group.counts.get(bucket, 0) + count
    together = priced(groups, embedded)
    assert together.cost.known == known
    assert together.cost.unknown == unknown
    assert together.cost.estimated == estimated
    assert together.cost.total == (None if unknown else known)


def test_details_are_few() -> None:
    groups = {GroupKey(f"m{number}"): Group(1, {"input": 1}) for number in range(99)}
    cost = priced(groups).cost
    assert (cost.unknown["unknown_model"], len(cost.details["unknown_model"])) == (99, 10)


@pytest.mark.parametrize(
    ("model", "counts", "reported", "known", "unknown"),
    [
        ("m", {"input": 1_000_000}, ("0.5", 2), "0.075", {}),
        ("m", {"input": 1_000_000, "web_search": 1}, ("0.5", 2), "0.5", {}),
        ("m", {"input": 1_000_000, "web_search": 1}, ("0.5", 1), "0.5", {"missing_rate": 1}),
        ("m", {"input": 1_000_000, "web_search": 1}, ("0", 0), "0.075", {"missing_rate": 2}),
        ("n", {"image_generation": 2}, ("0.5", 2), "0.5", {}),
        (None, {}, ("0.5", 1), "0.5", {"unknown_model": 1}),
    ],
)
def test_the_vendors_amount_stands_where_ours_is_unknown(
    model: str | None, counts: dict[str, int], reported: tuple[str, int], known: str, unknown: dict[str, int]
) -> None:
    amount, lines = Decimal(reported[0]), reported[1]
    result = priced({GroupKey(model): Group(2, counts, reported=amount, reported_lines=lines)})
    assert (result.cost.known, result.cost.unknown) == (Decimal(known), unknown)
    assert result.cost.total == (None if unknown else Decimal(known))
    assert result.reported == (ReportedCost(total=amount, lines=lines) if lines else None)
    stands = known == "0.5"
    assert ("vendor_reported" in result.cost.flags, [used.origin for used in result.rates]) == (
        stands,
        ["vendor_reported" if stands else ""],
    )


@pytest.mark.parametrize(
    ("amount", "notes"),
    [("0.075", ()), ("0.0753", ()), ("0.0755", ("reported_cost_differs",)), ("0", ("reported_cost_differs",))],
)
def test_the_vendors_amount_differs_by_half_a_percent_for_a_note(amount: str, notes: tuple[str, ...]) -> None:
    group = Group(2, {"input": 1_000_000}, reported=Decimal(amount), reported_lines=2)
    assert priced({GroupKey("m"): group}).notes == notes


counts = st.dictionaries(st.sampled_from(["input", "output", "audio_in"]), st.integers(0, 10**9), max_size=3)
keys = st.builds(
    GroupKey, st.sampled_from(["m", "n"]), st.sampled_from([0, 1000]), buckets=st.sampled_from([(), ("audio_in",)])
)


@settings(deadline=None)
@given(st.dictionaries(keys, st.builds(Group, st.integers(1, 9), counts), max_size=6))
def test_the_rates_used_reproduce_the_cost(groups: dict[GroupKey, Group]) -> None:
    result = priced(groups)
    each = [
        sum((rate * used.units[bucket] for bucket, rate in used.usd_per_million.items()), Decimal(0)) / 1_000_000
        for used in result.rates
    ]
    assert each == [used.cost for used in result.rates]
    assert sum(each, Decimal(0)) == result.cost.known == sum((s.known for s in result.models.values()), Decimal(0))
    assert result.cost.unknown == sum((share.unknown for share in result.models.values()), Counter[str]())


def test_older_settlements_are_read_and_say_what_they_know() -> None:
    old = ModelUsage.model_validate_json('{"lines": 2, "usage": {"input_tokens": 5}, "cost": "0.5"}')
    assert (old.known, old.unknown, old.usage.web_searches) == (Decimal("0.5"), {}, 0)
    assert ModelUsage.model_validate_json('{"lines": 2, "cost": null}').known == 0
    assert Cost.model_validate_json('{"total": null, "unknown": {"missing_rate": 1}}').details == {}
