"""The user's own price rows: absolute rates, an alias, or a negotiated discount, from TOML, JSON or a mapping.

    [prices."openai/ft:gpt-5-mini-2025-08-07:acme::abc"]
    batch = { input = "0.25", output = "2.00" }             # USD per million tokens; any bucket of BUCKETS
    tiers = [{ over = 272000, batch = { input = "0.5", output = "3" } }]
    [prices."openai/my-deployment"]
    alias_of = "openai/gpt-4o-2024-08-06"
    [prices."openai/*"]
    multiplier = "0.85"

An exact id beats `provider/base-model`, which beats `provider/*`.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from batchmeter.errors import ConfigError
from batchmeter.pricing.groups import BUCKETS, PriceQuery

from .catalogue import Row, Tier
from .names import base_model, names

ROW_KEYS = ("batch", "standard", "alias_of", "multiplier", "tiers")
TIER_KEYS = ("over", "batch", "standard")


@dataclass(frozen=True, slots=True)
class UserRow:
    """One declared row."""

    row: Row
    alias_of: tuple[str, str] | None = None
    multiplier: Decimal | None = None

    @property
    def has_batch(self) -> bool:
        return any(tier.batch for tier in self.row.tiers)

    def prices(self, processing: str) -> bool:
        """Whether it says what this processing costs; standard rates also tell a batch's, by estimate."""
        has_standard = any(tier.standard for tier in self.row.tiers)
        return has_standard or (processing == "batch" and self.has_batch)


@dataclass(frozen=True)
class UserRows:
    """All declared rows, by `provider/id`."""

    by_name: Mapping[str, UserRow] = field(default_factory=dict[str, UserRow])
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.source, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def boundaries(self) -> frozenset[int]:
        return frozenset(tier.over for row in self.by_name.values() for tier in row.row.tiers if tier.over)

    @property
    def providers(self) -> frozenset[str]:
        """Provider ids of the rows, without those that are other rows' aliases."""
        aliased = {row.alias_of[0] for row in self.by_name.values() if row.alias_of}
        return frozenset({name.partition("/")[0] for name in self.by_name} - aliased)

    def find(self, query: PriceQuery) -> UserRow | None:
        """Exact id, then the base model's row, then the provider's; `ft:` ids never reach their base model's row."""
        exact = [name.id for name in names(query.provider, query.model) if not name.family]
        for name in (*exact, base_model(query.provider, query.model), "*"):
            row = self.by_name.get(f"{query.provider}/{name}")
            if row is not None and (row.alias_of or row.multiplier is not None or row.prices(query.processing)):
                return row
        return None


def read_rows(source: Mapping[str, Any] | str | Path | None) -> UserRows:
    """Rows from a mapping or a file; every mistake is a ConfigError that names the row and the nearest right key."""
    if source is None:
        return UserRows()
    where = "prices"
    if isinstance(source, (str, Path)):
        where, source = str(source), _file(Path(source))
    inner = source.get("prices", source)
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{where}: `prices` has to be a table of rows")
    table = cast("Mapping[str, Any]", inner)
    rows = {name: _user_row(where, name, value) for name, value in table.items()}
    _no_cycles(where, rows)
    return UserRows(rows, table)


def _file(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"price file {path}: {error.strerror or error}") from error
    try:
        parsed: object = (json if path.suffix == ".json" else tomllib).loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ConfigError(f"price file {path}: {error}") from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"price file {path}: the top has to be a table of rows")
    return cast("Mapping[str, Any]", parsed)


