"""`/models`: the models that `[models]` sends to an account."""

from starlette.responses import JSONResponse, Response

from .call import Call
from .describe import gives
from .refusal import Refusal
from .routes import Route


def _model(name: str, account: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": account}


async def list_models(call: Call) -> Response:
    allowed = call.identity.models
    models = call.client.settings.models.items()
    data = [_model(name, account) for name, account in sorted(models) if allowed is None or name in allowed]
    return JSONResponse({"object": "list", "data": data})


async def retrieve(call: Call) -> Response:
    name = call.ids["model"]
    account = call.client.settings.models.get(name)
    if account is None or not (call.identity.models is None or name in call.identity.models):
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    return JSONResponse(_model(name, account))


ROUTES = (
    Route("GET", "/models", list_models, "List the configured models", operation=gives("ModelList")),
    Route("GET", "/models/{model}", retrieve, "Retrieve a configured model", operation=gives("Model")),
)
