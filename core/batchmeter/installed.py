"""Which plugins are installed, and by which distributions: asked of the disk once, not by every client."""

import sys
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

GROUP = "batchmeter"


def installed() -> tuple[EntryPoint, ...]:
    """Again after something was installed, or sys.path changed."""
    places = [Path(path) for path in sys.path]
    return _found(tuple((str(place), place.stat().st_mtime_ns) for place in places if place.exists()))


@lru_cache(maxsize=8)
def _found(_: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """A file of every distribution is read for this."""
    return tuple(entry_points(group=GROUP))


def origin(entry: EntryPoint) -> tuple[str, str]:
    """The distribution that brings it, and its version."""
    return _about(entry.dist) if entry.dist else ("", "")


@lru_cache(maxsize=128)
def _about(distribution: Distribution) -> tuple[str, str]:
    """Its whole README is parsed for this."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]
