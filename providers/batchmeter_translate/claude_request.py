"""An OpenAI chat request -> an Anthropic Messages request, by the rules of its model (claude_models.py)."""

from typing import Any

from .claude_messages import ClaudeTarget, choice_of, conversation, tools_of
from .claude_models import ClaudeRules, claude_rules
from .claude_schema import closed_schema
from .gemini_request import DROPPED
from .shape import Json, is_array, mapping, present, sequence
from .untranslatable import Notes, UntranslatableError

DEFAULT_MAX_TOKENS = 4096
"""Anthropic demands a limit, OpenAI does not."""
DEFAULT_WITH_THINKING = 16_384
"""Adaptive thinking is part of it."""

_SAMPLING = ("temperature", "top_p", "top_k")
_LEAST_TOP_P = 0.95
"""With a thinking budget."""
IGNORED = {name: why.replace("Gemini", "Claude") for name, why in DROPPED.items()} | {
    "seed": "Claude has no seed",
    "presence_penalty": "Claude has no penalties",
    "frequency_penalty": "Claude has no penalties",
    "logprobs": "Claude gives no log probabilities",
    "top_logprobs": "Claude gives no log probabilities",
}
_CONVERTED = frozenset(
    {
        "model",
        "messages",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "reasoning_effort",
        "thinking",
        "output_config",
        "stream",
        "n",
        "response_format",
        "modalities",
        "parallel_tool_calls",
        "user",
        *_SAMPLING,
    }
)


def claude_request(body: Json, notes: Notes, target: ClaudeTarget, model: str) -> Json:
    """`model` decides the rules; UntranslatableError for what cannot be said to it."""
    rules = claude_rules(model)
    _refuse(body)
    for name in body:
        if name not in _CONVERTED and body[name] is not None:
            _drop(name, notes)
    messages, system = conversation(body, target)
    if messages[-1]["role"] == "assistant" and not rules.prefill:
        raise UntranslatableError(
            "messages", f"{model} does not go on with an assistant's message: the last one has to be the user's"
        )
    thinking, output = _thinking(body, rules)
    if (form := _format(body.get("response_format"), notes, rules, target)) is not None:
        output["format"] = form
    tools = tools_of(body, target)
    return present(
        anthropic_version=target.version,
        model=model if target.names_model else None,
        max_tokens=_limit(body, thinking),
        messages=messages,
        system=system or None,
        tools=tools or None,
        tool_choice=_choice(body, thinking) if tools else None,
        stop_sequences=_stops(body.get("stop")),
        thinking=thinking,
        output_config=output or None,
        metadata={"user_id": str(body["user"])} if body.get("user") else None,
        **_sampling(body, rules, thinking, notes),
    )


def _refuse(body: Json) -> None:
    if body.get("n") not in (None, 1):
        raise UntranslatableError("n", "Claude gives one answer per request")
    if body.get("stream"):
        raise UntranslatableError("stream", "a batch does not stream; leave it out")
    if any(word != "text" for word in sequence(body.get("modalities"))):
        raise UntranslatableError("modalities", "Claude answers with text only")


def _drop(name: str, notes: Notes) -> None:
    if name not in IGNORED:
        raise UntranslatableError(name, f"`{name}` has no Anthropic counterpart; leave it out, or send native rows")
    notes.drop(name, IGNORED[name])


def _thinking(body: Json, rules: ClaudeRules) -> tuple[Json | None, Json]:
    """`thinking` and `output_config`: given in Anthropic's own words, or from reasoning_effort."""
    effort = body.get("reasoning_effort")
    given, output = mapping(body.get("thinking")) or None, dict(mapping(body.get("output_config")))
    if given is not None or effort is None:
        return given, output
    known = rules.budgets or rules.efforts
    if effort != "none" and effort not in known:
        raise UntranslatableError(
            "reasoning_effort", f"{effort!r} is none of none, {', '.join(known)}", "invalid_value"
        )
    if rules.budgets:
        return None if effort == "none" else {"type": "enabled", "budget_tokens": rules.budgets[effort]}, output
    if effort == "none":
        return {"type": "disabled"} if rules.can_stop_thinking else None, output
    return {"type": "adaptive"}, {"effort": rules.efforts[effort], **output}


def _limit(body: Json, thinking: Json | None) -> Any:
    """A budget is part of the limit; one that takes all of it is added."""
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    adaptive = (thinking or {}).get("type") == "adaptive"
    limit = most or (DEFAULT_WITH_THINKING if adaptive else DEFAULT_MAX_TOKENS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UntranslatableError("max_tokens", f"`max_tokens` is {limit!r}, not a number from 1", "invalid_value")
    budget = (thinking or {}).get("budget_tokens")
    return limit + budget if isinstance(budget, int) and limit <= budget else limit


def _sampling(body: Json, rules: ClaudeRules, thinking: Json | None, notes: Notes) -> Json:
    given = {name: body[name] for name in _SAMPLING if body.get(name) is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UntranslatableError(name, f"`{name}` is {value!r}, not a number", "invalid_value")
    refused = {name: why for name, value in given.items() if (why := _refused(name, value, rules, thinking))}
    if not rules.both and {"temperature", "top_p"} <= given.keys() - refused.keys():
        refused["top_p"] = "this Claude model takes temperature or top_p, not both"
    for name, why in refused.items():
        notes.drop(name, why)
    if (temperature := given.get("temperature")) is not None and "temperature" not in refused and temperature > 1:
        raise UntranslatableError(
            "temperature", f"`temperature` is {temperature}; Claude takes 0 to 1", "invalid_value"
        )
    return {name: value for name, value in given.items() if name not in refused}


def _refused(name: str, value: float, rules: ClaudeRules, thinking: Json | None) -> str | None:
    """Why the model would answer 400; None: it takes it."""
    if not rules.sampling:
        return "this Claude model takes no sampling parameters"
    if thinking is None or thinking.get("type") == "disabled":
        return None
    fits = {"temperature": value == 1, "top_p": value >= _LEAST_TOP_P, "top_k": False}[name]
    return None if fits else "Claude does not take it while it thinks"


def _choice(body: Json, thinking: Json | None) -> Json | None:
    choice = choice_of(body)
    forced = choice is not None and choice["type"] in ("any", "tool")
    if forced and (thinking or {}).get("type") == "enabled":
        raise UntranslatableError(
            "tool_choice", "Claude cannot be made to call a tool while it thinks; leave out reasoning_effort"
        )
    return choice


def _format(value: Any, notes: Notes, rules: ClaudeRules, target: ClaudeTarget) -> Json | None:
    form = mapping(value)
    kind = form.get("type", "text")
    if kind == "text":
        return None
    if kind != "json_schema" or not rules.json_schema:
        raise UntranslatableError(
            "response_format", f"this Claude model has no counterpart for {kind!r}; ask for a tool call instead"
        )
    schema = closed_schema(mapping(form.get("json_schema")).get("schema"), notes, "response_format")
    if target.importer and _has_dollars(schema):
        raise UntranslatableError(
            "response_format", "a schema with $ref cannot be sent to Claude on Vertex AI; write it out"
        )
    return {"type": "json_schema", "schema": schema}


def _has_dollars(value: Any) -> bool:
    if is_array(value):
        return any(map(_has_dollars, value))
    return any(name.startswith("$") or _has_dollars(part) for name, part in mapping(value).items())


def _stops(stop: Any) -> list[Any] | None:
    return [stop] if isinstance(stop, str) else sequence(stop) or None
