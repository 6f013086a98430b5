"""The tables that say how vendors count and bill: what a provider declares, and OpenAI's own.

A formula is counters joined by ` + ` and ` - `. A counter is a dotted path into the usage object; `a|b` takes the first
that is there. A list of counters is named in `Dialect.lists`; then `list.KIND` is the sum over its items of one kind and
`list.*` over all. A counter that is absent or null counts 0. No bucket may come out negative: then the counters
contradict each other and the line's usage is invalid. A counter with an amount that neither a formula nor `harmless`
names is unknown, and so is the cost of its line: it may be billed.

Providers declare a `Dialects` under the entry-point group `batchmeter.dialects`, by the name that prices and
`custom_llm_provider` use. The modules there import nothing but this one, so that a small file is metered at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, cast

from msgspec import Struct

Usage = dict[str, Any]
"""A usage object as decoded: counters, objects and lists of counters."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dialect:
    """One way of counting."""

    name: str
    needs: str
    """Counters without which there is no usage to speak of, apart by spaces."""
    prompt: str
    """The whole prompt, cached and written tokens included: it decides the price tier."""
    buckets: Mapping[str, str]
    """Bucket -> formula; `output` last, where there is any."""
    reasoning: str = ""
    """Already inside `output`."""
    total: str = ""
    """The vendor's own sum of all tokens; a line whose buckets have another sum takes a reading that has this one."""
    checks: tuple[str, ...] = ()
    """More formulas that must not come out negative."""
    harmless: frozenset[str] = frozenset()
    """Counters that are known not to be billed, or to be inside another; `path.*` for all below a path."""
    lists: Mapping[str, tuple[str | None, str]] = field(default_factory=dict[str, tuple[str | None, str]])
    """List of counters -> the field that names an item's kind, and the field that counts."""
    reported: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Counter of the vendor's own amount -> USD for one of it; the first that is there counts."""
    reported_unless: str = ""
    """A switch that says the amount is not all that somebody bills for the line."""
    marks: str | None = None
    """The `type` or `object` of the bodies that count so, where counters alone do not tell; `!x`: any other."""
    readings: tuple["Dialect", ...] = ()
    """Other ways to count the same counters, for lines whose total says so."""
    parts: "tuple[str, Callable[[Usage], Iterable[Part] | None]] | None" = None
    """A counter list whose items are requests of their own, and its reader; None from it: an item is unknown."""
    places: bool = False
    """`inference_geo` and `service_tier` on a line count: where it ran, and `standard` for billed outside the batch."""


class Part(Struct, gc=False):
    """One more request that a line's answer took, billed beside it."""

    model: str | None
    """None: the line's own."""
    usage: Usage


class Answer(Struct, gc=False):
    """One line as it was read."""

    custom_id: str | None = None
    failure: str | None = None
    """The error's code; None for an answer that the vendor delivered, whatever it says."""
    model: str | None = None
    usage: Usage | None = None
    kind: str | None = None
    """The body's `type` or `object`."""
    dialect: Dialect | None = None
    """Where the row itself decides it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A key of the line under which some vendor puts the answer."""

    key: str
    shape: Callable[[type], Any]
    """From the type of bodies to the type of what is there; it has only what is read."""
    open: Callable[[Any], object] | None
    """From the line to its body, to a failed Answer, or to None where there is neither. None: it is the request."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dialects:
    """All that one provider's rows need to be read and counted. Names of fields are those in the JSON."""

    provider: str
    speaks: tuple[Dialect, ...] = ()
    """Tried in this order; other providers' after them, unless `private`."""
    private: bool = False
    """No other provider's rows are counted so."""
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the answer's body that are read, beyond OpenAI's -> their type."""
    usage_of: Callable[[Any, str | None], Answer | None] | None = None
    """Reads a body that has no `usage`; the second argument is the job's model. None: not this vendor's."""
    beside: Mapping[str, Callable[[Any], Mapping[str, int]]] = field(
        default_factory=dict[str, Callable[[Any], Mapping[str, int]]]
    )
    """Field of the body -> what it adds to the usage: things that are billed and that no counter has."""
    envelopes: tuple[Envelope, ...] = ()
    ids: tuple[str, ...] = ()
    """Keys of the line that hold the caller's id, beyond `custom_id`."""
    id_of: Callable[[Any], str | None] | None = None
    """Finds the caller's id elsewhere in the line."""
    manifest: Dialect | None = None
    """The sums of a whole job, in a line of their own that has its `needs`."""
    bills_job_model: bool = False
    """The vendor bills by the job's model, whatever a row says."""
    repeats: Literal["no", "files", "ids"] = "no"
    """Whether rows are exported more than once: in several files, or anywhere under the same id."""
    free: tuple[str, ...] = ()
    """Endpoints, and starts of model names, that are not billed."""
    per_answer: Mapping[str, str] = field(default_factory=dict[str, str])
    """Start of a model's name -> the counter that each of its answers adds one to."""
    images: tuple[str, ...] = ()
    """Starts of names of models whose output is images, also where no counter says so."""


