"""The plugin of one client: the host it gets, and the routes it adds to the proxy."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from batchmeter import hookimpl

from .settings import PagesSettings

if TYPE_CHECKING:
    from batchmeter.host import PluginHost
    from batchmeter_proxy import Route

    from .streams import Streams


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

        for route in routes(self.settings, self.streams, lambda: self.host):
            register(route)
