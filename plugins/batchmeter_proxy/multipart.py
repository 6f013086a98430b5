"""An upload's form, read as it comes: fields are kept, the file's bytes are handed on at once."""

import re
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from .errors import Refusal

_MAX_FIELDS = 64 * 1024
"""Bytes of all fields together."""
_MAX_HEADERS = 16 * 1024
_MAX_PARTS = 32
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,199}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046's characters; more of them than its 70, as some clients send."""


@dataclass(slots=True)
class FormReader:
    """Feed it the body. Fields may come before or after the file; there is one file, named `file`."""

    content_type: str
    boundary: bytes = field(default=b"", init=False)
    fields: dict[str, str] = field(default_factory=dict[str, str], init=False)
    filename: str | None = field(default=None, init=False)
    """None until the file begins."""
    file_type: str = field(default="application/octet-stream", init=False)
    ended: bool = field(default=False, init=False)
    """The last boundary has come."""
    _parts: int = field(default=0, init=False)
    """How many have begun."""
    _file_part: int = field(default=0, init=False)
    """The number of the part that is the file."""
    _parser: MultipartParser = field(init=False)
    _headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes], init=False)
    _name: bytes = field(default=b"", init=False)
    _text: bytes = field(default=b"", init=False)
    _size: int = field(default=0, init=False)
    """Bytes of this part's headers."""
    _field: str = field(default="", init=False)
    _value: bytearray = field(default_factory=bytearray, init=False)
    _room: int = field(default=_MAX_FIELDS, init=False)
    _in_file: bool = field(default=False, init=False)
    _pieces: list[bytes] = field(default_factory=list[bytes], init=False)

    def __post_init__(self) -> None:
        kind, options = parse_options_header(self.content_type)
        self.boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or _BOUNDARY.fullmatch(self.boundary) is None:
            message = "Expected a body of multipart/form-data with a boundary, as OpenAI's clients send it."
            raise Refusal(400, message, code="invalid_content_type")
        self._parser = MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_text,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """The pieces of the file in this chunk. Refusal for a form that cannot be read, or has too much in it."""
        try:
            if not self.ended:  # what follows the last boundary is not part of the form
                self._parser.write(chunk)
        except MultipartParseError as error:
            raise Refusal(400, f"The multipart body cannot be read: {error}", code="invalid_multipart") from error
        pieces, self._pieces = self._pieces, []
        return pieces

    def file_start(self, raw: bytes) -> int:
        """Where the file's first byte is in `raw`, the body up to here; it has begun."""
        text = b"\r\n" + raw
        at = -1
        for _ in range(self._file_part):
            at = text.index(b"\r\n--" + self.boundary, at + 1)
        return text.index(b"\r\n\r\n", at + 2) + 2

    def _begin(self) -> None:
        self._parts += 1
        self._headers.clear()
        self._size = 0
        if self._parts > _MAX_PARTS:
            raise Refusal(400, f"The form has more than {_MAX_PARTS} parts.", code="invalid_multipart")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data[start:end])

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._text += self._counted(data[start:end])

    def _counted(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > _MAX_HEADERS:
            raise Refusal(400, "A part of the form has too long headers.", code="invalid_multipart")
        return piece

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._text
        self._name = self._text = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._value.clear()
        self._in_file = self._field == "file"
        if not self._in_file:
            return
        if self.filename is not None:
            raise Refusal(400, "The form has more than one file.", code="invalid_multipart", param="file")
        self._file_part = self._parts
        self.filename = options.get(b"filename", b"").decode("utf-8", "replace") or "upload.jsonl"
        self.file_type = self._headers.get(b"content-type", b"").decode("latin-1") or self.file_type

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pieces.append(data[start:end])
            return
        self._room -= end - start
        if self._room < 0:
            raise Refusal(400, f"The form field '{self._field}' is too long.", param=self._field)
        self._value += data[start:end]

    def _part_end(self) -> None:
        if not self._in_file:
            if self._field in self.fields:
                raise Refusal(400, f"The form has the field '{self._field}' twice.", param=self._field)
            self.fields[self._field] = self._value.decode("utf-8", "replace")
        self._in_file = False

    def _end(self) -> None:
        self.ended = True
