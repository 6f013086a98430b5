"""The compiled catalogue as it lies in the wheel: rows of exact ids, opened once, parsed only where asked.

One row holds the rates of some ids at one provider, in one region class, for one span of dates; its tiers go by prompt
length, and the whole request is priced by one tier. Rates are decimal strings, USD per million units of a bucket.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

from batchmeter.config import user_folder
from batchmeter.errors import ConfigError

FORMAT = 1
NAME = "catalogue.json.gz"
FORCED = "forced"
"""The file that holds the day of the embedded catalogue which an older one was put in place of."""
EMBEDDED = Path(__file__).parent / "data" / NAME

Numbers = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of requests whose prompt is longer than `over` tokens."""

    over: int
    batch: Numbers
    standard: Numbers


@dataclass(frozen=True, slots=True)
class Row:
    """The rates of some models, in one region class, for one span of dates."""

    provider: str
    models: tuple[str, ...]
    tiers: tuple[Tier, ...]
    region: str | None = None
    """A region class (`data-zone-eu`, `us-east-1`, …); None is the global price."""
    valid_from: date | None = None
    valid_until: date | None = None
    """Exclusive."""
    cached: str = "half"
    """A cached token in a batch, where no batch rate says it: `batch_input`, `standard`, `half` of it, the `discount`, or
    `none`: not known."""
    uplift: Mapping[str, tuple[Decimal, date | None]] = field(default_factory=dict[str, tuple[Decimal, date | None]])
    """Region class -> (factor, since) over this row, where no row of that class exists."""
    factor: str | None = None
    """The batch's share of the standard price, where it is not the provider's usual one; `none`: not known."""
    assumed: frozenset[str] = frozenset()
    """Buckets whose rate holds in the usual case only, such as a search beyond the free ones of the month."""
    origin: str = ""
    source: str = ""
    reason: str = ""

    def batch_factor(self, usual: Decimal | None) -> Decimal | None:
        """The batch's share of the standard price; `usual` is the provider's."""
        if self.factor is None:
            return usual
        return None if self.factor == "none" else Decimal(self.factor)

    def covers(self, at: date) -> bool:
        """Whether this row's prices hold on that date."""
        return (self.valid_from is None or self.valid_from <= at) and (
            self.valid_until is None or at < self.valid_until
        )


@dataclass
class Catalogue:
    """All rows, found by (provider, id)."""

    document: Mapping[str, Any]
    digest: str

    @classmethod
    def open(cls, path: Path = EMBEDDED) -> "Catalogue":
        """Read a compiled catalogue; the digest is that of its JSON, however it was compressed.

        The last ones are kept: clients of one process share them.
        """
        found = path.stat()
        return _opened(path, (found.st_ino, found.st_mtime_ns, found.st_size))

    @classmethod
    def parse(cls, content: bytes, name: str = "catalogue") -> "Catalogue":
        try:
            document: object = json.loads(content)
        except ValueError as error:
            raise ConfigError(f"{name} is not a price catalogue: {error}") from error
        if not isinstance(document, dict) or cast("dict[str, Any]", document).get("format") != FORMAT:
            raise ConfigError(f"{name} is not a price catalogue of format {FORMAT}; update batchmeter or the catalogue")
        return cls(cast("dict[str, Any]", document), hashlib.sha256(content).hexdigest())

    @cached_property
    def boundaries(self) -> tuple[int, ...]:
        """Every prompt length at which some row changes price."""
        return tuple(self.document["boundaries"])

    @cached_property
    def built(self) -> str:
        """The date of its data."""
        return str(self.document["built"])

    @cached_property
    def _index(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        index: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for raw in self.document["rows"]:
            for model in raw["models"]:
                index.setdefault((raw["provider"], model), []).append(raw)
        return index

    @cached_property
    def _families(self) -> frozenset[tuple[str, str]]:
        families: Mapping[str, Iterable[str]] = self.document["families"]
        return frozenset((provider, model) for provider, models in families.items() for model in models)

    def rows(self, provider: str, model: str) -> list[Row]:
        """The rows of one exact id, of every region class and date."""
        return [self._parsed(raw) for raw in self._index.get((provider, model), ())]

    def is_family(self, provider: str, model: str) -> bool:
        """Whether this undated id speaks for its dated snapshots: the catalogue knows none at another price."""
        return (provider, model) in self._families

    def models(self, provider: str | None = None) -> list[tuple[str, str]]:
        """Every (provider, id), sorted."""
        return sorted(key for key in self._index if provider is None or key[0] == provider)

    @cached_property
    def providers(self) -> frozenset[str]:
        """Provider ids with a row."""
        return frozenset(provider for provider, _ in self._index)

    def factor(self, provider: str) -> Decimal | None:
        """The usual batch price of a provider, as a share of its standard price."""
        factor = self.document["factors"].get(provider)
        return None if factor is None else Decimal(factor)

    def _parsed(self, raw: Mapping[str, Any]) -> Row:
        return Row(
            provider=raw["provider"],
            models=tuple(raw["models"]),
            tiers=tuple(
                Tier(t["over"], _numbers(t.get("batch", {})), _numbers(t.get("standard", {}))) for t in raw["tiers"]
            ),
            region=raw.get("region"),
            valid_from=_date(raw.get("from")),
            valid_until=_date(raw.get("until")),
            cached=raw["cached"],
            uplift={name: (Decimal(factor), _date(since)) for name, (factor, since) in raw.get("uplift", {}).items()},
            factor=raw.get("factor"),
            assumed=frozenset(raw.get("assumed", ())),
            origin=raw["origin"],
            source=raw.get("source") or self.document["sources"].get(raw["origin"], ""),
            reason=raw.get("reason", ""),
        )


@lru_cache(maxsize=2)
def _opened(path: Path, _state: tuple[int, ...]) -> Catalogue:
    content = path.read_bytes()
    return Catalogue.parse(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content, str(path))


def _numbers(raw: Mapping[str, str]) -> dict[str, Decimal]:
    return {bucket: Decimal(rate) for bucket, rate in raw.items()}


def _date(raw: str | None) -> date | None:
    return None if raw is None else date.fromisoformat(raw)


def current() -> Catalogue:
    """The updated catalogue, unless the embedded one has become newer since. Nothing is fetched."""
    embedded = Catalogue.open(EMBEDDED)
    home = user_folder("data")
    if home is None or not os.path.exists(home / "prices" / NAME):  # noqa: PTH110 - False also where nobody may look
        return embedded
    updated, forced = Catalogue.open(home / "prices" / NAME), home / "prices" / FORCED
    is_forced = forced.exists() and forced.read_text(encoding="utf-8") == embedded.built
    return updated if updated.built >= embedded.built or is_forced else embedded
