"""The plugin of one client: its settings, the host it gets, and the routes it adds to the proxy."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from batchmeter import hookimpl

if TYPE_CHECKING:
    from batchmeter.host import PluginHost
    from batchmeter_proxy import Route

    from .streams import Streams


class PagesSettings(BaseModel):
    """`[plugins.ui]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = False
    """No page changes anything: replaying, revoking."""
    live_seconds: float = Field(default=2.0, gt=0)
    """Pages that are open look for news so often."""
    trace_url: str = ""
    """Address of a batch's trace at your tracing vendor; `{trace_id}` is put in."""


class Pages:
    """The plugin of one client."""

    Settings = PagesSettings

    def __init__(self, settings: PagesSettings | None = None) -> None:
        self.settings = settings or PagesSettings()
        self.host: PluginHost | None = None

    @cached_property
    def streams(self) -> "Streams":
        from .streams import Streams  # noqa: PLC0415 - every command line loads this module

        return Streams()

    @hookimpl
    async def startup(self, host: "PluginHost") -> None:
        self.host = host

    @hookimpl(optionalhook=True)
    def register_routes(self, register: "Callable[[Route], None]") -> None:
        from .routes import routes  # noqa: PLC0415 - with the server's libraries

        for route in routes(self):
            register(route)
