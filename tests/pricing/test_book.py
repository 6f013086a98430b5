"""The embedded book: tiers, caches, regions, dates, names, and what it does not know."""

from decimal import Decimal

import pytest

from batchmeter.pricebook.book import PriceBook
from batchmeter.reports.price_list import check_region

from .conftest import Ask, decimals, prices

IO = ("input", "output")
TODAY = "2026-11-30"


@pytest.mark.parametrize(
    ("model", "over", "expected"),
    [
        ("openai/gpt-5.4", 0, ("1.25", "7.5")),
        ("openai/gpt-5.4", 200_000, ("1.25", "7.5")),
        ("openai/gpt-5.4", 272_000, ("2.5", "11.25")),
        ("vertex_ai/gemini-2.5-pro", 199_999, ("0.625", "5")),
        ("vertex_ai/gemini-2.5-pro", 200_000, ("1.25", "7.5")),
        ("gemini/gemini-2.5-pro", 200_000, ("1.25", "7.5")),
        ("xai/grok-4.3", 128_000, ("1", "2")),
        ("xai/grok-4.3", 199_999, ("2", "4")),
        ("anthropic/claude-haiku-5-5", 0, ("0.05", "0.25")),
        ("anthropic/claude-haiku-5-5", 100_000, ("0.25", "1.25")),
        ("anthropic/claude-sonnet-4-5", 200_000, ("3", "11.25")),
    ],
)
def test_a_long_prompt_moves_the_whole_request(ask: Ask, model: str, over: int, expected: tuple[str, ...]) -> None:
    assert prices(ask(model, prompt_over=over), *IO) == decimals(*expected)


def test_boundaries_are_every_threshold_and_larger_means_over(book: PriceBook) -> None:
    assert {100_000, 199_999, 200_000, 272_000} <= set(book.boundaries)
    assert list(book.boundaries) == sorted(set(book.boundaries))


@pytest.mark.parametrize(
    ("model", "cached"),
    [
        ("openai/gpt-4.1", "1"),
        ("openai/gpt-4o-2024-08-06", "1.25"),
        ("openai/o3", "1"),
        ("openai/gpt-5", "0.0625"),
        ("openai/gpt-5.4", "0.13"),
        ("azure/gpt-4o-2024-08-06", "1.25"),
        ("azure/gpt-5-2025-08-07", "0.0625"),
        ("vertex_ai/gemini-2.5-pro", "0.125"),
        ("vertex_ai/gemini-2.5-flash", "0.03"),
        ("vertex_ai/gemini-3.5-flash", "0.075"),
        ("gemini/gemini-3-flash-preview", "0.05"),
        ("gemini/gemini-3.6-flash", "0.0375"),
        ("anthropic/claude-sonnet-4-5", "0.15"),
        ("anthropic/claude-opus-5-5", "0.1"),
        ("groq/openai/gpt-oss-120b", "0.075"),
        ("mistral/mistral-large-2512", "0.025"),
        ("xai/grok-4.3", "0.16"),
        ("xai/grok-4.6", "0.4"),
        ("openai/ft:gpt-4o-2024-08-06", "0.9"),
    ],
)
def test_cached_tokens_by_each_vendors_own_batch_rule(ask: Ask, model: str, cached: str) -> None:
    assert prices(ask(model), "cached_input") == decimals(cached)


def test_cache_writes_of_both_lifetimes_are_halved(ask: Ask) -> None:
    rates = ask("anthropic/claude-haiku-4-5-20251001")
    assert prices(rates, "input", "cache_write_5m", "cache_write_1h") == decimals("0.5", "0.625", "1")
    assert rates is not None
    assert rates.estimated_buckets is not None
    assert not rates.estimated_buckets & {"cache_write_5m", "cache_write_1h"}


def test_searches_are_not_discounted(ask: Ask) -> None:
    assert prices(ask("anthropic/claude-opus-5-5"), "web_search") == decimals("10000")
    assert prices(ask("anthropic/claude-opus-5-5", geo="us"), "web_search") == decimals("10000")


