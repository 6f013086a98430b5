"""Meters: what the names of things billed say in clouds' bills: the model, the kind of token, and whether it is a batch."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Meter:
    """Empty `kind`: no token meter that is known."""

    model: str = ""
    kind: str = ""
    batch: bool = False
    unknown: bool = False
    """The name tells of a model's tokens in batches, and cannot be read."""
    per: int = 1
    """Tokens of one unit, where the name says so."""


_BATCH = re.compile(r"\bbatch\b|(?<=[a-z])Batch(?=[A-Z])", re.IGNORECASE)

# Azure: `gpt 4.1 nano Batch Inp glbl Tokens`, `gpt-4o-mini-0718-Batch-Outp-glbl`, `gpt 4o 0806 Batch cached Inp Data Zone`.
_AZURE = re.compile(
    r"^(?P<model>.+?)[\s-]+(?P<words>(?:(?:batch|cached|cchd|cd|cache|wr|write)[\s-]+)*)"
    r"(?P<way>inpt|inp|input|outpt|outp|output|opt|in|out)\b(?P<rest>.*)$",
    re.IGNORECASE,
)
_AZURE_MODEL = re.compile(
    r"^(?:gpt|o\d|text[\s-]embedding|embedding|claude|llama|phi|mistral|deepseek|grok|azure openai)", re.IGNORECASE
)
_CACHED = frozenset({"cached", "cchd", "cd"})
_OUT = re.compile(r"^(?:out|op)", re.IGNORECASE)


@lru_cache(4096)
def azure_meter(name: str) -> Meter:
    batch = bool(re.search(r"(?:^|[\s-])batch(?:[\s-]|$)", name, re.IGNORECASE))
    found = _AZURE.match(name.strip())
    if found is None or not _AZURE_MODEL.match(name.strip()):
        return Meter(batch=batch, unknown=batch and bool(_AZURE_MODEL.match(name.strip())))
    words = {word.lower() for word in re.split(r"[\s-]+", found["words"] + " " + found["rest"]) if word}
    if re.search(r"(?:^|[\s-])(?:ft|finetuned|grader|aud|audio|img|image|rt)(?:[\s-]|$)", name, re.IGNORECASE):
        return Meter(batch=batch, unknown=batch)
    kind = "output" if _OUT.match(found["way"]) else "cached_input" if words & _CACHED else "uncached_input"
    if words & {"wr", "write"}:
        kind = "cache_write"
    return Meter(found["model"].strip(" -"), kind, batch or "batch" in words)


# Google: `Gemini 3.8 Flash Global Text Output - Batch Predictions`, `Gemini 2.5 Pro Thinking Text Output (Long) - Batch …`.
_GOOGLE_NOISE = re.compile(
    r"\b(?:GA|global|regional|generate(?:_?content)?|text|image|audio|video|thinking|tokens?|count|long|short|prediction[s]?|"
    r"context|online|batch|non-global|us|eu)\b|[()\-\u2013,]",
    re.IGNORECASE,
)
_GOOGLE_WAY = re.compile(r"\b(?P<cached>cach(?:ed|ing)\b.*?)?(?P<way>input|output)\b|\bcaching\b", re.IGNORECASE)
_GOOGLE_MODEL = re.compile(r"^(?:gemini|claude|llama|mistral|gemma|deepseek|qwen|text[- ]embedding)", re.IGNORECASE)


@lru_cache(4096)
def google_sku(name: str) -> Meter:
    batch = bool(re.search(r"batch\s+predictions?|\bbatch\b", name, re.IGNORECASE))
    if not _GOOGLE_MODEL.match(name.strip()):
        return Meter(batch=batch, unknown=batch and "token" in name.lower())
    way = _GOOGLE_WAY.search(name)
    if way is None or re.search(r"storage|tuning|grounding|search", name, re.IGNORECASE):
        return Meter(batch=batch, unknown=batch)
    cached = (
        bool(way["cached"])
        or way[0].lower() == "caching"
        or bool(re.search(r"\bcach(?:ed|ing)\b", name, re.IGNORECASE))
    )
    model = _GOOGLE_NOISE.sub(" ", name[: way.start()])
    model = " ".join(re.sub(r"\bcach(?:ed|ing)\b", " ", model, flags=re.IGNORECASE).split())
    kind = "cached_input" if cached else "output" if way["way"].lower() == "output" else "uncached_input"
    return Meter(model, kind, batch)


# AWS: `USE1-Llama4-Maverick-17B-input-tokens-batch`, `USE1-zai.glm-4.7-mantle-output-tokens-batch`.
_AWS = re.compile(
    r"^(?-i:[A-Z]{2,5}\d-)?(?P<model>.+?)(?:-mantle)?-(?P<kind>cache-read-input|cache-write-input|input|output)-tokens?"
    r"(?:-count)?(?P<tier>(?:-[a-z]+)*)$",
    re.IGNORECASE,
)
_AWS_MARKET = re.compile(
    r"Million(?P<batch>Batch)?(?P<kind>CacheRead|CacheWrite)?(?P<way>Input|Output)Tokens?", re.IGNORECASE
)
_AWS_KINDS = {"input": "uncached_input", "output": "output", "cache-read-input": "cached_input", "cache-write-input": "cache_write"}  # fmt: skip
_MILLION = 1_000_000


@lru_cache(4096)
def aws_usage(name: str, product: str = "") -> Meter:
    """`product`: the model's name of a marketplace row, whose usage type names none."""
    text = name.strip()
    market = _AWS_MARKET.search(text)
    if market is not None:
        made = (market["kind"] or "").lower()
        kind = {"cacheread": "cached_input", "cachewrite": "cache_write"}.get(made) or _AWS_KINDS[market["way"].lower()]
        model = re.sub(r"\s*\((?:amazon bedrock edition|bedrock)\)", "", product, flags=re.IGNORECASE).strip()
        batch = bool(market["batch"])
        return Meter(model, kind, batch, per=_MILLION) if model else Meter(batch=batch, unknown=batch)
    found = _AWS.match(text)
    if found is None:
        batch = bool(re.search(r"tokens?.*-batch\b", text, re.IGNORECASE))
        return Meter(batch=batch, unknown=batch)
    return Meter(found["model"], _AWS_KINDS[found["kind"].lower()], "-batch" in found["tier"].lower())


READERS: Mapping[str, Callable[[str], Meter]] = {"azure": azure_meter, "google": google_sku, "aws": aws_usage}


@lru_cache(4096)
def any_meter(texts: tuple[str, ...]) -> Meter:
    """The first text that any vendor's reader knows; else one that says it is about batches."""
    unknown = Meter()
    for text in filter(None, texts):
        for read in READERS.values():
            found = read(text)
            if found.kind:
                return found
            unknown = found if found.unknown and not unknown.unknown else unknown
    return unknown
