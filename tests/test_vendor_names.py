"""Core names no vendor: providers and plugins declare what core asks."""

import re
from pathlib import Path

CORE = Path(__file__).parent.parent / "core" / "batchmeter"
VENDORS = re.compile(
    r"azure|vertex|bedrock|anthropic|mistral|\bxai\b|groq|datadog|langfuse|fireworks|together\.ai|deepinfra",
    re.IGNORECASE,
)
"""OpenAI's shapes are core's own language, and the price catalogue is data: neither is looked at."""


def test_core_names_no_vendor() -> None:
    found = [
        f"{path.relative_to(CORE)}:{number}: {line.strip()}"
        for path in sorted(CORE.rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if VENDORS.search(line)
    ]
    assert found == [], "a provider or plugin declares it, and core asks"