def test_modalities(ask: Ask) -> None:
    assert prices(ask("gemini/gemini-2.5-flash"), "input", "audio_in") == decimals("0.15", "0.5")
    assert prices(ask("openai/gpt-image-1"), "input", "image_in", "image_out") == decimals("2.5", "5", "20")
    assert prices(ask("openai/gpt-4o-mini"), "audio_in") == [None]


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("openai/text-embedding-3-small", "0.01"),
        ("openai/text-embedding-3-large", "0.065"),
        ("openai/text-embedding-ada-002", "0.05"),
        ("vertex_ai/gemini-embedding-001", "0.12"),
        ("gemini/gemini-embedding-001", "0.075"),
        ("mistral/mistral-embed", "0.05"),
    ],
)
def test_embeddings(ask: Ask, model: str, rate: str) -> None:
    assert prices(ask(model), "input") == decimals(rate)


def test_a_price_by_the_character_is_an_estimate_by_the_token(ask: Ask) -> None:
    rates = ask("vertex_ai/text-embedding-005")
    assert rates is not None
    assert (rates.usd_per_million, rates.estimated_buckets) == ({"input": Decimal("0.08")}, {"input"})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-3.5-turbo-1106", ("1", "2")),
        ("openai/gpt-4o-2024-05-13", ("2.5", "7.5")),
        ("openai/gpt-4o-2024-08-06", ("1.25", "5")),
        ("vertex_ai/claude-opus-5-5", ("2.5", "12.5")),
        ("openai/ft:gpt-4o-2024-08-06:acme::x1", ("2.225", "12.5")),
        ("openai/ft:gpt-4o-mini-2024-07-18:org:suffix:id", ("0.15", "0.6")),
        ("openai/ft:gpt-4o-mini-2024-07-18:org:suffix:id:ckpt-step-80", ("0.15", "0.6")),
        ("bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", ("0.5", "2.5")),
        ("bedrock/global.anthropic.claude-haiku-4-5-20251001-v1:0", ("0.5", "2.5")),
        ("bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0", ("0.55", "2.75")),
        ("bedrock/us.anthropic.claude-haiku-4-5-20251001", ("0.55", "2.75")),
        (
            "bedrock/arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("0.55", "2.75"),
        ),
        (
            "bedrock/arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
            ("0.5", "2.5"),
        ),
        ("vertex_ai/claude-haiku-4-5", ("0.5", "2.5")),
        ("vertex_ai/claude-haiku-4-5@20251001", ("0.5", "2.5")),
        ("vertex_ai/claude-opus-4-6@default", ("2.5", "12.5")),
        ("vertex_ai/publishers/google/models/gemini-2.5-flash", ("0.15", "1.25")),
        ("vertex_ai/projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-4-6", ("2.5", "12.5")),
        ("vertex_ai/publishers/openai/models/gpt-oss-120b-maas", ("0.045", "0.18")),
        ("vertex_ai/gemini-2.5-flash-001", ("0.15", "1.25")),
        ("gemini/models/gemini-2.5-flash", ("0.15", "1.25")),
    ],
)
def test_names_that_are_known(ask: Ask, model: str, expected: tuple[str, ...]) -> None:
    assert prices(ask(model, region="global"), *IO) == decimals(*expected)


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-9-imaginary-2027-01-01",
        "openai/gpt-4o-2031-01-01",  # its snapshots differ in price, so the alias speaks for none
        "openai/gpt-4",  # known; guards the next lines against an empty book
        "openai/gpt-4o-mini-turbo",
        "openai/gpt-5.4x",
        "openai/my-gpt-5.4",
        "openai/GPT-5.4",
        "openai/ft:gpt-5-mini-2025-08-07:acme::abc",
        "openai/ft:",
        "openai/ft:gpt-4o-mini-2024-07-18-extra:acme::x",
        "openai/gpt-4o-mini-2024-07-18.ft-0123456789",
        "azure/my-prod-luna-batch",
        "azure/gpt-4o-mini-2024-07-18.ft-0123456789",
        "anthropic/gpt-4o",
        "hosted_vllm/gpt-4o",
        "bedrock/claude-haiku",
        "bedrock/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "bedrock/arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123",
        "nobody/gpt-4o",
        "openai/",
        "openai/ ",
    ],
)
def test_unknown_stays_unknown(ask: Ask, model: str) -> None:
    assert (ask(model) is not None) == (model == "openai/gpt-4")


