"""Reads an upload's multipart form as it arrives; the file goes straight to where it is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from .files import Receiver
from .refusal import Refusal, missing

_MAX_FIELD = 64 * 1024


@dataclass(slots=True)
class Form:
    """Feed it the body, then take `fields` and `file`. Fields may come before or after the file."""

    content_type: str
    receive: Callable[[str], Receiver]
    """Called with the file's name when its part begins."""
    fields: dict[str, str] = field(default_factory=dict[str, str], init=False)
    file: Receiver | None = field(default=None, init=False)
    _parser: MultipartParser = field(init=False)
    _headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes], init=False)
    _header: list[bytes] = field(default_factory=lambda: [b"", b""], init=False)
    _name: str = field(default="", init=False)
    _value: bytearray = field(default_factory=bytearray, init=False)
    _in_file: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        kind, options = parse_options_header(self.content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refusal(400, "Expected a body of multipart/form-data with a boundary.", code="invalid_content_type")
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._head(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._head(1, data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise Refusal(400, f"The multipart body cannot be read: {error}") from error

    def close(self) -> Receiver:
        """The file; Refusal when the body broke off or held none."""
        if not self._ended:
            raise Refusal(400, "The multipart body ends before its last boundary.")
        if self.file is None:
            raise missing("file")
        return self.file

    def expires_after(self) -> dict[str, str] | None:
        """From `expires_after[seconds]`, as SDKs spell it, or `expires_after.seconds`, as Azure's REST pages do."""
        found: dict[str, str] = {}
        for part in ("anchor", "seconds"):
            for name in (f"expires_after[{part}]", f"expires_after.{part}"):
                if name in self.fields:
                    found[part] = self.fields[name]
        return found or None

    def _begin(self) -> None:
        self._headers.clear()

    def _head(self, which: int, piece: bytes) -> None:
        self._header[which] += piece

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = self._name == "file" and self.file is None
        self._value.clear()
        if self._in_file:
            self.file = self.receive(options.get(b"filename", b"upload").decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file and self.file is not None:
            self.file.write(data[start:end])
        else:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD:
                raise Refusal(400, f"The form field '{self._name}' is too long.", param=self._name)

    def _part_end(self) -> None:
        if not self._in_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")
        self._in_file = False

    def _end(self) -> None:
        self._ended = True
