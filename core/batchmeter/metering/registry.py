"""Every provider's `Dialects`: those under the entry-point group, found once."""

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .dialects import OPENAI, Dialects

GROUP = "batchmeter.dialects"
log = logging.getLogger("batchmeter")


@cache
def installed() -> tuple[Dialects, ...]:
    """OpenAI's own first; a declaration that cannot be imported is logged and left out."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    found = [OPENAI, *(dialects for entry in entries if (dialects := _loaded(entry)) is not None)]
    return tuple({dialects.provider: dialects for dialects in found}.values())


def dialects_of(provider: str) -> Dialects:
    """This provider's; one that declares none is read as OpenAI, and nothing of it is free."""
    known = next((dialects for dialects in installed() if dialects.provider == provider), None)
    return known or _undeclared(provider)


@cache
def _undeclared(provider: str) -> Dialects:
    return Dialects(provider=provider, speaks=OPENAI.speaks)


def _loaded(entry: EntryPoint) -> Dialects | None:
    try:
        found = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others are read
        log.warning("the dialects of %s cannot be used: %s", entry.name, error)
        return None
    if not isinstance(found, Dialects):
        log.warning("the dialects of %s are no batchmeter.metering.dialects.Dialects", entry.name)
        return None
    return found