def test_a_new_snapshot_of_a_declared_family_is_priced_and_says_so(ask: Ask) -> None:
    rates = ask("openai/gpt-5.6-luna-2031-01-01", region="global")
    assert prices(rates, *IO) == decimals("0.1", "0.6")
    assert rates is not None
    assert rates.flags == ("snapshot_priced_as_family",)


@pytest.mark.parametrize(
    ("model", "at", "region", "expected"),
    [
        ("openai/gpt-5.4", "2026-11-10", "eu", ("1.375", "8.25")),
        ("openai/gpt-5.4", "2026-11-10", "us", ("1.375", "8.25")),
        ("openai/gpt-5.4", "2026-11-10", "jp", ("1.375", "8.25")),
        ("openai/gpt-5", "2026-11-10", "eu", ("0.625", "5")),
        ("azure/gpt-5.4-2026-03-05", "2026-11-10", "global", ("1.25", "7.5")),
        ("azure/gpt-5.4-2026-03-05", "2026-11-10", "data-zone-eu", ("1.375", "8.25")),
        ("azure/gpt-5.4-2026-03-05", "2026-11-10", "data-zone-us", ("1.375", "8.25")),
        ("azure/gpt-5.4-2026-03-05", "2026-11-10", "data-zone-apac", ("1.5", "9")),
        ("azure/gpt-4o-2024-11-20", "2026-11-10", "data-zone-apac", ("1.375", "5.5")),
        ("vertex_ai/gemini-3.5-flash", "2026-06-30", "us-central1", ("0.75", "4.5")),
        ("vertex_ai/gemini-3.5-flash", "2026-07-01", "us-central1", ("0.825", "4.95")),
        ("vertex_ai/gemini-3.5-flash", "2026-07-01", "global", ("0.75", "4.5")),
        ("vertex_ai/gemini-2.5-flash", "2026-11-10", "us-central1", ("0.15", "1.25")),
        ("vertex_ai/claude-opus-5-5", "2026-11-10", "europe-west1", ("2.2", "11")),
        ("vertex_ai/claude-haiku-4-5", "2026-11-10", "us-east5", ("0.55", "2.75")),
        ("anthropic/claude-opus-5-5", "2026-11-10", "us", ("2.2", "11")),
        ("anthropic/claude-haiku-4-5", "2026-11-10", "us", ("0.5", "2.5")),
        ("mistral/mistral-large-2512", "2026-11-10", "eu", ("0.275", "0.825")),
    ],
)
def test_regions(ask: Ask, model: str, at: str, region: str, expected: tuple[str, ...]) -> None:
    rates = ask(model, at=at, region=region)
    assert prices(rates, *IO) == decimals(*expected)
    assert rates is not None
    assert rates.flags == ()


@pytest.mark.parametrize(
    ("model", "assumed"),
    [
        ("openai/gpt-5.4", True),
        ("openai/gpt-4.1", False),
        ("azure/gpt-4.1-2025-04-14", True),
        ("vertex_ai/gemini-3.5-flash", True),
        ("vertex_ai/gemini-2.5-flash", False),
        ("anthropic/claude-opus-5-5", False),
    ],
)
def test_an_unsaid_region_is_flagged_only_where_it_matters(ask: Ask, model: str, assumed: bool) -> None:
    rates = ask(model)
    assert rates is not None
    assert rates.flags == (("region_assumed_global",) if assumed else ())


