"""The other price sources in our words: one quote per model, region, processing, tier and bucket."""

import ast
import datetime as dt
import importlib
import json
import re
import sys
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Quote:
    """One number of one source."""

    source: str
    provider: str
    model: str
    region: str | None
    processing: str
    over: int
    bucket: str
    rate: Decimal


OCC_PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "gemini": "gemini",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "vertex": "vertex_ai",
}
"""Bedrock is left out: that source names models in words of its own."""

OCC_BUCKETS = {
    "input": "input",
    "cached_input": "cached_input",
    "cache_write": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "output": "output",
    "input_audio": "audio_in",
    "cached_input_audio": "cached_audio_in",
    "input_image": "image_in",
    "output_audio": "audio_out",
    "output_image": "image_out",
}

OCC_REGIONS: dict[str | None, list[str | None]] = {
    None: [None],
    "global": ["global"],
    "data-zone": ["data-zone-eu", "data-zone-us"],
    "regional": ["us-central1"],
    "us": ["us"],
    "eu": ["eu"],
}

AZURE_NAMES = {"-0513": "-2024-05-13", "-0806": "-2024-08-06", "-1120": "-2024-11-20", "-0718": "-2024-07-18"}
"""Snapshots as Azure's meters shorten them."""


def openai_cost_calculator(wheel: zipfile.ZipFile, day: str) -> Iterator[Quote]:
    """openai-cost-calculator: the vendors' pages, parsed."""
    for name, provider in OCC_PROVIDERS.items():
        listed = json.loads(wheel.read(f"openai_cost_calculator/data/pricing/{name}.json"))
        for model in listed["models"]:
            if model.get("status") != "unverified":
                for price in model["prices"]:
                    yield from _occ_price(provider, model, price, day)


def _occ_price(provider: str, model: dict[str, Any], price: dict[str, Any], day: str) -> Iterator[Quote]:
    conditions = dict(price.get("conditions", {}))
    processing = conditions.pop("service_tier", "standard")
    regions = OCC_REGIONS.get(conditions.pop("region", None), [])
    began, ends = price.get("effective_from"), price.get("effective_until")
    if conditions or processing not in {"batch", "standard"} or (began and began > day) or (ends and ends <= day):
        return
    over = price.get("min_input_tokens", 0)
    for region in regions:
        for name in (model["id"], *model.get("aliases", [])):
            for bucket, rate in price["rates"].items():
                if bucket in OCC_BUCKETS:
                    yield Quote(
                        "openai-cost-calculator",
                        provider,
                        _azure_name(name) if provider == "azure" else name,
                        region,
                        processing,
                        over - over % 1000,
                        OCC_BUCKETS[bucket],
                        Decimal(rate),
                    )


def _azure_name(name: str) -> str:
    for short, whole in AZURE_NAMES.items():
        if name.endswith(short):
            return name.removesuffix(short) + whole
    return name


GENAI_PROVIDERS = {
    "anthropic": ["anthropic"],
    "google": ["gemini", "vertex_ai"],
    "groq": ["groq"],
    "mistral": ["mistral"],
    "openai": ["openai"],
    "x-ai": ["xai"],
}

GENAI_BUCKETS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "input_audio_mtok": "audio_in",
    "cache_audio_read_mtok": "cached_audio_in",
    "output_audio_mtok": "audio_out",
}


