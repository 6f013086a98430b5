"""Core names no vendor: providers and plugins declare what core asks."""

import re
from pathlib import Path

CORE = Path(__file__).parent.parent / "core" / "batchmeter"
VENDORS = [
    "azure",
    "vertex",
    "bedrock",
    "anthropic",
    "mistral",
    "xai",
    "groq",
    "datadog",
    "langfuse",
    "fireworks",
    "together.ai",
    "deepinfra",
]
NAMED = re.compile("|".join(rf"\b{name}\b" if name == "xai" else re.escape(name) for name in VENDORS), re.IGNORECASE)
"""OpenAI's shapes are core's own language, and the price catalogue is data: neither is looked at."""


def test_core_names_no_vendor() -> None:
    found = [
        f"{path.relative_to(CORE)}:{number}: {line.strip()}"
        for path in sorted(CORE.rglob("*.py"))
        for text in [path.read_text("utf-8")]
        for lowered in [text.lower()]
        if any(name in lowered for name in VENDORS)
        for number, line in enumerate(text.splitlines(), 1)
        if NAMED.search(line)
    ]
    assert found == [], "a provider or plugin declares it, and core asks"
