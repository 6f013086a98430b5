"""The columns of the views: name, kind, where each is read from, and its meaning; SQL and docs are made of this table."""

from dataclasses import dataclass
from typing import Literal

from batchmeter.models import Usage

Kind = Literal["text", "integer", "decimal", "time", "millis", "boolean", "json"]
"""`time`: ISO 8601 text in a document; `millis`: a column of epoch milliseconds. Both are shown as times."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A `decimal` has a twin `…_float` beside it."""

    name: str
    kind: Kind
    source: str
    """An SQL expression that both engines have, or `document:path.in.it`."""
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """One view: what it reads is in `views.py`."""

    name: str
    row: str
    """The thing that a row stands for."""
    columns: tuple[Column, ...]


_UNITS = {
    "input_tokens": "Prompt tokens, with the cached, written, audio, image and video ones.",
    "cached_input_tokens": "Prompt tokens read from the cache.",
    "output_tokens": "Answer tokens, with reasoning.",
    "reasoning_tokens": "Reasoning tokens, a part of `output_tokens`.",
}


def _usage(document: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, "integer", f"{document}:usage.{name}", _UNITS.get(name, f"{name.replace('_', ' ').capitalize()}."))
        for name in Usage.model_fields
    )


_WHO = (
    Column("team", "text", "submission:attribution.team", "The owner's team."),
    Column("user_name", "text", "submission:attribution.user", "The owner."),
    Column(
        "key_id", "text", "submission:attribution.key", "The id of the proxy key that submitted it, never its secret."
    ),
)
_PLACE = (
    Column("account", "text", "b.account", "The account's name."),
    Column("provider", "text", "submission:provider", "The provider's name."),
    Column("batch_id", "text", "b.batch_id", "The provider's id of the batch."),
)
_SETTLED = (
    Column("settled_at", "millis", "b.settled_at", "When it was first settled: the time that reports count it for."),
    Column(
        "settled_ms", "integer", "b.settled_at", "The same in epoch milliseconds: filter by this one, it has an index."
    ),
)

BATCH = View(
    "v_batch",
    "one batch, settled or not, with its newest revision",
    (
        *_PLACE,
        Column("endpoint", "text", "submission:endpoint", "Such as `/v1/chat/completions`."),
        Column("region", "text", "submission:region", "The account's region, where prices depend on it."),
        Column("status", "text", "b.status", "As last seen: `in_progress`, `completed`, `failed`, `expired`, `cancelled`, …"),
        Column("adopted", "boolean", "submission:adopted", "Found at the provider, not submitted through batchmeter."),
        *_WHO,
        Column("session_id", "text", "submission:attribution.session", "The owner's session."),
        Column("tags", "json", "submission:attribution.tags", "JSON array of texts."),
        Column("metadata", "json", "submission:metadata", "JSON object: the caller's metadata."),
        Column("recorded_at", "millis", "b.recorded_at", "When the ledger first had it."),
        Column("created_at", "time", "settlement:times.created_at", "The provider's time; empty until settled."),
        Column("in_progress_at", "time", "settlement:times.in_progress_at", "The provider's time; empty until settled."),
        Column("ended_at", "time", "settlement:times.ended_at", "The provider's time; empty until settled."),
        *_SETTLED,
        Column("revision", "integer", "s.revision", "Of the settlement: 1, and more after each `reprice`. Empty until settled."),
        Column("revised_at", "millis", "s.recorded_at", "When this revision was recorded."),
        Column("lines", "integer", "settlement:request_counts.total", "Lines of the output and error files."),
        Column("succeeded_lines", "integer", "settlement:request_counts.succeeded", "Lines with an answer."),
        Column("failed_lines", "integer", "settlement:request_counts.failed", "Lines with an error: not billed."),
        Column("malformed_lines", "integer", "settlement:request_counts.malformed", "Lines that are no answer at all."),
        Column("missing_lines", "integer", "settlement:missing", "Requests without a line in the files."),
        Column("duplicate_lines", "integer", "settlement:duplicates", "Lines whose custom_id came before."),
        Column("total_usd", "decimal", "settlement:cost.total", "The cost; empty when any of it is unknown."),
        Column("known_usd", "decimal", "settlement:cost.known", "The priced part of the cost: a lower bound where `total_usd` is empty."),
        Column("unknown", "json", "settlement:cost.unknown", "JSON object: reason -> lines without a known cost."),
        Column("estimated", "boolean", "settlement:cost.estimated", "A rate was derived, not published."),
        Column("reported_usd", "decimal", "settlement:reported_cost.total", "The vendor's own amounts on the rows, where it names any."),
        Column("price_book", "text", "settlement:cost.price_book", "Digest of the prices used."),
        Column("priced_at", "text", "settlement:cost.priced_at", "The UTC date whose prices were taken."),
        Column("notes", "json", "settlement:notes", "JSON array; `invented` marks a sandbox's batch, whose cost nobody pays."),
        *_usage("settlement"),
    ),
)  # fmt: skip