_SLUG = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def failure_code(error: object) -> str | None:
    """The shortest true name of an error; None for `null`, `""`, `{}` and `{"code": null, "message": null}`."""
    if not isinstance(error, dict):
        text = str(error or "")
        return (text if _SLUG.fullmatch(text) else "error") if text else None
    found = cast("dict[str, object]", error)
    if not any(found.values()):
        return None
    if found.get("error"):
        return failure_code(found["error"])
    named = (found.get(name) for name in ("code", "errorCode", "status", "type"))
    return next((str(name)[:64] for name in named if isinstance(name, str | int) and name != ""), "error")


_LONG_WRITE = (
    "prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
    "|prompt_tokens_details.cache_write_tokens_details.ttl_1h_tokens"
)
_CACHED = "prompt_tokens_details.cached_tokens|cached_tokens|prompt_cache_hit_tokens"
"""In its details, or flat, as some compatibles have it."""
_CACHED_AUDIO = "prompt_tokens_details.cached_tokens_details.audio_tokens"
_REASONED = "completion_tokens_details.reasoning_tokens|reasoning_tokens"
_CHAT_OUTPUT = (
    "completion_tokens - completion_tokens_details.audio_tokens - completion_tokens_details.image_tokens"
    " - completion_tokens_details.video_tokens"
)
_CHAT = {
    "input": f"prompt_tokens - {_CACHED} - prompt_tokens_details.cache_write_tokens"
    f" - prompt_tokens_details.audio_tokens + {_CACHED_AUDIO}",
    "cached_input": f"{_CACHED} - {_CACHED_AUDIO}",
    "cache_write_5m": f"prompt_tokens_details.cache_write_tokens - {_LONG_WRITE}",
    "cache_write_1h": _LONG_WRITE,
    "audio_in": f"prompt_tokens_details.audio_tokens - {_CACHED_AUDIO}",
    "cached_audio_in": _CACHED_AUDIO,
    "audio_out": "completion_tokens_details.audio_tokens",
    "image_out": "completion_tokens_details.image_tokens",
    "video_out": "completion_tokens_details.video_tokens",
    "web_search": "num_sources_used + num_search_queries",
    "file_search": "num_file_searches",
    "maps_query": "num_maps_queries",
    "output": _CHAT_OUTPUT,
}
_REPORTED = {"cost_in_usd_ticks": Decimal("1e-10"), "cost.total_cost": Decimal(1), "cost": Decimal(1)}
"""Amounts in USD that some compatibles put on every row."""
_BYOK = "is_byok"
"""A router's row that was paid with the caller's own key at another vendor: `cost` is the router's fee only."""
_MONEY = {"cost.*", "cost_details.*"}
_TIMES = {"queue_time", "prompt_time", "completion_time", "total_time"}
"""Seconds that some compatibles send along with their counters."""

_INSIDE = Dialect(
    name="chat",
    needs="prompt_tokens completion_tokens|total_tokens",
    prompt="prompt_tokens",
    buckets=_CHAT,
    reasoning=_REASONED,
    total="total_tokens",
    harmless=frozenset(
        {
            "prompt_tokens_details.text_tokens",
            "prompt_tokens_details.image_tokens",
            "prompt_tokens_details.cached_tokens_details.*",
            "prompt_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
            "completion_tokens_details.text_tokens",
            "completion_tokens_details.accepted_prediction_tokens",
            "completion_tokens_details.rejected_prediction_tokens",
            "prompt_cache_miss_tokens",
            *_MONEY,
            *_TIMES,
        }
    ),
    reported=_REPORTED,
    reported_unless=_BYOK,
)

_BESIDE = replace(_INSIDE, name="chat_reasoning_beside", buckets=_CHAT | {"output": f"{_CHAT_OUTPUT} + {_REASONED}"})
CHAT = replace(_INSIDE, readings=(_BESIDE,))
"""OpenAI chat, completions and embeddings, and most compatibles: details are inside their sums. Prediction tokens are
inside completion_tokens, image tokens of a prompt are billed as its text. Which of the cached tokens are audio, OpenAI
says in its Realtime usage, and translated answers of other vendors in the same place."""
REASONING_BESIDE = replace(_BESIDE, readings=(_INSIDE,))
"""Compatibles whose reasoning is beside completion_tokens, and is billed as output."""

