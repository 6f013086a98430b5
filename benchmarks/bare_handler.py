"""The bare handler of the proxy benchmark: Starlette's router and a batch as JSON, nothing else."""

from proxy_provider import OPEN
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def batch(request: Request) -> Response:
    return JSONResponse({**OPEN, "id": request.path_params["batch_id"]})


async def alive(request: Request) -> Response:
    del request
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/v1/batches/{batch_id}", batch), Route("/health/liveliness", alive)])
