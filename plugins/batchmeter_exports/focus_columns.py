"""FOCUS columns: one charge as a row of the Cost and Usage dataset, in version 1.4 or 1.2 (focus.finops.org)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from batchmeter.pricing.groups import TOOLS

from .charges import EXACT, MILLION, Amount, Charge
from .flat import cell, plain
from .span import next_month

Version = Literal["1.4", "1.2"]
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Names as the vendors' own bills have them."""

    name: str
    service: str


VENDORS = {
    "anthropic": Vendor("Anthropic", "Claude API"),
    "azure": Vendor("Microsoft", "Azure OpenAI"),
    "bedrock": Vendor("AWS", "Amazon Bedrock"),
    "gemini": Vendor("Google", "Gemini API"),
    "mistral": Vendor("Mistral AI", "Mistral API"),
    "openai": Vendor("OpenAI", "OpenAI API"),
    "vertex_ai": Vendor("Google Cloud", "Vertex AI"),
    "xai": Vendor("xAI", "xAI API"),
}
"""Any other provider goes by its own name."""
_METERS = {
    "input": "Input Tokens",
    "cached_input": "Cache Read Input Tokens",
    "cache_write_5m": "Cache Write Input Tokens (5m)",
    "cache_write_1h": "Cache Write Input Tokens (1h)",
    "audio_in": "Audio Input Tokens",
    "cached_audio_in": "Cache Read Audio Input Tokens",
    "image_in": "Image Input Tokens",
    "cached_image_in": "Cache Read Image Input Tokens",
    "video_in": "Video Input Tokens",
    "cached_video_in": "Cache Read Video Input Tokens",
    "output": "Output Tokens",
    "audio_out": "Audio Output Tokens",
    "image_out": "Image Output Tokens",
    "video_out": "Video Output Tokens",
    "web_search": "Web Search Calls",
    "file_search": "File Search Calls",
    "maps_query": "Maps Query Calls",
    "tool_call": "Tool Calls",
    "container": "Containers",
    "session": "Sessions",
    "image_generation": "Generated Images",
    "input_image": "Input Images",
    "audio_second": "Audio Seconds",
    "page": "Pages",
}
_UNITS = {"input_image": "Images", "image_generation": "Images", "audio_second": "Seconds", "page": "Pages"}
AMOUNTS = (
    "BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost", "ConsumedQuantity",
    "PricingQuantity",
)  # fmt: skip
"""Columns that add up; all others tell rows apart."""
_SHARED = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "Tags",
]
_OWN = ["x_BatchmeterAccount", "x_BatchmeterEstimated", "x_BatchmeterPriceOrigin"]
_ADDED: Mapping[Version, str] = {
    "1.4": "HostProviderName ServiceProviderName",
    "1.2": "CommitmentDiscountStatus PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost "
    "PricingCurrencyListUnitPrice ProviderName PublisherName",
}
"""1.2 wants the pricing currency and an empty CommitmentDiscountStatus wherever other columns refer to them."""


def header(version: Version) -> list[str]:
    """The same columns in every file of a version, by name; our own last."""
    return [*sorted([*_SHARED, *_ADDED[version].split()]), *_OWN]


def row_of(charge: Charge, amount: Amount, version: Version, billing_account: Callable[[str], str]) -> Row:
    """Every cell as text, empty for null; numbers in plain digits."""
    vendor = VENDORS.get(charge.provider, Vendor(charge.provider, charge.provider))
    cost = plain(amount.cost)
    money = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)
    row = dict.fromkeys(header(version), "") | money | _when(charge.day) | _priced(charge, amount)
    row |= {
        "BillingAccountId": cell(billing_account(charge.account)),
        "BillingAccountName": cell(charge.account),
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargeDescription": cell(_description(charge)),
        "ChargeFrequency": "Usage-Based",
        "InvoiceIssuerName": vendor.name,
        "RegionId": charge.region,
        "RegionName": charge.region,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": vendor.service,
        "ServiceSubcategory": "Generative AI",
        "Tags": charge.tags,
        "x_BatchmeterAccount": cell(charge.account),
        "x_BatchmeterEstimated": cell(charge.estimated),
        "x_BatchmeterPriceOrigin": charge.origin,
    }
    if charge.batch_id:
        row |= {"ResourceId": cell(charge.batch_id), "ResourceType": "Batch"}
    if version == "1.4":
        return row | {"HostProviderName": vendor.name, "ServiceProviderName": vendor.name}
    price = row["ListUnitPrice"]
    pricing = {"PricingCurrency": "USD", "PricingCurrencyEffectiveCost": cost}
    pricing |= {"PricingCurrencyContractedUnitPrice": price, "PricingCurrencyListUnitPrice": price}
    return row | pricing | {"ProviderName": vendor.name, "PublisherName": vendor.name}


def billing_period(day: date) -> Row:
    first = day.replace(day=1)
    return {"BillingPeriodStart": _midnight(first), "BillingPeriodEnd": _midnight(next_month(first))}


def _when(day: date) -> Row:
    period = {"ChargePeriodStart": _midnight(day), "ChargePeriodEnd": _midnight(day + timedelta(days=1))}
    return {**billing_period(day), **period}


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _priced(charge: Charge, amount: Amount) -> Row:
    """Nothing where there is no unit price: FOCUS wants all of these together or none."""
    if charge.rate is None:
        return {}
    unit = _unit(charge.bucket)
    sku = _sku(charge)
    rate = plain(charge.rate)
    details = {
        "x_ModelId": charge.priced_as or charge.model,
        "x_ProcessingTier": charge.processing,
        "x_ContextTier": f">{charge.prompt_over}" if charge.prompt_over else None,
        "x_TokenDirection": _direction(charge.bucket),
        "x_TokenCacheAction": _cache(charge.bucket),
    }
    return {
        "ConsumedQuantity": str(amount.units),
        "ConsumedUnit": unit,
        "ContractedUnitPrice": rate,
        "ListUnitPrice": rate,
        "PricingCategory": "Standard",
        "PricingQuantity": plain(EXACT.divide(amount.units, MILLION)),
        "PricingUnit": f"1000000 {unit}",
        "SkuId": sku,
        "SkuMeter": _METERS.get(charge.bucket, charge.bucket),
        "SkuPriceDetails": json.dumps({name: value for name, value in details.items() if value}, separators=(",", ":")),
        "SkuPriceId": f"{sku}@{rate}",
    }


def _sku(charge: Charge) -> str:
    parts = [charge.provider, charge.priced_as or charge.model, charge.processing, charge.bucket]
    parts += [f">{charge.prompt_over}"] if charge.prompt_over else []
    return cell("/".join([*parts, *(part for part in (charge.region, charge.geo) if part)]))


def _unit(bucket: str) -> str:
    return _UNITS.get(bucket) or ("Requests" if bucket in TOOLS else "Tokens")


def _direction(bucket: str) -> str | None:
    if _unit(bucket) != "Tokens":
        return None
    return "Output" if bucket == "output" or bucket.endswith("_out") else "Input"


def _cache(bucket: str) -> str | None:
    if _direction(bucket) != "Input":
        return None
    return "Read" if bucket.startswith("cached_") else "Write" if bucket.startswith("cache_write") else "Uncached"


def _description(charge: Charge) -> str:
    meter = _METERS.get(charge.bucket, charge.bucket).lower()
    return f"{charge.model or 'no model'} {charge.processing} {meter or 'cost as a whole'}"
