"""Google's own client, at the developer API, as `batchmeter.observe` reads it."""

import re
from collections.abc import Sequence
from typing import Any

from batchmeter.models import Batch
from batchmeter.providers import ObservedKind, ObservedWire
from batchmeter_translate.shape import mapping, objects

from .states import batch_of

_VERSION = r"(?P<base>.*)/(?P<version>v1(?:alpha|beta)?)"
_CREATE = re.compile(_VERSION + r"/models/[^/]+:(?:batchGenerateContent|asyncBatchEmbedContent)")
_LIST = re.compile(_VERSION + r"/batches")
_LOOK = re.compile(_VERSION + r"/batches/[^/:]+")


def _batches(answer: Any, kind: ObservedKind) -> Sequence[Batch]:
    found = objects(mapping(answer).get("operations")) if kind == "list" else [mapping(answer)]
    return [batch_of(one, native=False) for one in found if str(one.get("name")).startswith("batches/")]


OBSERVED = ObservedWire(
    header="x-goog-api-key",
    requests={"create": ("POST", _CREATE), "list": ("GET", _LIST), "look": ("GET", _LOOK)},
    batches=_batches,
    endings=(b'"done"',),
)
