"""Anthropic's own client as `batchmeter.observe` reads it."""

import re
from collections.abc import Sequence
from typing import Any

from batchmeter.models import Batch
from batchmeter.providers import ObservedKind, ObservedWire
from batchmeter_translate.shape import mapping, objects

from .states import batch_of

_BATCHES = r"(?P<base>.*)/v1/messages/batches"


def _batches(answer: Any, kind: ObservedKind) -> Sequence[Batch]:
    rows = objects(mapping(answer).get("data")) if kind == "list" else [mapping(answer)]
    return [batch_of(row, None, native=False) for row in rows if row.get("type") == "message_batch" and row.get("id")]


OBSERVED = ObservedWire(
    header="anthropic-version",
    requests={
        "create": ("POST", re.compile(_BATCHES)),
        "list": ("GET", re.compile(_BATCHES)),
        "look": ("GET", re.compile(_BATCHES + r"/[^/]+")),
    },
    batches=_batches,
    endings=(b'"ended"',),
)