_KEPT = "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
RESPONSES = Dialect(
    name="responses",
    needs="input_tokens output_tokens|total_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.cached_tokens - input_tokens_details.cache_write_tokens"
        " - input_tokens_details.audio_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "cache_write_5m": f"input_tokens_details.cache_write_tokens - {_KEPT}",
        "cache_write_1h": _KEPT,
        "audio_in": "input_tokens_details.audio_tokens",
        "audio_out": "output_tokens_details.audio_tokens",
        "web_search": "web_search_calls + num_sources_used",
        "file_search": "file_search_calls",
        "container": "containers",
        "image_generation": "image_generation_calls|tool_usage.image_gen",
        "output": "output_tokens - output_tokens_details.audio_tokens",
    },
    reasoning="output_tokens_details.reasoning_tokens",
    total="total_tokens",
    harmless=frozenset(
        {
            "input_tokens_details.text_tokens",
            "input_tokens_details.image_tokens",
            "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
            "output_tokens_details.text_tokens",
            *_MONEY,
            *_TIMES,
        }
    ),
    reported=_REPORTED,
    reported_unless=_BYOK,
    marks="!message",
)

IMAGES = Dialect(
    name="images",
    needs="input_tokens output_tokens|total_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.image_tokens - input_tokens_details.cached_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "image_in": "input_tokens_details.image_tokens",
        "image_out": "output_tokens - output_tokens_details.text_tokens",
        "output": "output_tokens_details.text_tokens",
    },
    total="total_tokens",
    harmless=frozenset({"input_tokens_details.text_tokens", "output_tokens_details.image_tokens", *_MONEY}),
    reported=_REPORTED,
    reported_unless=_BYOK,
    marks="images",
)
"""OpenAI image generations and edits: output is image tokens unless the details say text."""
IMAGES_BY_DETAILS = replace(
    IMAGES, name="images_by_details", needs=f"{IMAGES.needs} input_tokens_details.image_tokens", marks="!response"
)

_CALLS = {
    "file_search_call": "file_search_calls",
    "code_interpreter_call": "containers",
    "image_generation_call": "image_generation_calls",
}
"""Items of a Responses body that are billed by themselves -> what they count as."""
_UNBILLED = frozenset(
    {
        "message",
        "reasoning",
        "compaction",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "computer_call",
        "computer_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "tool_search_call",
        "tool_search_output",
    }
)
"""Items that cost their tokens only; a shell of OpenAI's own runs in a container, which is billed."""
_LOOKED = frozenset({"open_page", "find_in_page"})
"""Actions of a web search call that search nothing."""


class _Environment(Struct, gc=False):
    """Where a hosted shell ran."""

    container_id: str | None = None


class _Action(Struct, gc=False):
    """The action of a web search call."""

    type: str | None = None


class Item(Struct, gc=False):
    """One item of a Responses body."""

    type: str | None = None
    status: str | None = None
    action: _Action | None = None
    container_id: str | None = None
    environment: _Environment | None = None


def _items(output: Sequence[Item]) -> Mapping[str, int]:
    """Uses of OpenAI's own tools: billed, and in no counter of `usage`. Calls share a container."""
    counts: Usage = {}
    containers: set[str | None] = set()
    for item in output:
        named = _counted_as(item)
        if named is not None:
            counts[named] = counts.get(named, 0) + 1
        containers.add(item.container_id or (item.environment.container_id if item.environment else None))
    known = len(containers - {None})
    if known or "containers" in counts:
        counts["containers"] = max(known, 1)
    return counts


def _counted_as(item: Item) -> str | None:
    if item.type in _UNBILLED:
        return None
    if item.type != "web_search_call":
        return _CALLS.get(item.type or "", f"output.{item.type}")
    done = item.status in {None, "completed"} and (item.action is None or item.action.type not in _LOOKED)
    return "web_search_calls" if done else None


def _tool_usage(usage: Mapping[str, Usage | None]) -> Mapping[str, int]:
    """OpenAI's own words on its tools, beside the usage: they count searches; another tool that has amounts was used."""
    searches = (usage.get("web_search") or {}).get("num_requests")
    counts: Usage = {} if searches is None else {"web_search_calls": searches}
    others = {name: uses for name, uses in usage.items() if name != "web_search" and _has_amounts(uses)}
    return counts | {f"tool_usage.{name}": 1 for name in others}


def _has_amounts(uses: object) -> bool:
    return any(map(_has_amounts, cast("Usage", uses).values())) if isinstance(uses, dict) else bool(uses)


OPENAI = Dialects(
    provider="openai",
    speaks=(CHAT, IMAGES, IMAGES_BY_DETAILS, RESPONSES),
    body={"output": list[Item], "tool_usage": dict[str, dict[str, Any] | None] | None},
    beside={"output": _items, "tool_usage": _tool_usage},
    free=("/moderations", "omni-moderation", "text-moderation"),
    per_answer={
        "gpt-4o-search-preview": "num_search_queries",
        "gpt-4o-mini-search-preview": "num_search_queries",
        "gpt-5-search-api": "num_search_queries",
    },
    images=("gpt-image", "chatgpt-image", "dall-e"),
)
"""Every provider without a declaration of its own is read so, but nothing of it is free."""