def test_an_azure_location_does_not_tell_the_deployments_class(ask: Ask) -> None:
    rates = ask("azure/gpt-4o-2024-08-06", region="swedencentral")
    assert prices(rates, *IO) == decimals("1.25", "5")
    assert rates is not None
    assert rates.flags == ("region_assumed_global",)


def test_a_lines_own_geo_beats_the_jobs_region(ask: Ask) -> None:
    assert prices(ask("anthropic/claude-opus-5-5", geo="us"), *IO) == decimals("2.2", "11")
    assert prices(ask("anthropic/claude-opus-5-5", region="us", geo="global"), *IO) == decimals("2", "10")


@pytest.mark.parametrize(
    ("model", "at", "expected"),
    [
        ("openai/o3", "2025-06-09", ("5", "20")),
        ("openai/o3", "2025-06-10", ("1", "4")),
        ("openai/gpt-5.6-sol", "2026-08-20", ("2.5", "15")),
        ("openai/gpt-5.6-sol", "2026-08-21", ("2", "10")),
        ("openai/gpt-5.6-luna", "2026-07-29", ("0.5", "3")),
        ("openai/gpt-5.6-luna", "2026-07-30", ("0.1", "0.6")),
        ("vertex_ai/gemini-3.6-flash", "2026-12-31", ("0.375", "1.875")),
        ("vertex_ai/gemini-3.6-flash", "2027-01-01", ("0.75", "3.75")),
        ("mistral/mistral-large-4", "2026-10-19", ("0.34", "1.045")),
        ("mistral/mistral-large-4", "2026-10-20", ("0.68", "2.09")),
        ("mistral/mistral-large-4", "2026-10-29", ("0.35", "1.05")),
        ("mistral/mistral-medium-latest", "2026-06-15", ("0.2", "1")),
        ("xai/grok-4.20-0309-reasoning", "2026-04-29", ("1.6", "4.8")),
        ("xai/grok-4.20-0309-reasoning", "2026-04-30", ("1", "2")),
    ],
)
def test_prices_are_those_of_the_date(ask: Ask, model: str, at: str, expected: tuple[str, ...]) -> None:
    assert prices(ask(model, at=at), *IO) == decimals(*expected)


def test_a_price_change_while_the_batch_ran_is_flagged(ask: Ask) -> None:
    from datetime import date

    changed = ask("openai/o3", at="2025-06-10", batch_created=date(2025, 6, 9))
    same = ask("openai/o3", at="2025-06-12", batch_created=date(2025, 6, 11))
    assert changed is not None
    assert same is not None
    assert changed.flags == ("price_change_during_batch",)
    assert same.flags == ()
    assert prices(changed, *IO) == decimals("1", "4")


def test_standard_processing(ask: Ask) -> None:
    assert prices(ask("anthropic/claude-opus-5-5", processing="standard"), *IO) == decimals("4", "20")


def test_standard_times_factor_is_an_estimate(ask: Ask) -> None:
    half, fifth_off = ask("openai/gpt-5.3-codex"), ask("xai/grok-4.6")
    assert half is not None
    assert fifth_off is not None
    assert half.estimated
    assert fifth_off.estimated
    assert prices(half, *IO) == decimals("0.875", "7")
    assert prices(fifth_off, *IO) == decimals("1.6", "4.8")


def test_a_published_batch_rate_is_no_estimate(ask: Ask) -> None:
    for model in ("openai/gpt-4.1", "mistral/mistral-large-2512", "groq/openai/gpt-oss-120b", "xai/grok-4.3"):
        rates = ask(model)
        assert rates is not None
        assert not (rates.estimated_buckets or frozenset()) & {"input", "output", "cached_input"}, model


