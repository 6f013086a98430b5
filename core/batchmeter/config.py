"""Settings, and what fills and checks those of plugins and accounts: an unknown key's error names the nearest one.

Secrets come out of a variable (`api_key_env`, `${VAR}`) or a file (`api_key_file`), never out of the settings file itself.
"""

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from .errors import ConfigError
from .web import redact_url

Model = TypeVar("Model", bound=BaseModel)


class Reports(BaseModel):
    """`[reports]`: how costs are summed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metadata_keys: tuple[str, ...] = ()
    """Metadata keys that costs can be grouped by (`metadata.customer`), of batches that end from then on."""


class Spool(BaseModel):
    """`[spool]`: input files of accounts whose vendor keeps none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = ""
    """A folder, one for all workers; by default `spool` beside the ledger's file, else in the user's data folder."""


class Settings(BaseModel):
    """Everything batchmeter can be told, apart from what a provider or plugin reads itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ledger: str = ""
    """Path or `postgresql://…` URL of the ledger; by default `ledger.db` in the user's data folder."""
    track: bool = True
    """Follow open batches in the background while a client is open."""
    longest_pause: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """Seconds that a provider's Retry-After counts for at most; it pauses its own account only."""
    default_account: str = "openai"
    """The account of a call that names none."""
    load: tuple[str, ...] | None = None
    """Exactly these plugins; None: every installed one that is configured."""
    disable: tuple[str, ...] = ()
    """Plugins to leave off."""
    accounts: dict[str, dict[str, Any]] = {}
    """`[accounts.<name>]`: `provider` and what its provider knows."""
    plugins: dict[str, dict[str, Any]] = {}
    """`[plugins.<name>]`: the plugin's own settings."""
    prices: dict[str, dict[str, Any]] = {}
    """`[prices."<provider>/<model>"]`: your own rates, USD per million tokens."""
    models: dict[str, str] = {}
    """`[models]`: model -> account, for input files that come to the proxy without naming an account."""
    proxy: dict[str, Any] = {}
    """`[proxy]`: freshness, limits and time-outs of `batchmeter serve`."""
    reports: Reports = Reports()
    """`[reports]`: how costs are summed."""
    spool: Spool = Spool()
    """`[spool]`: where input files lie whose vendor keeps none."""
    source: str | None = None
    """The file that was read; set by `load_settings`."""

    @property
    def spool_folder(self) -> str | None:
        """None for a user without a home who says nothing else."""
        if self.spool.path:
            return self.spool.path
        if self.ledger and "://" not in self.ledger and self.ledger != ":memory:":
            return str(Path(self.ledger).parent / "spool")
        folder = user_folder("data")
        return None if folder is None else str(folder / "spool")

    def __repr__(self) -> str:
        """Sections by name only, the ledger without its password: nothing that may be secret."""
        sections = {name: sorted(getattr(self, name)) for name in ("accounts", "plugins", "prices")}
        return f"Settings(ledger={redact_url(self.ledger)!r}, track={self.track}, {sections}, source={self.source!r})"

    __str__ = __repr__


def default_ledger() -> str:
    """`ledger.db` in the user's data folder; empty where there is no home."""
    folder = user_folder("data")
    return "" if folder is None else str(folder / "ledger.db")


def user_folder(kind: Literal["data", "config"]) -> Path | None:
    """This user's folder of ours; None for a user without a home, such as a container's arbitrary uid."""
    import platformdirs  # noqa: PLC0415 - only where nothing was configured

    try:
        found = platformdirs.user_data_dir if kind == "data" else platformdirs.user_config_dir
        return Path(found("batchmeter"))
    except RuntimeError:
        return None


def validated(model: type[Model], values: Mapping[str, Any], where: str, also: Collection[str] = ()) -> Model:
    """`model(**values)`, with pydantic's errors turned into one ConfigError that helps; `also` are other known names."""
    try:
        return model(**values)
    except ValidationError as error:
        raise ConfigError(explained(error, f"{where}: ", {*model.model_fields, *also})) from None


def explained(error: ValidationError, where: str = "", known: Collection[str] = ()) -> str:
    """Pydantic's error in one line, without the values that it refused: one may be a secret."""
    lines: list[str] = []
    for detail in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            lines.append(f"{where}unknown key {path!r}{nearest(str(detail['loc'][-1]), known)}")
        else:
            lines.append(f"{where}{path and f'{path}: '}{detail['msg']}")
    return "; ".join(lines)


def nearest(name: str, known: Collection[str]) -> str:
    """` (did you mean 'x'?)`, or the known ones, or nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


def filled(
    model: type[BaseModel], section: Mapping[str, Any], where: str, *, must_exist: bool = True
) -> dict[str, Any]:
    """The section with its secrets in place. ConfigError for a variable or a file that is missing or empty.

    Where it need not exist yet, the setting is left out instead.
    """
    values: dict[str, Any] = {}
    for name, value in section.items():
        field, source = _source(model, name)
        if field in values or (source and field in section):
            raise ConfigError(f"{where}: {field} is given twice: by {name} too")
        try:
            found = expanded(value) if source is None else _SOURCES[source](str(expanded(value)))
        except _MissingError as missing:
            if must_exist:
                raise ConfigError(f"{where}: {name}: {missing}") from None
            continue
        several = source and getattr(model.model_fields[field].annotation, "__origin__", None) is tuple
        values[field] = (found,) if several else found
    return values


class _MissingError(Exception):
    """A variable or file that a setting names is not there."""


def _source(model: type[BaseModel], name: str) -> tuple[str, str | None]:
    """The field that this key sets, and out of what."""
    fields = model.model_fields
    for source in _SOURCES:
        field = name.removesuffix(source)
        if field != name and name not in fields and field in fields and _is_secret(fields[field].annotation):
            return field, source
    return name, None


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def _from_variable(name: str) -> str:
    if not (value := os.environ.get(name, "").strip()):
        raise _MissingError(f"the variable {name} is not set")
    return value


def _from_file(path: str) -> str:
    try:
        text = Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as error:  # RuntimeError: `~` without a home
        raise _MissingError(f"{path} cannot be read: {error}") from None
    if not text:
        raise _MissingError(f"{path} is empty")
    return text


_SOURCES = {"_env": _from_variable, "_file": _from_file}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expanded(value: Any) -> Any:
    """`${VAR}` in a text, at any depth."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _from_variable(found[1]), value)
    if isinstance(value, Mapping):
        return {key: expanded(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [expanded(item) for item in cast("list[Any]", value)]
    return value
