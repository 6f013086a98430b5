"""One batch: its life as a line, what it used and cost at which rates, what failed, who heard of it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import htpy as h

from batchmeter.access import BatchHistory
from batchmeter.events import Settlement
from batchmeter.models import RatesUsed
from batchmeter_proxy import Refusal
from batchmeter_ui.live import fingerprint, render
from batchmeter_ui.page import card, moment
from batchmeter_ui.table import facts, progress, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import amount, cost_of, counted, dollars, number, share, shortened, spaced

from .batch_estimate import estimate_of, estimated
from .batch_head import BatchData, head
from .batch_life import event_name, life, revisions_of
from .batches import status
from .jobs import JOB, job_url

if TYPE_CHECKING:
    from batchmeter.models import Batch

_MOST_ERRORS = 50
_AS_JSON = "are in the settlement as JSON"
RETRY_OF = "batchmeter_retry_of"
"""The metadata of a batch that has the rest of another: that one's id."""


async def history_of(view: View) -> BatchHistory:
    """Refusal (404) for a batch that is not the caller's, whether there is one or not."""
    account, batch_id = view.ids["account"], view.ids["batch_id"]
    found = await view.access.history(batch_id, account)
    if found is None or not view.sees(found.tracked):
        raise Refusal(404, f"No batch {batch_id[:100]!r} is known in the account {account[:100]!r}.")
    return found


async def show(view: View) -> Content:
    data = await _read(view)
    account, batch_id = data.history.tracked.account, data.history.tracked.batch_id
    found = render(_parts(view, data))
    body: list[h.Node] = [h.p(".quiet")[h.code[batch_id]], *found.values()]
    stream = f"/live/batches/{quote(account, safe='')}/{quote(batch_id, safe='')}"
    return Content(f"Batch in {account}", body, stream=view.url(stream, seen=fingerprint(found)))


async def parts(view: View, *, whole: bool = True) -> dict[str, h.Node]:
    """The page's sections by their names: one batch is read quickly enough to be looked at each time."""
    del whole
    return _parts(view, await _read(view))


async def _read(view: View) -> BatchData:
    found = await history_of(view)
    return BatchData(found, await estimate_of(view, found), await view.access.seconds_left(found.tracked))


def _parts(view: View, data: BatchData) -> dict[str, h.Node]:
    found, newest = data.history, data.newest
    batch = found.tracked.batch
    sections: dict[str, h.Node] = {
        "head": head(view, data),
        "life": life(found, view.now),
        "facts": h.div(".columns")[
            card("Counts", _counts(batch, newest)),
            card("Cost", _cost(newest), estimated(data.estimate, newest)),
            card("Submitted", _submitted(view, found)),
            card("Files", _files(view, found)),
        ],
        "models": _models(newest),
        "rates": _rates(newest),
        "usage": _usage(newest),
        "problems": _problems(batch),
        "failed": _failed(view, found, newest),
        "revisions": revisions_of(found.revisions) if len(found.revisions) > 1 else None,
        "deliveries": card("Deliveries", _deliveries(view, found)),
    }
    return {name: h.div(id=name)[section] for name, section in sections.items()}


def _counts(batch: "Batch", newest: Settlement | None) -> h.Element:
    counts = batch.request_counts
    pairs: list[tuple[str, h.Node]] = [
        ("Status", status(batch.status)),
        ("Provider counts", progress(counts.completed + counts.failed, counts.total) if counts else "none"),
        ("Failed, by the provider", number(counts.failed) if counts else None),
    ]
    if newest is not None:
        lines = newest.request_counts
        pairs += [
            ("Lines read", number(lines.total)),
            ("Succeeded", number(lines.succeeded)),
            ("Failed lines", number(lines.failed)),
            ("Malformed lines", number(lines.malformed) if lines.malformed else None),
            ("Without a line", number(newest.missing) if newest.missing else None),
            ("Repeated custom_ids", number(newest.duplicates) if newest.duplicates else None),
            ("Lines of unknown cost", number(lines.unpriced) if lines.unpriced else None),
        ]
    return facts(pairs)