def test_every_row_answers_and_no_batch_costs_more_than_standard(book: PriceBook, ask: Ask) -> None:
    for provider, model in book.catalogue.models():
        batch, standard = ask(f"{provider}/{model}"), ask(f"{provider}/{model}", processing="standard")
        if batch is None or standard is None:
            assert provider in {"azure", "bedrock"}, f"{provider}/{model}"  # sold in some regions only
            continue
        for bucket, rate in batch.usd_per_million.items():
            assert Decimal(0) <= rate, (provider, model, bucket)
            if bucket in {"input", "output"} and bucket in standard.usd_per_million:
                assert rate <= standard.usd_per_million[bucket], (provider, model, bucket)


@pytest.mark.parametrize(
    ("name", "at", "rates"),
    [
        ("openai/gpt-6.2-sol", TODAY, {"input": "1", "cached_input": "0.05", "output": "5", "web_search": "10000"}),
        ("openai/gpt-6.2-astra", TODAY, {"input": "4", "cached_input": "0.2", "output": "20"}),
        ("openai/gpt-6-cyber", TODAY, {"input": "10", "output": "50"}),
        ("openai/gpt-image-2.6-flare", TODAY, {"input": "2.5", "image_in": "4", "image_out": "15"}),
        ("openai/gpt-4o-search-preview", TODAY, {"web_search": "25000"}),
        ("openai/gpt-4.1-mini", TODAY, {"file_search": "2500", "container": "30000"}),
        ("openai/omni-moderation-latest", TODAY, {"input": "0"}),
        ("gemini/gemini-4-hydrogen", TODAY, {"input": "0.75", "output": "3.75", "web_search": "14000"}),
        ("gemini/gemini-4-carbon", "2026-11-30", {"input": "1", "cached_input": "0.05", "output": "5"}),
        ("gemini/gemini-4-carbon", "2026-12-01", {"input": "2", "output": "10", "web_search": "14000"}),
        ("gemini/gemini-4-argon", "2026-12-01", {"input": "2", "output": "10", "maps_query": "14000"}),
        ("vertex_ai/gemini-4-neon", TODAY, {"input": "1.5", "output": "7.5"}),
        ("gemini/gemini-omni-1.2-flash", TODAY, {"video_in": "0.75", "video_out": "6"}),
        (
            "gemini/gemini-embedding-2",
            TODAY,
            {"input": "0.1", "image_in": "0.225", "video_in": "6", "audio_in": "3.25"},
        ),
        ("gemini/gemini-3.8-flash-tts", TODAY, {"input": "0.25", "audio_out": "4.5"}),
        ("gemini/gemini-3.8-flash-lite-tts", TODAY, {"input": "0.25"}),
        ("gemini/gemini-2.5-pro-preview-tts", TODAY, {"input": "0.5"}),
        ("gemini/gemini-3.1-flash-tts-preview", TODAY, {"input": "0.5"}),
        ("gemini/gemini-3.5-flash-lite", TODAY, {"cached_input": "0.015"}),
        ("gemini/gemini-2.5-flash", TODAY, {"web_search": "35000", "maps_query": "25000"}),
        ("gemini/gemma-4-31b-it", TODAY, {"input": "0", "output": "0"}),
        ("vertex_ai/text-embedding-004", TODAY, {"input": "0.08"}),
        ("vertex_ai/multimodalembedding", TODAY, {"input": "0.8", "input_image": "100"}),
        ("vertex_ai/gemini-2.0-flash", TODAY, {"input": "0.075", "output": "0.3"}),
        ("vertex_ai/gemini-1.5-pro", TODAY, {"input": "0.625", "output": "2.5"}),
        ("bedrock/moonshotai.kimi-k3.1", TODAY, {"input": "2.2", "output": "11"}),
        ("bedrock/us-gov.xai.grok-4.7", TODAY, {"input": "1.32", "output": "3.96"}),
        ("bedrock/amazon.titan-embed-image-v1", TODAY, {"input": "0.4", "input_image": "60"}),
        ("mistral/mistral-ocr-latest", TODAY, {"page": "2000"}),
        ("mistral/voxtral-mini-latest", TODAY, {"audio_second": "25"}),
        ("mistral/mistral-large-4", TODAY, {"input": "0.35", "cached_input": "0.035"}),
        ("groq/llama-3.3-70b-versatile", TODAY, {"input": "0.295", "output": "0.395"}),
        ("xai/grok-4.7", TODAY, {"input": "1.6", "web_search": "5000"}),
        ("together/meta-llama/Llama-3.3-70B-Instruct-Turbo", TODAY, {"input": "0.52"}),
        ("together/deepseek-ai/DeepSeek-V3", TODAY, {"input": "1.25"}),
        ("fireworks/accounts/fireworks/models/glm-5p1", TODAY, {"input": "0.7", "output": "2.2"}),
        ("deepinfra/Qwen/QwQ-32B", TODAY, {"input": "0.12", "output": "0.32"}),
        ("dashscope/qwen-plus", TODAY, {"input": "0.2", "cached_input": "0.2", "output": "0.6"}),
        ("moonshot/kimi-k2.6", TODAY, {"input": "0.57", "cached_input": "0.096", "output": "2.4"}),
        ("voyage/voyage-4", TODAY, {"input": "0.0402"}),
    ],
)
def test_batch_rates_of_today(ask: Ask, name: str, at: str, rates: dict[str, str]) -> None:
    found = ask(name, at=at)
    assert found is not None
    assert {bucket: found.usd_per_million.get(bucket) for bucket in rates} == {
        bucket: Decimal(rate) for bucket, rate in rates.items()
    }


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        ("moonshot/kimi-k3", "input"),  # no batch of it
        ("voyage/voyage-multimodal-3", "input"),
        ("dashscope/glm-5.1", "input"),
        ("fireworks/accounts/fireworks/models/glm-5p1", "cached_input"),  # nobody publishes it
        ("deepinfra/deepseek-ai/DeepSeek-V3.1", "cached_input"),
    ],
)
def test_what_no_page_prices_has_no_batch_rate(ask: Ask, name: str, bucket: str) -> None:
    batch, standard = ask(name), ask(name, processing="standard")
    assert batch is not None
    assert standard is not None
    assert bucket in standard.usd_per_million
    assert bucket not in batch.usd_per_million


