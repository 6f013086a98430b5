"""Batches, newest first: filtered by what people look for, one page after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import htpy as h

from batchmeter.access import BatchFilter, SeenBatch
from batchmeter.models import Batch
from batchmeter_ui.page import card, moment
from batchmeter_ui.table import progress, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import between, cost_of, duration, number, shortened, spaced

_PAGE = 50
_STATUSES = ("validating", "in_progress", "finalizing", "cancelling", "completed", "failed", "expired", "cancelled")
_TEXTS = (
    ("account", "Account"),
    ("model", "Model"),
    ("team", "Team"),
    ("key", "Key id"),
    ("tag", "Tag"),
    ("metadata", "Metadata key=value"),
)
_TICKS = (("unknown", "has unknown cost"), ("failures", "has failures"), ("late", "late"))


async def show(view: View) -> Content:
    page = await view.access.browse(view.own(_filter(view)), after=_after(view), limit=_PAGE)
    kept = {name: view.query(name) for name, _ in (*_TEXTS, *_TICKS)} | {
        name: view.query(name) for name in ("status", "settled", "sort")
    }
    further = (
        page.next
        and h.p[h.a(".next", href=view.url("/batches", **kept, after=page.next.replace("\x1f", "/")))["More batches"]]
    )
    begin = h.p[h.a(href=view.url("/batches", **kept))["Back to the first"]] if view.query("after") else None
    empty = "None of the batches looked through fits; older ones may." if page.next else "No batch fits."
    jobs = h.a(href=view.url("/jobs"))["Jobs larger than a batch"]
    body: list[h.Node] = [_form(view), card("Batches", batch_table(view, page.data, empty), begin, further, more=jobs)]
    return Content("Batches", body)


def _after(view: View) -> str | None:
    """Account and id, as the link to the next page says them."""
    account, slash, batch_id = view.query("after").partition("/")
    return f"{account}\x1f{batch_id}" if slash else None


def _filter(view: View) -> BatchFilter:
    name, equals, value = view.query("metadata").partition("=")
    status, settled = view.query("status"), view.query("settled")
    return BatchFilter(
        accounts=(view.query("account"),) if view.query("account") else None,
        key=view.query("key") or None,
        statuses=(status,) if status else None,
        settled={"yes": True, "no": False}.get(settled),
        unknown=bool(view.query("unknown")),
        failures=bool(view.query("failures")),
        late=bool(view.query("late")),
        model=view.query("model") or None,
        team=view.query("team") or None,
        tag=view.query("tag") or None,
        metadata={name: value} if equals else {},
        costliest=view.query("sort") == "cost",
    )


def _form(view: View) -> h.Element:
    statuses = [
        h.option(value="")["any"],
        *(h.option(value=one, selected=view.query("status") == one)[spaced(one)] for one in _STATUSES),
    ]
    settled = [
        h.option(value=value, selected=view.query("settled") == value)[text]
        for value, text in (("", "open or settled"), ("no", "open"), ("yes", "settled"))
    ]
    sorts = [
        h.option(value=value, selected=view.query("sort") == value)[text]
        for value, text in (("", "newest first"), ("cost", "costliest first"))
    ]
    return h.form(".card.filters", method="get", action=view.url("/batches"))[
        h.label["Status", h.select(name="status")[statuses]],
        h.label["Open", h.select(name="settled")[settled]],
        h.label["Order", h.select(name="sort")[sorts]],
        (
            h.label[title, h.input(name=name, value=view.query(name) or None)]
            for name, title in _TEXTS
            if name != "key" or view.identity.admin
        ),
        (
            h.label(".tick")[h.input(type="checkbox", name=name, value="1", checked=bool(view.query(name))), title]
            for name, title in _TICKS
        ),
        h.button["Show"],
        h.a(href=view.url("/batches"))["Clear"],
    ]


def batch_table(view: View, data: Sequence[SeenBatch], empty: str) -> h.Node:
    columns = ("Batch", "Created", "Status", "Progress", "Failed>", "Cost>", "Model", "Team", "Account")
    return table("Batches", columns, [_row(view, one) for one in data], empty=empty)


def _row(view: View, one: SeenBatch) -> Sequence[h.Node]:
    tracked = one.tracked
    batch, submission = tracked.batch, tracked.submission
    counts = batch.request_counts
    failed = counts.failed if counts else 0
    cost = (
        cost_of(one.settlement.cost)
        if one.settlement
        else h.span(".quiet")["open" if not batch.ended else "being settled"]
    )
    return (
        link(view, tracked.account, tracked.batch_id),
        moment(None if batch.created_at is None else batch.created_at * 1000, view.now),
        status(batch.status),
        progress(counts.completed + counts.failed, counts.total) if counts else "–",
        h.span(".bad")[number(failed)] if failed else "0",
        cost,
        shortened(_model(one), 30),
        shortened(submission.attribution.team or "–", 30),
        shortened(tracked.account, 30),
    )


def _model(one: SeenBatch) -> str:
    models = sorted(one.settlement.models) if one.settlement else []
    if len(models) > 1:
        return f"{models[0]} and {len(models) - 1} more"
    return models[0] if models else one.tracked.submission.model or one.tracked.batch.model or "–"


def link(view: View, account: str, batch_id: str) -> h.Element:
    return h.a(".id", href=view.batch_url(account, batch_id), title=batch_id[:500])[shortened(batch_id, 26)]


def status(word: str) -> h.Node:
    bad = word in {"failed", "expired"}
    return h.span(class_="status bad" if bad else "status")[shortened(spaced(word), 30)]


@dataclass(frozen=True, slots=True)
class Opened:
    """Batches under way."""

    table: h.Node
    count: str


async def open_batches(view: View, *, limit: int) -> Opened:
    page = await view.access.browse(view.own(BatchFilter(settled=False)), limit=limit)
    columns = ("Batch", "Progress", "Ends in>", "Status", "Failed>", "Age>", "Expires in>", "Account", "Team")
    rows = [_open_row(view, one, await view.access.seconds_left(one.tracked)) for one in page.data]
    shown = table("Open batches", columns, rows, empty="No batch is open.")
    return Opened(shown, f"{len(page.data)}{'+' if page.next else ''}")


def _open_row(view: View, one: SeenBatch, left: tuple[float, float] | None) -> Sequence[h.Node]:
    batch, now = one.tracked.batch, view.now / 1000
    counts = batch.request_counts
    failed = counts.failed if counts else 0
    return (
        link(view, one.tracked.account, one.tracked.batch_id),
        progress(counts.completed + counts.failed, counts.total) if counts else "–",
        ends_in(one.tracked.batch, left, now),
        status(batch.status),
        h.span(".bad")[number(failed)] if failed else "0",
        "–" if batch.created_at is None else duration(now - batch.created_at),
        expires_in(batch.expires_at, now),
        shortened(one.tracked.account, 40),
        shortened(one.tracked.submission.attribution.team or "–", 40),
    )


def ends_in(batch: Batch, left: tuple[float, float] | None, now: float) -> h.Node:
    """Red where it is likely to be later than the provider allows."""
    if left is None:
        return "–"
    late = batch.expires_at is not None and now + left[0] > batch.expires_at
    return h.span(class_="bad" if late else None)[between(*left)]


def expires_in(at: int | None, now: float) -> h.Node:
    if at is None:
        return "–"
    return duration(at - now) if at >= now else h.span(".bad")[f"{duration(now - at)} over"]


PAGE = Page("/batches", "Batches", show)