BATCH_MODEL = View(
    "v_batch_model",
    "one model's share of a settled batch, of its newest revision",
    (
        *_PLACE,
        Column("model", "text", "m.key", "As the answers name it."),
        Column("status", "text", "settlement:status", "`completed`, `failed`, `expired` or `cancelled`."),
        *_WHO,
        *_SETTLED,
        Column("revision", "integer", "s.revision", "Of the settlement."),
        Column("lines", "integer", "share:lines", "Its answered lines."),
        Column("total_usd", "decimal", "share:cost", "The cost; empty when any of its lines could not be priced."),
        Column("known_usd", "decimal", "share:known", "The priced part; the shares of a batch add up to the batch's."),
        Column("list_usd", "decimal", "share:list_price", "The same lines' cost outside a batch; empty where that is unknown."),
        Column("unknown", "json", "share:unknown", "JSON object: reason -> lines without a known cost."),
        *_usage("share"),
    ),
)  # fmt: skip

SPEND_DAY = View(
    "v_spend_day",
    "a UTC day's sum by account, model, owner and status; pruned batches are in it",
    (
        Column("day", "text", "day:", "UTC day of first settling, `2026-11-30`."),
        Column("account", "text", "g.account", "The account's name."),
        Column("provider", "text", "g.provider", "The provider's name."),
        Column("model", "text", "g.model", "Empty text: cost that belongs to no model."),
        Column("team", "text", "g.team", "Empty text: none."),
        Column("user_name", "text", "g.user_name", "Empty text: none."),
        Column("key_id", "text", "g.key_id", "Empty text: none."),
        Column("status", "text", "g.status", "How the batches ended."),
        Column("invented", "boolean", "invented:", "A sandbox's: nobody pays. Leave these out of sums."),
        Column("batches", "integer", "t.batches", "Batches with a share of this model: one of two models counts in two rows."),
        Column("lines", "integer", "t.lines", "Answered lines."),
        Column("unpriced_lines", "integer", "t.unpriced", "Lines whose cost is unknown."),
        Column("total_usd", "decimal", "total_usd:", "The cost; empty when any of it is unknown."),
        Column("known_usd", "decimal", "known_usd:", "The priced part, exact to 18 decimals."),
        *(
            Column(name, "integer", f"t.{name}", _UNITS.get(name, f"{name.replace('_', ' ').capitalize()}."))
            for name in Usage.model_fields
        ),
    ),
)  # fmt: skip

EVENT = View(
    "v_event",
    "one event, in the order of `seq`",
    (
        Column("seq", "integer", "e.seq", "Grows in the order that events were recorded."),
        Column("event_id", "text", "e.id", "The id that every delivery of it carries."),
        Column("type", "text", "e.type", "`acreate_batch`, `batch_success`, `batch_failure`, or a plugin's kind."),
        Column("account", "text", "e.account", "The account's name."),
        Column("batch_id", "text", "e.batch_id", "The provider's id of the batch."),
        Column("revision", "integer", "e.revision", "1, and more for each later revision of the ending."),
        Column("recorded_at", "millis", "e.recorded_at", "When the ledger recorded it."),
        Column("recorded_ms", "integer", "e.recorded_at", "The same in epoch milliseconds."),
        Column("status", "text", "event:status", "How the batch ended; empty for other events."),
        Column("total_usd", "decimal", "event:cost.total", "The cost as of this revision; empty when any of it is unknown."),
        Column("known_usd", "decimal", "event:cost.known", "The priced part as of this revision."),
    ),
)  # fmt: skip

DELIVERY = View(
    "v_delivery",
    "one event on its way to one logger",
    (
        Column("seq", "integer", "e.seq", "Of the event in `v_event`."),
        Column("event_id", "text", "e.id", "Of the event."),
        Column("type", "text", "e.type", "Of the event."),
        Column("account", "text", "e.account", "Of the event."),
        Column("batch_id", "text", "e.batch_id", "Of the event."),
        Column("logger", "text", "d.logger", "The logger that it is owed to."),
        Column("state", "text", "d.state", "`pending`, `delivered` or `dead`."),
        Column("attempts", "integer", "d.attempts", "Finished attempts."),
        Column("recorded_at", "millis", "e.recorded_at", "When the event was recorded."),
        Column("next_attempt_at", "millis", "d.next_attempt_at", "When it is tried next."),
        Column("delivered_at", "millis", "d.delivered_at", "When it was delivered."),
        Column("last_error", "text", "d.last_error", "Why the last attempt failed."),
    ),
)

VIEWS = (BATCH, BATCH_MODEL, SPEND_DAY, EVENT, DELIVERY)
