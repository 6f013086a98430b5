"""A client that talks to public addresses only, whatever a name resolves to, now or at the next request.

The name is looked up here and the connection goes to the very address that was checked, so a name that changes its
answer between check and use (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from batchmeter import errors
from batchmeter.http import http_library, tls

if TYPE_CHECKING:
    import httpx

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> addresses."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def public_client(
    *, resolve: "Resolve | None" = None, allowed: "Callable[[Address], bool] | None" = None
) -> "httpx.AsyncClient":
    """A new client; takes 50 ms the first time, so not on the event loop. Proxies of the environment are not used."""
    library = http_library()
    pinned = _Pinned(library, resolve or _resolve, allowed or is_public)
    return library.AsyncClient(transport=pinned)  # type: ignore[no-any-return]


def is_public(address: Address) -> bool:
    """Not private, loopback, link-local, reserved or multicast, however it is wrapped into IPv6."""
    inner = _unwrapped(address)
    return inner.is_global and not inner.is_multicast


def literal(host: str) -> "Address | None":
    """The address that a URL names outright."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise errors.APIConnectionError(f"{host} cannot be resolved: {error}", never_sent=True) from None
    return [str(where[0]) for *_, where in found]


class _Pinned:
    """A transport that connects to the address it has checked; TLS still asks for the name's certificate."""

    def __init__(self, library: Any, resolve: Resolve, allowed: Callable[[Address], bool]) -> None:
        self._library = library
        self._inner = library.AsyncHTTPTransport(verify=tls(library.__name__))
        self._resolve = resolve
        self._allowed = allowed

    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response":
        host = request.url.host
        address = await self._address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        pinned = self._library.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        response: httpx.Response = await self._inner.handle_async_request(pinned)
        return response

    async def _address(self, host: str, port: int) -> Address:
        """All of a name's addresses have to be good: one that is not is no accident."""
        named = literal(host)
        found = [named] if named is not None else [literal(text) for text in await self._resolve(host, port)]
        addresses = [address for address in found if address is not None]
        refused = next((address for address in addresses if not self._allowed(address)), None)
        if refused is not None or not addresses:
            where = f"{host} is at {refused}" if refused is not None else f"{host} has no address"
            raise errors.APIConnectionError(f"{where}, which is not a public address", never_sent=True)
        return addresses[0]

    async def aclose(self) -> None:
        await self._inner.aclose()
