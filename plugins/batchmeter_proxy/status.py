"""The proxy's own state: that it lives, that it can work, its metrics, and the models it sends to accounts."""

from starlette.responses import JSONResponse, Response

from batchmeter.access import access_of
from batchmeter.errors import LedgerError

from .call import Call
from .errors import Refusal
from .routes import Route


async def liveliness(call: Call) -> Response:
    del call
    return JSONResponse({"status": "alive"})


async def readiness(call: Call) -> Response:
    """Ready means the ledger answers; what it holds is nobody's business here."""
    try:
        access = await access_of(call.client)
        await access.ping()
    except LedgerError as error:
        raise Refusal(503, str(error), code="ledger_unavailable") from error
    return JSONResponse({"status": "ready"})


async def metrics(call: Call) -> Response:
    if not call.identity.admin:
        raise Refusal(403, "Metrics are about everybody: use an admin key.", code="admin_only")
    if not call.identity.everywhere:
        message = "Metrics are about all accounts: use an admin key that is not limited to some."
        raise Refusal(403, message, code="account_not_allowed")
    access = await access_of(call.client)
    text = await call.state.metrics.render(access, call.state.traffic)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _may_use(call: Call, model: str, account: str) -> bool:
    models, accounts = call.identity.models, call.identity.accounts
    return (models is None or model in models) and (accounts is None or account in accounts)


def _model(name: str, account: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": account}


async def list_models(call: Call) -> Response:
    models = call.client.settings.models.items()
    data = [_model(name, account) for name, account in sorted(models) if _may_use(call, name, account)]
    return JSONResponse({"object": "list", "data": data})


async def retrieve_model(call: Call) -> Response:
    name = call.ids["model"]
    account = call.client.settings.models.get(name)
    if account is None or not _may_use(call, name, account):
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    return JSONResponse(_model(name, account))


ROUTES = (
    Route("GET", "/models", list_models, "List the configured models"),
    Route("GET", "/models/{model}", retrieve_model, "Retrieve a configured model"),
    Route("GET", "/health/liveliness", liveliness, "The process answers", versioned=False, public=True),
    Route("GET", "/health/readiness", readiness, "The ledger answers", versioned=False, public=True),
    Route("GET", "/metrics", metrics, "Metrics for Prometheus", versioned=False),
)
