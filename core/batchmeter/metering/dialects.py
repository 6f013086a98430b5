"""The tables that say how a vendor's rows count and bill, as its provider declares them.

A formula is counters joined by ` + ` and ` - `. A counter is a dotted path into the usage object; `a|b` takes the first
that is there. A list of counters is named in `Dialect.lists`; then `list.KIND` is the sum over its items of one kind and
`list.*` over all. A counter that is absent or null counts 0. No bucket may come out negative: then the counters
contradict each other and the line's usage is invalid. A counter with an amount that neither a formula nor `harmless`
names is unknown, and so is the cost of its line: it may be billed.

Providers declare a `Dialects` under the entry-point group `batchmeter.dialects`, by the name that prices and
`custom_llm_provider` use. The modules there import this one and each other only, so that a small file is metered at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    words: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Counter that is a word, such as a service tier -> the words that go with the batch's prices; another is unknown."""
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
    """Pattern of a model's name, from its start -> the counter that each of its answers adds one to."""
    kinds: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Pattern of the name of models that write text and dearer things -> the counter of their output, and the details
    without which it does not say how much is which."""
    images: tuple[str, ...] = ()
    """Starts of names of models whose output is images, also where no counter says so."""


SLUG = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""An error's code, not its text."""


def failure_code(error: object) -> str | None:
    """The shortest true name of an error; None for `null`, `""`, `{}` and `{"code": null, "message": null}`."""
    if not isinstance(error, dict):
        text = str(error or "")
        return (text if SLUG.fullmatch(text) else "error") if text else None
    found = cast("dict[str, object]", error)
    if not any(found.values()):
        return None
    if found.get("error"):
        return failure_code(found["error"])
    named = (found.get(name) for name in ("code", "errorCode", "status", "type"))
    return next((str(name)[:64] for name in named if isinstance(name, str | int) and name != ""), "error")
