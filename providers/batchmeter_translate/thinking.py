"""reasoning_effort in Gemini's terms: a level on Gemini 3, a token budget on Gemini 2.5."""

import re
from collections.abc import Mapping

from .shape import Json
from .untranslatable import UntranslatableError

_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
_BUDGETS = {"none": 0, "minimal": 128, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}

_GEMINI: tuple[tuple[re.Pattern[str], str, Mapping[str, str | int]], ...] = (
    (
        re.compile(r"gemini-3-pro"),
        "thinkingLevel",
        _LEVELS | {"none": "low", "minimal": "low", "medium": "high"},
    ),
    (re.compile(r"gemini-3[.0-9]*-pro"), "thinkingLevel", _LEVELS | {"none": "low", "minimal": "low"}),
    (re.compile(r"gemini-([3-9]|[1-9]\d)"), "thinkingLevel", _LEVELS),
    (re.compile(r"gemini-2\.5-pro"), "thinkingBudget", _BUDGETS | {"none": 128}),
    (re.compile(r"gemini-2\.5-flash-lite"), "thinkingBudget", _BUDGETS | {"minimal": 512}),
    (re.compile(r""), "thinkingBudget", _BUDGETS),
)
"""First match wins. The pro models cannot stop thinking: their least is taken for `none`."""


def gemini_thinking(model: str, effort: object) -> Json:
    """A `thinkingConfig`; with thoughts in the answer, which become `reasoning_content`."""
    key, table = next((key, table) for pattern, key, table in _GEMINI if pattern.match(model))
    if effort not in table:
        known = ", ".join(table)
        raise UntranslatableError("reasoning_effort", f"{effort!r} is none of {known}", "invalid_value")
    value = table[str(effort)]
    return {key: value} if value in (0, "minimal") else {key: value, "includeThoughts": True}
