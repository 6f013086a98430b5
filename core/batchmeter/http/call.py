"""One request, as it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .body import Body
from .response import Headers
from .retry import Retry


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before it is built for a try."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json_body: object = None
    body: Body | None = None
    headers: Headers | None = None
    timeout: float | None = None
    retry: Retry = "always"
    read: bool = True
    """The whole answer is read within the try, so that one that breaks off is tried again."""
