"""The user's own rows: what beats what, and what a mistake says."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter.errors import ConfigError
from batchmeter.pricebook.book import PriceBook

from .conftest import Ask, decimals, prices

IO = ("input", "output")
ROW = {"batch": {"input": "0.25", "output": "2.00"}}


def test_absolute_rates_make_an_unknown_model_known(ask: Ask) -> None:
    name = "openai/ft:gpt-5-mini-2025-08-07:acme::abc"
    assert ask(name) is None
    rates = ask(name, of=PriceBook.load({name: ROW}))
    assert prices(rates, *IO, "cached_input") == [Decimal("0.25"), Decimal("2.00"), None]
    assert rates is not None
    assert (rates.estimated, rates.origin, rates.flags) == (False, "user", ())


def test_exact_id_beats_base_model_beats_provider(ask: Ask) -> None:
    rows: dict[str, Any] = {
        "openai/gpt-4.1-2025-04-14": {"batch": {"input": "7", "output": "8"}},
        "openai/gpt-4.1": {"batch": {"input": "5", "output": "6"}},
        "openai/*": {"multiplier": "0.5"},
    }
    book = PriceBook.load(rows)
    assert prices(ask("openai/gpt-4.1-2025-04-14", of=book), *IO) == decimals("7", "8")
    assert prices(ask("openai/gpt-4.1-2026-12-31", of=book), *IO) == decimals("5", "6")
    assert prices(ask("openai/gpt-4o-mini", of=book), *IO) == decimals("0.0375", "0.15")
    assert prices(ask("azure/gpt-4.1-2025-04-14", of=book), *IO) == decimals("1", "4")


def test_a_fine_tuned_model_never_gets_its_base_models_row(ask: Ask) -> None:
    book = PriceBook.load(
        {"openai/gpt-5-mini-2025-08-07": ROW, "openai/gpt-5-mini": ROW, "openai/*": {"multiplier": "1"}}
    )
    assert ask("openai/ft:gpt-5-mini-2025-08-07:acme::abc", of=book) is None


def test_one_row_may_cover_every_tune_of_a_base_model(ask: Ask) -> None:
    book = PriceBook.load({"openai/ft:gpt-5-mini-2025-08-07": ROW})
    assert prices(ask("openai/ft:gpt-5-mini-2025-08-07:acme::abc", of=book), *IO) == decimals("0.25", "2")


def test_an_alias_is_priced_as_its_target_with_the_targets_discount(ask: Ask) -> None:
    rows = {"azure/my-deployment": {"alias_of": "azure/gpt-4o-2024-08-06"}, "azure/*": {"multiplier": "0.9"}}
    rates = ask("azure/my-deployment", of=PriceBook.load(rows), region="data-zone-eu")
    assert prices(rates, *IO) == decimals("1.2375", "4.95")


def test_an_alias_may_name_another_provider_or_another_row(ask: Ask) -> None:
    rows: dict[str, Any] = {
        "hosted_vllm/a": {"alias_of": "hosted_vllm/b", "multiplier": "2"},
        "hosted_vllm/b": {"alias_of": "openai/gpt-4o-mini"},
        "hosted_vllm/c": {"alias_of": "b"},
        "hosted_vllm/d": {"alias_of": "openai/nothing-like-it"},
    }
    book = PriceBook.load(rows)
    assert prices(ask("hosted_vllm/a", of=book), *IO) == decimals("0.15", "0.6")
    assert prices(ask("hosted_vllm/c", of=book), *IO) == decimals("0.075", "0.3")
    assert ask("hosted_vllm/d", of=book) is None


def test_zero_is_a_price(ask: Ask) -> None:
    book = PriceBook.load({"hosted_vllm/llama": {"batch": {"input": "0", "output": 0}}})
    assert prices(ask("hosted_vllm/llama", of=book), *IO) == decimals("0", "0")


def test_standard_rates_alone_estimate_a_batch(ask: Ask) -> None:
    book = PriceBook.load({"xai/mine": {"standard": {"input": "10", "output": "20"}}})
    rates = ask("xai/mine", of=book)
    assert prices(rates, *IO) == decimals("8", "16")
    assert rates is not None
    assert rates.estimated


def test_a_batch_row_does_not_change_standard_prices(ask: Ask) -> None:
    book = PriceBook.load({"openai/gpt-4.1": ROW})
    assert prices(ask("openai/gpt-4.1", of=book, processing="standard"), *IO) == decimals("2", "8")


def test_tiers_bring_their_own_boundary(ask: Ask) -> None:
    row = {"batch": {"input": "1", "output": "2"}, "tiers": [{"over": 32_000, "batch": {"input": "3", "output": "4"}}]}
    book = PriceBook.load({"hosted_vllm/long": row})
    assert 32_000 in book.boundaries
    assert prices(ask("hosted_vllm/long", of=book), *IO) == decimals("1", "2")
    assert prices(ask("hosted_vllm/long", of=book, prompt_over=32_000), *IO) == decimals("3", "4")
    assert prices(ask("hosted_vllm/long", of=book, prompt_over=272_000), *IO) == decimals("3", "4")


def test_rows_change_the_digest_and_their_order_does_not(book: PriceBook) -> None:
    one, other = {"openai/a": ROW, "openai/b": ROW}, {"openai/b": ROW, "openai/a": ROW}
    assert PriceBook.load(one).digest == PriceBook.load(other).digest != book.digest
    assert PriceBook.load(None).digest == PriceBook.load({}).digest == book.digest


def test_files(tmp_path: Path, ask: Ask) -> None:
    toml, other = tmp_path / "prices.toml", tmp_path / "prices.json"
    toml.write_text('[prices."hosted_vllm/m"]\nbatch = { input = 0.1, output = "2.00" }\n')
    other.write_text('{"hosted_vllm/m": {"batch": {"input": 0.1, "output": "2.00"}}}')
    for path in (toml, other, str(toml)):
        assert prices(ask("hosted_vllm/m", of=PriceBook.load(path)), *IO) == decimals("0.1", "2")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"gpt-4o": ROW}, ["gpt-4o", "provider/model-id"]),
        ({"openai/x": {"bacth": {"input": "1"}}}, ["openai/x", "bacth", "did you mean `batch`"]),
        ({"openai/x": {"batch": {"inputs": "1"}}}, ["openai/x", "inputs", "did you mean `input`"]),
        ({"openai/x": {"batch": {"input": "-1"}}}, ["openai/x", "batch.input", "0 or more"]),
        ({"openai/x": {"batch": {"input": "a lot"}}}, ["openai/x", "batch.input", "'a lot'"]),
        ({"openai/x": {"batch": {"input": True}}}, ["openai/x", "batch.input"]),
        ({"openai/x": {"batch": {"input": "NaN"}}}, ["openai/x", "batch.input"]),
        ({"openai/x": {"batch": "1"}}, ["openai/x", "batch", "table"]),
        ({"openai/x": "1"}, ["openai/x", "table"]),
        ({"openai/x": {}}, ["openai/x", "empty"]),
        ({"openai/x": {"multiplier": "-0.5"}}, ["openai/x", "multiplier"]),
        ({"openai/x": ROW | {"multiplier": "0.5"}}, ["openai/x", "multiplier", "`batch` yourself"]),
        ({"openai/x": {"multiplier": "0.5", "tiers": [{"over": 9, "batch": {}}]}}, ["multiplier", "`tiers` yourself"]),
        ({"openai/x": {"batch": {}}}, ["openai/x", "empty"]),
        ({"openai/gpt-5-*": {"multiplier": "0.5"}}, ["openai/gpt-5-*", "no pattern", '"openai/*"']),
        ({"*/gpt-5": {"multiplier": "0.5"}}, ["*/gpt-5", "no pattern"]),
        ({"openai/*": {"tiers": [{"over": 9, "batch": {"input": "1"}}]}}, ["openai/*", "multiplier"]),
        ({"openai/x": {"alias_of": ""}}, ["openai/x", "alias_of"]),
        ({"openai/x": {"alias_of": "openai/y", "batch": {}}}, ["openai/x", "alias_of"]),
        ({"openai/*": {"batch": {"input": "1"}}}, ["openai/*", "multiplier"]),
        ({"openai/x": {"tiers": [{"over": "many"}]}}, ["openai/x", "over"]),
        ({"openai/x": {"tiers": [{"above": 3}]}}, ["openai/x", "above"]),
        ({"openai/x": {"alias_of": "openai/y"}, "openai/y": {"alias_of": "x"}}, ["circle", "openai/x"]),
        ({"openai/x": {"alias_of": "openai/x"}}, ["circle"]),
        ({"prices": [1]}, ["prices", "table"]),
    ],
)
def test_mistakes_are_named(rows: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        PriceBook.load(rows)
    for word in words:
        assert word in str(caught.value)


def test_rows_for_a_provider_that_nobody_has_are_found() -> None:
    rows = {
        "opneai/*": {"multiplier": "0.5"},
        "openai/a": {"alias_of": "ours/a"},
        "ours/a": ROW,
        "bedrock/x": ROW,
        "sandbox/x": ROW,
        "mine/x": ROW,
        "theirs/x": ROW,
    }
    assert PriceBook.load(rows).strangers(["openai", "mine", "sandbox"]) == {"opneai": ["openai"], "theirs": []}


@pytest.mark.parametrize(
    ("name", "text"), [("no.toml", None), ("bad.toml", "[prices"), ("bad.json", "{"), ("list.json", "[]")]
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=name):
        PriceBook.load(path)
