"""How long an answer asks to wait, in the headers that vendors use for it."""

import email.utils
import math
import time
from collections.abc import Mapping


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date).

    Some vendors send `retry-after-ms: 0` beside the seconds that it means.
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None and (millis > 0 or "retry-after" not in headers):
        return max(0.0, millis / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return max(0.0, seconds)
    date = email.utils.parsedate_tz(text) if text else None
    try:
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
    except (ValueError, OverflowError):  # a year that no calendar has
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
