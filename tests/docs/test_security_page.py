"""The threat model names a test for each threat, and every test of security is in it."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_threat_model_names_every_security_test():
    named = set(re.findall(r"`(\w+/test_\w+\.py)`", PAGE))
    assert {name for name in named if not (TESTS / name).exists()} == set()
    assert {f"security/{path.name}" for path in (TESTS / "security").glob("test_*.py")} <= named