def _cost(newest: Settlement | None) -> h.Node:
    if newest is None:
        return h.p(".quiet")["Not settled yet: the cost is known when the batch has ended."]
    cost, reported = newest.cost, newest.reported_cost
    reasons = [
        h.li[h.code[reason], f": {lines:,} lines", _details(cost.details.get(reason, ()))]
        for reason, lines in cost.unknown.items()
    ]
    return [
        h.p(".big")[cost_of(cost)],
        h.ul[reasons] if reasons else None,
        facts([
            ("Exactly", f"${cost.known:f}" if cost.known else None),
            ("Revision", number(newest.revision)),
            ("Settled", h.time(datetime=newest.settled_at.isoformat())[f"{newest.settled_at:%Y-%m-%d %H:%M:%SZ}"]),
            ("Estimated rates", "some are derived from standard prices" if cost.estimated else None),
            *_saved(newest),
            ("Vendor's own amount", f"{dollars(reported.total)} on {reported.lines:,} lines" if reported else None),
            ("Priced at", str(cost.priced_at) if cost.priced_at else None),
            ("Price book", h.code[cost.price_book[:12]] if cost.price_book else None),
            ("Flags", ", ".join(cost.flags)),
            ("Notes", ", ".join(newest.notes)),
        ]),
    ]  # fmt: skip


def _saved(newest: Settlement) -> list[tuple[str, h.Node]]:
    """Of the models whose list price and cost are both known."""
    both = [(one.list_price, one.cost) for one in newest.models.values()]
    known = [(price, cost) for price, cost in both if price is not None and cost is not None]
    if not known:
        return [("Saved by batch", "no list price is known")] if newest.models else []
    listed = sum((price for price, _ in known), Decimal(0))
    saved = listed - sum((cost for _, cost in known), Decimal(0))
    some = "" if len(known) == len(both) else f", over {len(known)} of {len(both)} models"
    return [("List price", dollars(listed)), ("Saved by batch", f"{dollars(saved)} ({share(saved, listed)}){some}")]


def _details(details: Sequence[str]) -> h.Node:
    return h.span(".quiet")[" ", shortened(", ".join(details))] if details else None


def _submitted(view: View, found: BatchHistory) -> h.Element:
    submission, batch = found.tracked.submission, found.tracked.batch
    owner = submission.attribution
    metadata = submission.metadata or batch.metadata or {}
    trace = _trace(view, submission.traceparent)
    return facts([
        ("Account", submission.account),
        ("Provider", submission.provider),
        ("Endpoint", submission.endpoint or batch.endpoint),
        ("Model", submission.model or batch.model),
        ("Region", submission.region),
        ("Team", owner.team and shortened(owner.team)),
        ("User", owner.user and shortened(owner.user)),
        ("Key", owner.key and h.code[shortened(owner.key, 40)]),
        ("Job", _job(view, found)),
        ("Tags", owner.tags and shortened(", ".join(owner.tags))),
        ("Tries again", _retried(view, found)),
        ("Adopted", "found at the provider, not submitted through batchmeter" if submission.adopted else None),
        ("Trace", h.a(href=trace, rel="noreferrer")["at the tracing vendor"] if trace else None),
        *((f"metadata {name[:60]}", shortened(value)) for name, value in metadata.items() if name != RETRY_OF),
    ])  # fmt: skip


def _job(view: View, found: BatchHistory) -> h.Node:
    account, tags = found.tracked.account, found.tracked.submission.attribution.tags
    jobs = [tag.removeprefix(JOB) for tag in tags if tag.startswith(JOB)]
    return [[h.a(href=job_url(view, account, job))[shortened(job, 60)], " "] for job in jobs] or None


def _retried(view: View, found: BatchHistory) -> h.Node:
    """The batch whose rest this one has."""
    first = (found.tracked.submission.metadata or {}).get(RETRY_OF)
    return h.a(href=view.batch_url(found.tracked.account, first))[shortened(first, 60)] if first else None


def _trace(view: View, traceparent: str | None) -> str | None:
    template = view.settings.trace_url
    parts = (traceparent or "").split("-")
    if len(parts) < 3 or not template.startswith(("https://", "http://")):  # noqa: PLR2004
        return None
    return template.replace("{trace_id}", quote(parts[1], safe=""))


def _files(view: View, found: BatchHistory) -> h.Element:
    batch, account = found.tracked.batch, found.tracked.account
    named = [("Input", batch.input_file_id), ("Output", batch.output_file_id), ("Errors", batch.error_file_id)]
    here: list[tuple[str, h.Node]] = [
        (
            name,
            h.a(href=view.batch_url(account, found.tracked.batch_id, f"/files/{name.lower()}"))[shortened(file_id, 60)],
        )
        for name, file_id in named
        if file_id
    ]
    cost = h.a(href=view.batch_url(account, found.tracked.batch_id, "/settlement.json"))["Settlement as JSON"]
    api = h.code["GET /v1/files/ID/content"] if here else None
    return facts([*here, ("By API", api), ("All that is known", cost if found.revisions else None)])


