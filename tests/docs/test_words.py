"""Every reason, note and flag that the code can put on a cost is explained on its page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "core" / "batchmeter"
SAID = {
    "metering/answers.py": r'notes\["(\w+)"\]|lacks\(\w+, "(\w+)"',
    "metering/counting.py": r'reason = "(\w+)"',
    "metering/repeats.py": r'notes\["(\w+)"\]',
    "metering/result.py": r'notes\["(\w+)"\]',
    "pricing/price.py": r'(?:reason = |None, |or )"(\w+)"',
    "pricebook/book.py": r'^[A-Z_]+ = "(\w+)"',
    "reports/price_again.py": r'^[A-Z_]+ = "(\w+)"',
    "tracker/build_events.py": r'^[A-Z_]+ = "(\w+)"',
    "tracker/settle.py": r'^[A-Z_]+ = "(\w+)"',
}
"""File -> how it spells such a word."""
PAGES = ("unknown-cost.md", "prices.md")


@pytest.mark.parametrize("name", SAID)
def test_what_a_cost_may_say_is_explained(name):
    found = re.findall(SAID[name], (CODE / name).read_text(encoding="utf-8"), re.MULTILINE)
    words = {word for each in found for word in ([each] if isinstance(each, str) else each) if word}
    assert words
    explained = "".join((ROOT / "docs" / "concepts" / page).read_text(encoding="utf-8") for page in PAGES)
    assert sorted(word for word in words if f"`{word}`" not in explained) == []
