"""The log of a service, on standard error: how much of it, as text or JSON, with times in UTC."""

import json
import logging
import os
import time
from typing import TextIO

from batchmeter.errors import UsageError

from .inert import InertFormatter, inert_json

VARIABLE = "BATCHMETER_LOG"
"""A level, a format or both: `info`, `json`, `debug,json`. Worker processes read it, too."""
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_TEXT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
_LIBRARY = logging.getLogger("batchmeter")


class JsonFormatter(logging.Formatter):
    """One object a line: `time`, `level`, `logger`, `message`, and `error` with the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return inert_json(json.dumps(line, ensure_ascii=False))


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from the handlers of a program around us."""


def name_log(level: str | None, form: str | None) -> None:
    """Put the options of this command where it and its worker processes find them."""
    if level or form:
        known_level, known_form = choice()
        os.environ[VARIABLE] = ",".join([level or known_level, form or known_form])


def choice() -> tuple[str, str]:
    """Level and format by `BATCHMETER_LOG`; UsageError for a word that is neither."""
    level, form = "warning", "text"
    for word in os.environ.get(VARIABLE, "").lower().replace(",", " ").split():
        if word in LEVELS:
            level = word
        elif word in FORMATS:
            form = word
        else:
            known = ", ".join((*LEVELS, *FORMATS))
            raise UsageError(f"{VARIABLE}: {word!r} is neither a level nor a format; known: {known}")
    return level, form


def start_log() -> None:
    """Write the log of this process from now on; in place of what an earlier call began."""
    level, form = choice()
    handler = _Handler()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        formatter = InertFormatter(_TEXT, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    for earlier in [one for one in _LIBRARY.handlers if isinstance(one, _Handler)]:
        _LIBRARY.removeHandler(earlier)
    _LIBRARY.addHandler(handler)
    _LIBRARY.setLevel(level.upper())
    _LIBRARY.propagate = False
