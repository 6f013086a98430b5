"""The declaration by which `batchmeter.observe` reads the own client of a vendor whose words are not OpenAI's."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .models import Batch

ObservedKind = Literal["create", "look", "list"]


@dataclass(frozen=True, slots=True)
class ObservedWire:
    """How a vendor's own client is read by `batchmeter.observe`: declared under the entry-point group `batchmeter.observed`.

    OpenAI's own wire needs none. The first declaration whose header, method and path match is taken; the account is that
    of its provider's `Settings.of_request`.
    """

    header: str
    """Name of a header that all its requests have: others may have such paths too."""
    requests: Mapping[ObservedKind, tuple[str, re.Pattern[str]]]
    """Kind -> method and whole path; the group `base` is what stands before the API's own part."""
    batches: Callable[[Any, ObservedKind], Sequence[Batch]]
    """Of an answer's JSON, whatever it is."""
    endings: tuple[bytes, ...] = ()
    """Parts of an answer that shows a batch's end."""
