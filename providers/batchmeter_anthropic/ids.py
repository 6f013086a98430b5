"""The custom_id that travels to Anthropic, which takes 1 to 64 of `[a-zA-Z0-9_-]`, and comes back as it was.

An id that fits is its own. Others are written in base32 (`bmx-…`); one that is too long for that goes into a file beside
the request, and travels as its place there (`bml-…`).
"""

import re
from collections.abc import Callable

from batchmeter_translate import ids

FITS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PLACED = "bml-"
_OURS = ("bmc-", "bmx-", _PLACED)
_NONE = re.compile(r"(?!)")


def to_vendor(custom_id: str, keep: Callable[[str], int]) -> str:
    """`keep` puts a long id beside the requests and gives its place."""
    if FITS.fullmatch(custom_id) and not custom_id.startswith(_OURS):
        return custom_id
    coded = ids.encode(custom_id, _NONE)
    return coded if FITS.fullmatch(coded) else f"{_PLACED}{keep(custom_id)}"


def from_vendor(custom_id: str, kept: Callable[[int], str | None]) -> str:
    """An id that was kept and is no longer there stays what Anthropic calls it."""
    if not custom_id.startswith(_PLACED):
        return ids.decode(custom_id)
    place = ids.place_in(custom_id.removeprefix(_PLACED))
    return (None if place is None else kept(place)) or custom_id
