"""The API: `GET /v1/export/…` for administrators of all accounts, streamed."""

from typing import TYPE_CHECKING, Any, cast

from starlette.responses import Response

from batchmeter.access import access_of
from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal, Route
from batchmeter_proxy.answers import Streamed

from .flat import Grain, as_csv, as_jsonl, columns_of, flat_rows
from .focus import FocusBill, FocusOptions
from .focus import Grain as FocusGrain
from .focus_columns import Version, header
from .span import Span, span_of

if TYPE_CHECKING:
    from batchmeter_proxy.call import Call

_MEDIA = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


async def costs(call: "Call") -> Response:
    """`format`: csv or jsonl; `grain`: batch, model or group; `month`, or `from` and `to`; `invented=true`."""
    only_admin(call)
    form = choice(call, "format", ("csv", "jsonl"))
    grain = cast("Grain", choice(call, "grain", ("batch", "model", "group")))
    span = asked_span(call)
    rows = flat_rows(await access_of(call.client), span, grain, invented=flag(call, "invented"))
    pieces = as_csv(rows, columns_of(grain)) if form == "csv" else as_jsonl(rows)
    name = f'attachment; filename="costs_{span.name}.{form}"'
    return Streamed(
        call.state.options.download_seconds, pieces, media_type=_MEDIA[form], headers={"content-disposition": name}
    )


async def focus(call: "Call") -> Response:
    """`month`, or `from` and `to`; `version`: 1.4 or 1.2; `grain`: day or batch. Unknown costs are not in it."""
    only_admin(call)
    version = cast("Version", choice(call, "version", ("1.4", "1.2")))
    grain = cast("FocusGrain", choice(call, "grain", ("day", "batch")))
    span = asked_span(call)
    bill = FocusBill(FocusOptions(span, version, grain, invented=flag(call, "invented")))
    pieces = as_csv(bill.rows(await access_of(call.client)), header(version), text=str)
    name = f'attachment; filename="costandusage_{span.name}.csv"'
    return Streamed(
        call.state.options.download_seconds, pieces, media_type=_MEDIA["csv"], headers={"content-disposition": name}
    )


def asked_span(call: "Call") -> Span:
    query = call.request.query_params
    try:
        return span_of(query.get("month"), query.get("from"), query.get("to"))
    except UsageError as error:
        raise Refusal(400, f"{error}.", code="invalid_value", param="month" if query.get("month") else "from") from None


def choice(call: "Call", name: str, known: tuple[str, ...]) -> str:
    """The first is the default."""
    given = call.request.query_params.get(name) or known[0]
    if given not in known:
        message = f"Invalid '{name}': expected one of {', '.join(known)}, but got {given!r} instead."
        raise Refusal(400, message, code="invalid_value", param=name)
    return given


def flag(call: "Call", name: str) -> bool:
    return choice(call, name, ("false", "true")) == "true"


def only_admin(call: "Call") -> None:
    """Exports are about everybody."""
    if not call.identity.admin:
        raise Refusal(403, "Only an admin key may export; your own costs are at /v1/costs.", code="admin_only")
    if not call.identity.everywhere:
        message = "This admin key is limited to some accounts, and exports are about all."
        raise Refusal(403, message, code="account_not_allowed")


def query(*named: tuple[str, str]) -> dict[str, Any]:
    """Parameters for the API's description."""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}, "description": text} for name, text in named
    ]
    return {"parameters": parameters}


SPAN = (
    ("month", "A UTC month, such as 2026-11."),
    ("from", "Settled since this UTC date."),
    ("to", "Settled by the end of this UTC date."),
    ("invented", "true: a sandbox's batches too."),
)


def routes() -> list[Route]:
    flat = (("format", "csv or jsonl."), ("grain", "batch, model or group."), *SPAN)
    bill = (("version", "1.4 or 1.2."), ("grain", "day or batch."), *SPAN)
    return [
        Route("GET", "/export/costs", costs, "Settled batches as flat rows", operation=query(*flat)),
        Route("GET", "/export/focus", focus, "Settled batches as a FOCUS bill", operation=query(*bill)),
    ]