def _models(newest: Settlement | None) -> h.Node:
    if newest is None:
        return None
    rows = [
        (
            shortened(name, 60),
            number(one.lines),
            number(one.usage.input_tokens),
            number(one.usage.cached_input_tokens),
            number(one.usage.output_tokens),
            number(one.usage.reasoning_tokens),
            amount(one.known, complete=one.cost is not None, lines=sum(one.unknown.values()) or None),
            "–" if one.list_price is None else dollars(one.list_price),
        )
        for name, one in newest.models.items()
    ]
    columns = ("Model", "Lines>", "Input>", "of it cached>", "Output>", "of it reasoning>", "Cost>", "List price>")
    return card("By model", table("By model", columns, rows, empty="No line of it was answered.", elsewhere=_AS_JSON))


def _rates(newest: Settlement | None) -> h.Node:
    if newest is None or not newest.rates:
        return None
    rows = [row for used in newest.rates for row in _rate_rows(used)]
    columns = ("Model", "Bucket", "Units>", "$ per million>", "Cost>", "Tier", "Region", "Origin", "Remarks")
    return card(
        "Rates used",
        table("Rates used", columns, rows, elsewhere=_AS_JSON),
        h.p(".quiet")["Units × rate ÷ 1,000,000 = cost: this is all that the cost is made of."],
    )


def _rate_rows(used: RatesUsed) -> Iterator[Sequence[h.Node]]:
    over = f"over {used.prompt_over:,}" if used.prompt_over else "any length"
    for bucket, units in used.units.items():
        rate = used.usd_per_million.get(bucket)
        remarks = [
            *(["estimated"] if bucket in used.estimated else []),
            *used.flags,
            *([f"priced as {used.priced_as}"] if used.priced_as else []),
        ]
        yield (
            shortened(used.model or "(none)", 60),
            spaced(bucket),
            number(units),
            h.span(".unknown")["no rate"] if rate is None else f"{rate:f}",
            h.span(".unknown")["unknown"] if rate is None else dollars(rate * units / 1_000_000),
            f"{used.processing}, {over}",
            used.region or used.geo or "global",
            used.origin or "–",
            ", ".join(remarks),
        )


def _usage(newest: Settlement | None) -> h.Node:
    if newest is None:
        return None
    reported = newest.reported_usage
    rows = [
        (spaced(name), number(count), number(getattr(reported, name)) if reported else "–")
        for name in type(newest.usage).model_fields
        if (count := getattr(newest.usage, name)) or (reported and getattr(reported, name))
    ]
    return card(
        "Usage",
        table("Usage", ("Unit", "By the lines>", "By the provider's sum>"), rows, empty="No line says what it used."),
    )


def _problems(batch: "Batch") -> h.Node:
    """The provider's errors about the batch as a whole."""
    errors = batch.errors.data if batch.errors else []
    if not errors:
        return None
    rows = [
        (shortened(one.code or "–", 60), "–" if one.line is None else number(one.line), shortened(one.message or ""))
        for one in errors[:_MOST_ERRORS]
    ]
    return card("The provider refused it", table("Errors", ("Code", "Line>", "Message"), rows))


def _failed(view: View, found: BatchHistory, newest: Settlement | None) -> h.Node:
    batch = found.tracked.batch
    lines = newest.request_counts.failed if newest else (batch.request_counts.failed if batch.request_counts else 0)
    if not lines or not (batch.error_file_id or batch.output_file_id):
        return None
    where = view.batch_url(found.tracked.account, found.tracked.batch_id, "/failures")
    text = f"{counted(lines, 'line')} failed; error codes and custom_ids are in the provider's file: "
    return card("Failures", h.p[text, h.a(href=where)["read it now"], "."])


def _deliveries(view: View, found: BatchHistory) -> h.Node:
    if not view.identity.admin:
        return h.p(".quiet")["Only admin keys see who is sent events."]
    rows = [
        (
            shortened(one.logger, 60),
            event_name(one.type),
            number(one.revision),
            h.span(class_="status bad" if one.state == "dead" else "status")[
                "given up" if one.state == "dead" else one.state
            ],
            number(one.attempts),
            moment(one.delivered_at, view.now),
            shortened(one.last_error or ""),
        )
        for one in found.deliveries
    ]
    columns = ("Logger", "Event", "Revision>", "State", "Attempts>", "Delivered", "Last error")
    return table("Deliveries", columns, rows, empty="Nobody is sent this batch's events.")


PAGE = Page("/batches/{account}/{batch_id}", "", show, live=parts)
