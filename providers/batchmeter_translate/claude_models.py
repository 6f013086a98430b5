"""Parameters that each family of Claude models takes: a dated table, as vendors refuse a wrong one line by line, hours later.

Checked 2026-11-30 against Anthropic's migration guides and model pages, which the tables of gateways agree with. The
list of old models is closed; a model that no row names is taken for a new one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_BUDGETS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32000,
    "max": 32000,
}
"""reasoning_effort -> thinking tokens; 1,024 is Anthropic's least."""
_UP_TO_MAX = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_ALL = _UP_TO_MAX | {"xhigh": "xhigh"}


@dataclass(frozen=True, slots=True)
class ClaudeRules:
    """Parameters that one family takes."""

    sampling: bool = False
    """`temperature`, `top_p` and `top_k`; a family without them answers 400."""
    both: bool = False
    """`temperature` and `top_p` in one request."""
    budgets: Mapping[str, int] = field(default_factory=dict[str, int])
    """reasoning_effort -> `thinking.budget_tokens`; a family without budgets thinks adaptively."""
    efforts: Mapping[str, str] = field(default_factory=dict[str, str])
    """reasoning_effort -> `output_config.effort`, with adaptive thinking."""
    can_stop_thinking: bool = True
    """`thinking: disabled` is taken."""
    prefill: bool = False
    """The last message may be the assistant's."""
    json_schema: bool = True
    """`output_config.format`."""


_FAMILIES: tuple[tuple[re.Pattern[str], ClaudeRules], ...] = (
    (
        re.compile(
            r"claude-(?:instant|v?[123](?![0-9]))|(?:opus|sonnet)-4(?:[-.]0)?(?=@|-2\d{7}|-v\d|$)|claude-4-(?:opus|sonnet)"
        ),
        ClaudeRules(sampling=True, both=True, budgets=_BUDGETS, prefill=True, json_schema=False),
    ),
    (
        re.compile(r"opus-4[-.]1(?!\d)"),
        ClaudeRules(sampling=True, budgets=_BUDGETS, prefill=True, json_schema=False),
    ),
    (re.compile(r"(?:opus|sonnet|haiku)-4[-.]5(?!\d)"), ClaudeRules(sampling=True, budgets=_BUDGETS, prefill=True)),
    (re.compile(r"(?:opus|sonnet)-4[-.]6(?!\d)"), ClaudeRules(sampling=True, efforts=_UP_TO_MAX)),
    (re.compile(r"fable|mythos"), ClaudeRules(efforts=_ALL, can_stop_thinking=False)),
    (re.compile(r""), ClaudeRules(efforts=_ALL)),
)
"""First match wins, anywhere in the name: clouds put prefixes and dates around it."""


def claude_rules(model: str) -> ClaudeRules:
    return next(rules for pattern, rules in _FAMILIES if pattern.search(model))
