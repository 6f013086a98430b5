"""HTTP answers: a whole one, and one with a body that still arrives."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchmeter import errors

Headers = Mapping[str, str]
"""Names in lower case."""


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """The decoded body; APIResponseError when it is not JSON (a login page, a proxy's HTML)."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise errors.APIResponseError("expected JSON, got one that is nested too deeply to be read") from None
        except ValueError as error:
            kind = self.headers.get("content-type", "no content-type")
            raise errors.APIResponseError(
                f"expected JSON, got {kind}: {self.content[:120]!r}; is api_base the API's address?"
            ) from error


@dataclass(slots=True)
class StreamedResponse:
    """An answer whose body is still on its way."""

    status_code: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    @property
    def size(self) -> int | None:
        """Bytes to come; None where nobody said, or where they travel compressed."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isdecimal() and "content-encoding" not in self.headers else None
