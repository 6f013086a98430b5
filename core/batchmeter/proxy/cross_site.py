"""Whether a web page from elsewhere may be behind a request: a browser sends a plain POST wherever a page asks it to."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_RESERVED = (".localhost", ".test", ".internal")
"""Nobody can register these."""


def cross_site(headers: Mapping[str, str]) -> bool:
    """The page is from another site; or the name by which it was found is one that anybody may lead here."""
    host = _name(f"//{headers.get('host', '')}")
    origin = headers.get("origin")
    if not _is_own(host):
        return True
    if origin is None:
        return False
    page = _name(origin)
    return not page or not (page == host or _is_this_machine(page))


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    """No public name: an address, or what only this machine or its network resolves."""
    return "." not in host or host.endswith(_RESERVED) or _address(host) is not None


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
