"""Jobs larger than a batch: one line each, and one job with its batches, their progress and their cost together."""

from collections.abc import Sequence
from urllib.parse import quote

import htpy as h

from batchmeter import Jobs, Results
from batchmeter.access import BatchFilter, SeenBatch
from batchmeter_proxy import Refusal
from batchmeter_ui.page import card, tiles
from batchmeter_ui.span import asked_span, chooser, invented_note
from batchmeter_ui.sums import spend
from batchmeter_ui.table import progress, table
from batchmeter_ui.view import Content, Page, Tile, View
from batchmeter_ui.words import between, cost_of, duration, number, shortened, spent

from .batches import batch_table

JOB = "job:"
"""How the tag begins that the batches of a job have in common; the job's id follows."""
_MOST_OPEN = 50


async def show(view: View) -> Content:
    """Settled ones by the ledger's sums, those under way by their open batches."""
    span = asked_span(view, days=90)
    sums = [one for one in await spend(view, ("job", "account"), span) if one.groups["job"]]
    opened, all_known = await _open_jobs(view)
    known = {(one.groups["account"], one.groups["job"]) for one in sums}
    rows: list[Sequence[h.Node]] = [
        (_link(view, account, job), account, "–", "–", h.span(".quiet")["open"], _count(count, all_known=all_known))
        for (account, job), count in opened.items()
        if (account, job) not in known
    ]
    for one in sums:
        account, job = one.groups["account"] or "", one.groups["job"] or ""
        rows.append((
            _link(view, account, job), account, number(one.batches), number(one.lines), spent(one),
            _count(opened.get((account, job), 0), all_known=all_known),
        ))  # fmt: skip
    columns = ("Job", "Account", "Batches settled>", "Lines>", "Cost>", "Batches open>")
    empty = "No job. A file that is larger than a batch may be becomes one: batchmeter submit FILE."
    note = h.p(".quiet")["A job is an input file that its provider's limits split into several batches."]
    body = [
        chooser(view, span, "/jobs"),
        invented_note(shown=any(one.invented for one in sums)),
        card("Jobs", table("Jobs", columns, rows, empty=empty, elsewhere="cost less: batchmeter costs --by job"), note),
    ]
    return Content("Jobs", body)


def job_url(view: View, account: str, job_id: str) -> str:
    return view.url(f"/jobs/{quote(account, safe='')}/{quote(job_id, safe='')}")


def _link(view: View, account: str, job: str) -> h.Element:
    return h.a(href=job_url(view, account, job))[shortened(job, 60)]


def _count(count: int, *, all_known: bool) -> str:
    """Of open batches; there may be more where not all were looked at."""
    return number(count) if all_known else f"{count:,} or more"


async def _open_jobs(view: View) -> tuple[dict[tuple[str, str], int], bool]:
    """Account and job -> how many of its batches are open, of the newest; and whether these are all."""
    page = await view.access.browse(view.own(BatchFilter(settled=False)), limit=_MOST_OPEN)
    found: dict[tuple[str, str], int] = {}
    for one in page.data:
        for tag in one.tracked.submission.attribution.tags:
            if tag.startswith(JOB):
                place = (one.tracked.account, tag.removeprefix(JOB))
                found[place] = found.get(place, 0) + 1
    return found, page.next is None


async def one(view: View) -> Content:
    account, job = view.ids["account"], view.ids["job"]
    found = [each for each in await _batches(view, account, job) if view.sees(each.tracked)]
    if not found:
        raise Refusal(404, f"No job {job[:100]!r} is known in the account {account[:100]!r}.")
    body: list[h.Node] = [
        h.p(".quiet")[h.code[job], f" in {account}"],
        tiles([_progress(found), _cost(found), await _time(view, found)]),
        card("Batches", batch_table(view, found, "")),
        h.p(".quiet")[
            "In the order of the input. Its cost by command: ", h.code[f"batchmeter costs --where job={job}"]
        ],
    ]
    return Content("Job", body)


async def _batches(view: View, account: str, job: str) -> Sequence[SeenBatch]:
    return await Jobs(view.call.client).batches_of(job, account)


def _progress(found: Sequence[SeenBatch]) -> Tile:
    counts = [one.tracked.batch.request_counts for one in found]
    done = sum(each.completed + each.failed for each in counts if each)
    total, failed = (sum(getattr(each, name) for each in counts if each) for name in ("total", "failed"))
    opened = sum(not one.tracked.batch.ended for one in found)
    state = f"{opened:,} of {len(found):,} batches open" if opened else f"{len(found):,} batches ended"
    return Tile("Status", state, [progress(done, total), h.span(".bad")[f" {failed:,} failed"] if failed else None])


def _cost(found: Sequence[SeenBatch]) -> Tile:
    settled = [one.settlement for one in found if one.settlement]
    rest = len(found) - len(settled)
    note = f"of {len(settled):,} settled batches; {rest:,} more are not" if rest else "of all its batches"
    return Tile("Cost", cost_of(Results((), {}, *settled).cost) if settled else "–", note)


async def _time(view: View, found: Sequence[SeenBatch]) -> Tile:
    """Until the last of its open batches ends."""
    left = [rest for one in found if (rest := await view.access.seconds_left(one.tracked)) is not None]
    created = [one.tracked.batch.created_at for one in found if one.tracked.batch.created_at]
    ended = [one.tracked.batch.ended_at for one in found]
    if left:
        return Tile(
            "Ends in", between(max(least for least, _ in left), max(most for _, most in left)), "the last of them"
        )
    if created and all(ended):
        return Tile("Took", duration(max(at for at in ended if at) - min(created)), "from created to ended")
    return Tile("Ends in", "–", "nothing tells yet")


PAGE = Page("/jobs", "", show)
ONE = Page("/jobs/{account}/{job}", "", one)