def _user_row(where: str, name: str, value: object) -> UserRow:
    at = f'{where}: row "{name}"'
    provider, slash, model = name.partition("/")
    if not slash or not provider or not model:
        raise ConfigError(f'{at}: a row is named "provider/model-id" or "provider/*"')
    table = _table(at, value, ROW_KEYS)
    _goes_together(at, provider, model, table)
    row = UserRow(
        row=Row(provider, (model,), (_tier(at, 0, table), *_tiers(at, table.get("tiers", []))), origin="user"),
        alias_of=_alias(at, provider, table["alias_of"]) if "alias_of" in table else None,
        multiplier=_number(f"{at}: multiplier", table["multiplier"]) if "multiplier" in table else None,
    )
    if row.alias_of is None and row.multiplier is None and not row.prices("batch"):
        raise ConfigError(f"{at} is empty; it takes one of {', '.join(ROW_KEYS)}")
    return row


def _goes_together(at: str, provider: str, model: str, table: Mapping[str, Any]) -> None:
    """ConfigError for a row of which some part would have no effect."""
    rates = [f"`{key}`" for key in ("batch", "standard", "tiers") if key in table]
    if "alias_of" in table and rates:
        raise ConfigError(f"{at}: `alias_of` takes another model's rates; leave out {', '.join(rates)}")
    if "multiplier" in table and rates:
        raise ConfigError(f"{at}: `multiplier` scales published rates; multiply {', '.join(rates)} yourself")
    if model == "*" and ("alias_of" in table or rates):
        raise ConfigError(f"{at}: `*` covers every model of {provider}; it takes a `multiplier` only")
    if "*" in f"{provider}{model.removeprefix('*')}":
        raise ConfigError(f'{at}: `*` is no pattern; it stands alone, for every model: "{provider.strip("*")}/*"')


def _tiers(at: str, value: object) -> list[Tier]:
    if not isinstance(value, list):
        raise ConfigError(f"{at}: `tiers` is a list of tables {{ over = 272000, batch = {{ … }} }}")
    tiers: list[Tier] = []
    for item in cast("list[object]", value):
        table = _table(f"{at}: tier", item, TIER_KEYS)
        over = table.get("over")
        if not isinstance(over, int) or isinstance(over, bool) or over <= 0:
            raise ConfigError(
                f"{at}: a tier's `over` is the number of prompt tokens above which it counts, not {over!r}"
            )
        tiers.append(_tier(f"{at}: tier over {over}", over, table))
    return sorted(tiers, key=lambda tier: tier.over)


def _table(at: str, value: object, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{at}: has to be a table with {', '.join(keys)}, not {value!r}")
    table = cast("Mapping[str, Any]", value)
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(keys)}"
            raise ConfigError(f"{at}: unknown key `{key}`; {hint}")
    return table


def _tier(at: str, over: int, table: Mapping[str, Any]) -> Tier:
    batch, standard = (
        {
            bucket: _number(f"{at}: {key}.{bucket}", rate)
            for bucket, rate in _table(f"{at}: {key}", table.get(key, {}), BUCKETS).items()
        }
        for key in ("batch", "standard")
    )
    return Tier(over, batch, standard)


def _number(at: str, value: object) -> Decimal:
    """A decimal string, an integer, or a float taken at its printed digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ConfigError(f'{at} has to be a number such as "0.25", not {value!r}')
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ConfigError(f'{at} has to be a number such as "0.25", not {value!r}') from None
    if not number.is_finite() or number < 0:
        raise ConfigError(f"{at} has to be 0 or more, not {value!r}")
    return number


def _alias(at: str, provider: str, value: object) -> tuple[str, str]:
    """`"provider/model"`; the provider may be left out where the model's id has no slash."""
    if not isinstance(value, str) or not value.strip("/"):
        raise ConfigError(f'{at}: alias_of has to name a model, such as "{provider}/gpt-4o-2024-08-06", not {value!r}')
    target, slash, model = value.partition("/")
    return (target, model) if slash else (provider, target)


def _no_cycles(where: str, rows: Mapping[str, UserRow]) -> None:
    for start in rows:
        visited, name = {start}, start
        while (row := rows.get(name)) is not None and row.alias_of is not None:
            name = "/".join(row.alias_of)
            if name in visited:
                raise ConfigError(f'{where}: row "{start}": alias_of leads round in a circle by "{name}"')
            visited.add(name)
