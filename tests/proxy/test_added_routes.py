"""Other plugins add routes to the proxy by its hook `register_routes`."""

import httpx2
import pytest
from starlette.responses import JSONResponse

import batchmeter
from batchmeter_proxy import Route, create_app


class Page:
    """A stranger's plugin: one page for everybody, one that needs a key's name, one of a path that is taken."""

    @batchmeter.hookimpl
    def register_routes(self, register) -> None:
        register(Route("GET", "/hello", self.hello, "Says hello", versioned=False, public=True))
        register(Route("GET", "/hello/{name}", self.greet, "Greets"))
        register(Route("GET", "/models", self.hello, "In place of the proxy's own"))

    async def hello(self, call):
        return JSONResponse({"hello": "world"})

    async def greet(self, call):
        return JSONResponse({"hello": call.ids["name"], "admin": call.identity.admin})


class Broken:
    @batchmeter.hookimpl
    def register_routes(self, register) -> None:
        register(Route("GET", "/before", Page().hello, "Registered before it failed"))
        raise ValueError("broken")


@pytest.fixture
async def pages(client):
    client.plugins.register(Broken(), "broken")
    client.plugins.register(Page(), "page")
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
        yield opened


async def test_a_plugin_s_routes_answer(pages):
    assert (await pages.get("/hello")).json() == {"hello": "world"}
    assert (await pages.get("/v1/hello/a%2Fb")).json() == {"hello": "a/b", "admin": True}
    described = (await pages.get("/openapi.json")).json()["paths"]
    assert described["/hello"]["get"]["summary"] == "Says hello"


async def test_the_proxy_s_own_routes_stay(pages):
    assert (await pages.get("/v1/models")).json()["object"] == "list"


async def test_a_broken_plugin_s_routes_are_left_out(pages, caplog):
    assert (await pages.get("/v1/before")).status_code == 404
    warned = [record.getMessage() for record in caplog.get_records("setup")]
    assert "plugin broken: register_routes failed: ValueError: broken" in warned
