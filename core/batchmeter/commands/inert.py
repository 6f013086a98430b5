"""Text of strangers made safe for a terminal: escape sequences are shown as text, and do nothing."""

import logging
import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All but tab and line feed; 0x9b alone begins an escape sequence, too."""


def inert(text: str) -> str:
    """`\\x1b[2J` for the byte that would clear the screen."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def inert_json(text: str) -> str:
    """The same JSON; control characters that it may hold as they are become JSON's own escapes."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class InertFormatter(logging.Formatter):
    """Log lines quote errors, and errors quote servers."""

    def format(self, record: logging.LogRecord) -> str:
        return inert(super().format(record))


def make_log_inert() -> None:
    """The handler that prints warnings where nobody has set up logging."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(InertFormatter())