def test_a_zero_in_a_source_is_no_price(ask: Ask, book: PriceBook) -> None:
    assert ask("gemini/gemini-exp-1114") is None
    free = {"omni-moderation-latest", "omni-moderation-2024-09-26", "gemma-4-26b-a4b-it", "gemma-4-31b-it"}
    zeros = {
        model
        for provider, model in book.catalogue.models()
        for row in book.catalogue.rows(provider, model)
        for tier in row.tiers
        if not all((*tier.batch.values(), *tier.standard.values()))
    }
    assert zeros == free


def test_a_provider_declares_whose_prices_it_has_and_its_discount(ask: Ask) -> None:
    assert ask("somebody/gpt-5-mini") is None
    assert prices(ask("somebody/gpt-5-mini", priced_as="openai"), "input") == decimals("0.125")
    own = PriceBook.load({"somebody/gpt-5-mini": {"standard": {"input": "1"}}})
    assert prices(ask("somebody/gpt-5-mini", of=own), "input") == [None]
    assert prices(ask("somebody/gpt-5-mini", of=own, standard_factor=Decimal("0.7")), "input") == decimals("0.7")
    assert prices(ask("somebody/gpt-5-mini", of=own, priced_as="openai"), "input") == decimals("0.5")


@pytest.mark.parametrize(
    ("provider", "word"),
    [("openai", "EU "), ("nobody", "x"), ("xai", None), ("mistral", "eu"), ("azure", "westeurope")],
)
def test_regions_that_prices_know(book: PriceBook, provider: str, word: str | None) -> None:
    check_region(book, provider, word)
