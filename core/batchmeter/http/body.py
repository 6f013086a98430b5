"""Request bodies: JSON; files and forms that stream, and the count that keeps them to their declared length."""

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

from batchmeter import errors


@dataclass(slots=True)
class Body:
    """A request body that streams; `open` gives a fresh pass over it for each try."""

    open: Callable[[], AsyncIterator[bytes]]
    content_type: str
    size: int | None = None
    replayable: bool = True


class BodyFailedError(Exception):
    """The body itself raised `cause` while it was sent; it reaches the caller unchanged."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Pass:
    """One pass over a body; `failure` is what the body itself raised, however the transport dresses that up."""

    def __init__(self, body: Body) -> None:
        self.failure: Exception | None = None
        self.chunks = self._watched(body)

    async def _watched(self, body: Body) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(exactly(body.open(), body.size)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except Exception as failure:
            self.failure = failure
            raise

    async def aclose(self) -> None:
        with suppress(RuntimeError):  # a transport that answers early may still be reading it, and closes it itself
            await self.chunks.aclose()


def as_json(body: object) -> bytes:
    """As short as can be; half a character, which has no UTF-8, goes out as its escape, as it came."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


async def exactly(chunks: AsyncIterator[bytes], size: int | None) -> AsyncGenerator[bytes]:
    """The same chunks; raises when they are not `size` bytes, before the receiver could take them for complete."""
    sent = 0
    try:
        async for chunk in chunks:
            sent += len(chunk)
            if size is not None and sent > size:
                raise _wrong_length(f"more than {size}", size)
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    if size is not None and sent < size:
        raise _wrong_length(str(sent), size)


def _wrong_length(sent: str, size: int) -> errors.UsageError:
    return errors.UsageError(
        f"the body came to {sent} bytes, but {size} were declared; did the file change while it was read?"
    )


def multipart(fields: Mapping[str, str], filename: str, content_type: str, body: Body) -> Body:
    """A form with one file, streamed; fields come first, as the SDKs send them."""
    boundary = secrets.token_hex(16)
    start, end = form_head(fields, filename, content_type, boundary), f"\r\n--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield start
        async with aclosing(exactly(body.open(), body.size)) as inner:
            async for chunk in inner:
                yield chunk
        yield end

    size = None if body.size is None else len(start) + body.size + len(end)
    return Body(chunks, f"multipart/form-data; boundary={boundary}", size, body.replayable)


def form_head(fields: Mapping[str, str], filename: str, content_type: str, boundary: str) -> bytes:
    """Everything of a form up to the file's first byte."""
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quote(filename)}"\r\n'
        f"Content-Type: {_line(content_type)}\r\n\r\n"
    )
    return head.encode()


def _quote(text: str) -> str:
    """HTML's rule for names in a form, which all servers read."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")
