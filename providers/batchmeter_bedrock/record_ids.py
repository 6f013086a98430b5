"""The recordId that travels to Bedrock, which takes 1 to 64 letters and digits, and the custom_id that comes back.

An id that fits is its own. Others are written in base32 (`bmx…`); one that is too long for that goes into a file beside
the rows, and travels as its place there (`bml…`). A row of a request of several says which of them it is (`bmp…`).
"""

import base64
import re
from collections.abc import Callable

from batchmeter_translate.embedding_answer import Part
from batchmeter_translate.ids import place_in

_MOST = 64
FITS = re.compile(r"[A-Za-z0-9]{1,64}")
_CODED, _PLACED, _PART = "bmx", "bml", "bmp"
_OURS = (_CODED, _PLACED, _PART)
_PARTED = re.compile(r"bmp([0-9]{1,9})o([0-9]{1,9})([bf])(.+)")


def to_record(custom_id: str, keep: Callable[[str], int], part: str = "") -> str:
    """`keep` puts a long id beside the rows and gives its place."""
    if FITS.fullmatch(custom_id) and not custom_id.startswith(_OURS) and len(part) + len(custom_id) <= _MOST:
        return part + custom_id
    coded = base64.b32encode(custom_id.encode("utf-8", "surrogatepass")).decode().rstrip("=").lower()
    if len(part) + len(_CODED) + len(coded) <= _MOST:
        return f"{part}{_CODED}{coded}"
    return f"{part}{_PLACED}{keep(custom_id)}"


def from_record(record_id: str, kept: Callable[[int], str | None]) -> str:
    """An id that was kept and is no longer there stays what Bedrock calls it, as one that is nobody's does."""
    if record_id.startswith(_PLACED):
        place = place_in(record_id.removeprefix(_PLACED))
        return (None if place is None else kept(place)) or record_id
    if not record_id.startswith(_CODED):
        return record_id
    coded = record_id.removeprefix(_CODED).upper()
    try:
        return base64.b32decode(coded + "=" * (-len(coded) % 8)).decode("utf-8", "surrogatepass")
    except ValueError:
        return record_id


def part_name(index: int, count: int, *, base64: bool) -> str:
    """The beginning of the record of one vector of a request."""
    return f"{_PART}{index}o{count}{'b' if base64 else 'f'}"


def part_of(record_id: str) -> Part:
    """A record that is not a part is a whole request."""
    match = _PARTED.fullmatch(record_id)
    return Part(match[4], int(match[1]), int(match[2]), match[3] == "b") if match else Part(record_id)
