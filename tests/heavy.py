"""`BATCHMETER_HEAVY=1`, as CI sets it: loops, kills and Hypothesis run their full number; without it, a smaller one."""

import os
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
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
    """Hypothesis' tests among these; those that a soak asks for more examples keep them. None is timed: machines are busy."""
    whole = HEAVY or any(name.startswith("BATCHMETER_FUZZ") for name in os.environ)
    settings.register_profile("ours", _untimed(settings.default, whole=whole))
    settings.load_profile("ours")
    for item in items:
        kept = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
        if kept is not None:
            item.obj._hypothesis_internal_use_settings = _untimed(kept, whole=whole)


def _untimed(kept: settings, *, whole: bool) -> settings:
    examples = kept.max_examples if whole else _fewer(kept.max_examples)
    patient = [*kept.suppress_health_check, HealthCheck.too_slow]
    return settings(kept, max_examples=examples, deadline=None, suppress_health_check=patient)


def _fewer(examples: int) -> int:
    return min(examples, max(_FEWEST, examples // _SHARE))
