"""How a custom_id travels in a row and comes back byte for byte, whatever it contains.

The importer guesses a column's type from its values, so a bare `000123` or `2026-11-22` would return as a number or a
date, and Gemini documents no id at all. So the id rides in the row itself, twice, reversibly: in the extra top-level
key `custom_id` (echoed, though undocumented), and in the request's labels (63 characters of `[a-z0-9_-]` each, as many
as it takes). Nothing has to be remembered: any machine can read the answers back, at any later time, in flat memory.

`bmc-run_7` holds `run_7` as it is; `bmx-…` is base32 of the UTF-8 for everything that is not plain.
"""

import base64
import re
from collections.abc import Mapping

_PLAIN, _CODED = "bmc-", "bmx-"
KEY = re.compile(r"[A-Za-z0-9_-]{1,500}")
LABEL = re.compile(r"[a-z0-9_-]{1,59}")
ANY_LABEL = re.compile(r"custom_id|(?:batchmeter_cid|litellm_custom_id(?:_raw)?)(?:_\d+)?")
"""Names of labels that carry a row's id, whoever made the row; any other may be the same on every row."""
_LABEL_NAME = "batchmeter_cid"
_LABEL_SIZE = 63
_MAX_PARTS = 32
_PLACE = re.compile(r"[0-9]{1,18}")
"""Places that a file can have."""


def encode(text: str, plain: re.Pattern[str] = KEY) -> str:
    """A string of letters, digits, `_` and `-` that starts with a letter."""
    if plain.fullmatch(text):
        return _PLAIN + text
    coded = base64.b32encode(text.encode("utf-8", "surrogatepass")).decode()
    return _CODED + coded.rstrip("=").lower()


def is_encoded(text: str) -> bool:
    return text.startswith((_PLAIN, _CODED))


def decode(text: str) -> str:
    """The text that `encode` was given; text that it did not make is its own."""
    if text.startswith(_PLAIN):
        return text.removeprefix(_PLAIN)
    if not text.startswith(_CODED):
        return text
    coded = text.removeprefix(_CODED).upper()
    try:
        return base64.b32decode(coded + "=" * (-len(coded) % 8)).decode("utf-8", "surrogatepass")
    except ValueError:
        return text


def place_in(text: str) -> int | None:
    """A place in a file, from a name that anybody may have written; None for what is none."""
    return int(text) if _PLACE.fullmatch(text) else None


def to_labels(custom_id: str) -> dict[str, str]:
    """Labels that hold the id; none for an id that would need more than 32 of them."""
    text = encode(custom_id, LABEL)
    parts = [text[start : start + _LABEL_SIZE] for start in range(0, len(text), _LABEL_SIZE)]
    if len(parts) > _MAX_PARTS:
        return {}
    return {_LABEL_NAME if i == 0 else f"{_LABEL_NAME}_{i}": part for i, part in enumerate(parts)}


def from_labels(labels: Mapping[str, object]) -> str | None:
    """The id that `to_labels` put there, if it did."""
    parts: list[str] = []
    while (part := labels.get(_LABEL_NAME if not parts else f"{_LABEL_NAME}_{len(parts)}")) is not None:
        parts.append(str(part))
    return decode("".join(parts)) if parts else None