class _Recorded(dict[str, Any]):
    """A call of a class that we do not have: its name and keywords."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


class _Recorder(dict[str, Any]):
    """A namespace in which every unknown class records how it was called."""

    def __missing__(self, name: str) -> object:
        return lambda *args, **fields: _Recorded(fields, kind=name, args=args)


_DATA_ONLY = frozenset(
    {
        *("Module", "Assign", "AnnAssign", "Expr", "Call", "keyword", "Name", "Attribute", "Subscript"),
        *("Load", "Store", "Constant", "List", "Dict", "Tuple"),
    }
)
"""Syntax that a table of constants needs; anything else would be a program."""


def _data_only(text: str) -> ast.Module:
    """SystemExit where a table has become a program: it comes from the newest wheel, unread."""
    tree = ast.parse(text)
    strange = {type(node).__name__ for node in ast.walk(tree)} - _DATA_ONLY
    strange |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    if strange:
        raise SystemExit(f"genai_prices/data.py is not only data any more: {', '.join(sorted(strange))}")
    return tree


def genai_prices(wheel: zipfile.ZipFile, day: str) -> Iterator[Quote]:
    """genai-prices: its data is Python; run with recorders in place of its classes, without its dependencies."""
    text = wheel.read("genai_prices/data.py").decode().replace("from .types import *", "")
    text = text.replace("import datetime\n", "").replace("from decimal import Decimal\n", "")
    tree = _data_only(text)
    space = _Recorder(Decimal=Decimal, datetime=dt, list=list, dict=dict, str=str, __annotations__={})
    exec(compile(tree, "genai_prices/data.py", "exec"), {"__builtins__": {}}, space)  # noqa: S102 - calls of recorders only
    for listed in space["providers"]:
        for provider in GENAI_PROVIDERS.get(listed.id, []):
            for model in listed.models:
                yield from _genai_model(provider, model, day)


def _genai_model(provider: str, model: _Recorded, day: str) -> Iterator[Quote]:
    standard = _in_force(model.prices, day)
    batch = _in_force([v for v in model.price_variants or [] if v.when == {"processing": "batch"}], day)
    for name in sorted({model.id, *_equals(model.match)}):
        yield from _genai_prices(provider, name, "standard", standard)
        # It lumps OpenAI's models of one price together; a batch price is published for the one it is named after.
        if provider != "openai" or re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name) == model.id:
            yield from _genai_prices(provider, name, "batch", batch)


def _in_force(prices: Any, day: str) -> _Recorded:
    """The price of that day, out of several dated ones."""
    if not isinstance(prices, list):
        return cast("_Recorded", prices)
    begun = [(str(p.constraint.start_date or "9") if p.constraint else "", p.prices) for p in prices]
    begun = [(start, p) for start, p in begun if start <= day]
    return max(begun, key=lambda item: item[0])[1] if begun else _Recorded()


def _equals(clause: _Recorded) -> list[str]:
    if clause.kind == "ClauseEquals":
        return [clause["equals"]]
    return [name for part in clause.get("or_", []) for name in _equals(part)]


def _genai_prices(provider: str, name: str, processing: str, prices: _Recorded) -> Iterator[Quote]:
    for key, bucket in GENAI_BUCKETS.items():
        rate = prices.get(key)
        if rate is None:
            continue
        tiers = (
            [(0, rate)] if isinstance(rate, Decimal) else [(0, rate.base), *((t.start, t.price) for t in rate.tiers)]
        )
        for over, number in tiers:
            # Image models answer in images: its one output price is theirs (1.5 has one for text, too).
            images = bucket == "output" and name.startswith("gpt-image") and "1.5" not in name
            whole = "image_out" if images else bucket
            yield Quote("genai-prices", provider, name, None, processing, over, whole, number)


MODEL_PRICES_PROVIDERS = {
    "anthropic": ["anthropic"],
    "google": ["gemini", "vertex_ai"],
    "mistral": ["mistral"],
    "openai": ["openai"],
    "xai": ["xai"],
}
MODEL_PRICES_BUCKETS = {
    "input": "input",
    "cache_read": "cached_input",
    "cache_write": "cache_write_5m",
    "output": "output",
}


def model_prices(wheel: zipfile.ZipFile, day: str) -> Iterator[Quote]:
    """model-prices: models.dev with its history; the last span counts."""
    listed = json.loads(wheel.read("model_prices/snapshot.json"), parse_float=Decimal)["prices"]
    for theirs, ours in MODEL_PRICES_PROVIDERS.items():
        for provider in ours:
            for model, processings in listed[theirs].items():
                for processing in ("batch", "standard"):
                    spans = [span for span in processings.get(processing) or [] if (span["start"] or "")[:10] <= day]
                    if spans and spans[-1]["rates"]:
                        yield from _model_prices(provider, model, processing, spans[-1]["rates"])


def _model_prices(provider: str, model: str, processing: str, rates: dict[str, Any]) -> Iterator[Quote]:
    for tier in ({"above": 0, **rates}, *rates.get("tiers", [])):
        over = tier["above"] - (1 if provider == "xai" and tier["above"] else 0)
        for key, bucket in MODEL_PRICES_BUCKETS.items():
            if tier.get(key) is not None:
                rate = round(Decimal(str(tier[key])), 9).normalize()  # computed in floats there
                yield Quote("model-prices", provider, model, None, processing, over, bucket, rate)


AZURE_KINDS = {"input": "input", "cache_read": "cached_input", "cache_write": "cache_write_5m", "output": "output"}
AZURE_ZONES = {
    "global": {"global": "eastus2"},
    "data_zone": {"data-zone-eu": "swedencentral", "data-zone-us": "eastus2", "data-zone-apac": "japaneast"},
}
"""Our region word -> a location whose meters tell its price."""
LONG_CONTEXT = 272_000


def azure_genai_prices(wheel: zipfile.ZipFile, day: str) -> Iterator[Quote]:
    """azure-genai-prices: Azure's retail price feed; its meter parser is imported without the package around it."""
    package = types.ModuleType("azure_genai_prices")
    package.__path__ = [f"{wheel.filename}/azure_genai_prices"]
    sys.modules["azure_genai_prices"] = package
    meters = importlib.import_module("azure_genai_prices.meters")
    items = json.loads(wheel.read("azure_genai_prices/data/snapshot.json"), parse_float=Decimal)["items"]
    table, _ = meters.parse_catalog(items, as_of=day)
    for meter in table.values():
        key = meter.key
        bucket, zones = AZURE_KINDS.get(key.kind.value), AZURE_ZONES.get(key.deployment.value, {})
        if bucket is None or key.mode.value not in {"batch", "standard"}:
            continue
        for region, location in zones.items():
            rate = meter.region_prices.get(location)
            if rate is not None:
                over = LONG_CONTEXT if key.context.value == "long" else 0
                yield Quote(
                    "azure-genai-prices",
                    "azure",
                    _azure_name(key.model),
                    region,
                    key.mode.value,
                    over,
                    bucket,
                    (rate * MILLION).normalize(),
                )


SOURCES = {
    "azure_genai_prices": azure_genai_prices,
    "genai_prices": genai_prices,
    "model_prices": model_prices,
    "openai_cost_calculator": openai_cost_calculator,
}
"""By the name of the wheel."""
