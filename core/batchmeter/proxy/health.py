"""Whether the process lives, and whether it can do its work."""

from starlette.responses import JSONResponse, Response

from batchmeter.errors import LedgerError

from .call import Call
from .describe import gives
from .refusal import Refusal
from .routes import Route


async def liveliness(call: Call) -> Response:
    del call
    return JSONResponse({"status": "alive"})


async def readiness(call: Call) -> Response:
    """Ready means the ledger answers; what it holds is nobody's business here."""
    try:
        parts = await call.client.ready()
        await parts.ledger.account_of("readiness")
    except LedgerError as error:
        raise Refusal(503, str(error), code="ledger_unavailable") from error
    return JSONResponse({"status": "ready"})


ROUTES = (
    Route(
        "GET",
        "/health/liveliness",
        liveliness,
        "The process answers",
        versioned=False,
        public=True,
        operation=gives("Health"),
    ),
    Route(
        "GET",
        "/health/readiness",
        readiness,
        "The ledger answers",
        versioned=False,
        public=True,
        operation=gives("Health"),
    ),
)
