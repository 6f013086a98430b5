"""`BATCHMETER_HEAVY=1`, as CI sets it: loops, kills and Hypothesis run their full number; without it, a smaller one."""

import os
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis.internal.conjecture import providers

Value = TypeVar("Value")

HEAVY = bool(os.environ.get("BATCHMETER_HEAVY"))
_SHARE = 4
"""Hypothesis draws one example of so many by default."""
_FEWEST = 8


def heavy(full: Value, short: Value) -> Value:
    return full if HEAVY else short


def keep_short() -> None:
    """Hypothesis would parse all our modules, in each worker, for constants that it might draw."""
    if not HEAVY:
        providers._get_local_constants = lambda: providers._local_constants


def draw_fewer(items: list[Any]) -> None:
    """Hypothesis' tests among these; those that a soak asks for more examples keep them."""
    if HEAVY or any(name.startswith("BATCHMETER_FUZZ") for name in os.environ):
        return
    settings.register_profile("short", max_examples=_fewer(100))
    settings.load_profile("short")
    for item in items:
        kept = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
        if kept is not None:
            item.obj._hypothesis_internal_use_settings = settings(kept, max_examples=_fewer(kept.max_examples))


def _fewer(examples: int) -> int:
    return min(examples, max(_FEWEST, examples // _SHARE))
