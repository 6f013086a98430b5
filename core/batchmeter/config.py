"""Settings: code beats environment beats `batchmeter.toml`. A key nobody knows is an error that names the nearest one.

Secrets come out of a variable (`api_key_env`, `${VAR}`) or a file (`api_key_file`), never out of the settings file itself.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from .errors import ConfigError
from .web import redact_url

FILE_NAME = "batchmeter.toml"

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


ENVIRONMENT = {
    "BATCHMETER_LEDGER": "ledger",
    "BATCHMETER_TRACK": "track",
    "BATCHMETER_DEFAULT_ACCOUNT": "default_account",
    "BATCHMETER_PLUGINS": "load",
    "BATCHMETER_DISABLE": "disable",
}
"""Variable -> setting. Lists are separated by commas. `BATCHMETER_FILE_PATH` is `[plugins.file] path`, `BATCHMETER_SPOOL`
is `[spool] path`."""

_LISTS = ("load", "disable")
_PATHS = {"BATCHMETER_SPOOL": ("spool", "path"), "BATCHMETER_FILE_PATH": ("plugins", "file", "path")}


def load_settings(
    path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Read the settings; keyword arguments win over the environment, that over the file.

    Raises ConfigError naming the file or variable, the key and the nearest known one.
    """
    env = os.environ if environ is None else environ
    found = _find(path, env)
    values: dict[str, Any] = _read(found) if found is not None else {}
    if "source" in values:
        raise ConfigError(f"{found}: unknown key 'source'")
    if "ledger" in values:
        values |= filled(Settings, {"ledger": values["ledger"]}, str(found))
    _apply_environment(values, env)
    values.update({key: value for key, value in overrides.items() if value is not None})
    settings = validated(Settings, values, str(found) if found is not None else "settings")
    ledger = settings.ledger or default_ledger()
    return settings.model_copy(update={"ledger": ledger, "source": None if found is None else str(found)})


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


def _find(path: str | os.PathLike[str] | None, env: Mapping[str, str]) -> Path | None:
    named = path or env.get("BATCHMETER_CONFIG")
    if named:
        chosen = Path(named)
        if not _is_file(chosen):
            raise ConfigError(f"no configuration file at {chosen} (named by BATCHMETER_CONFIG or --config)")
        return chosen
    here = Path(FILE_NAME)
    if _is_file(here):
        return here
    folder = user_folder("config")
    return folder / FILE_NAME if folder is not None and _is_file(folder / FILE_NAME) else None


def _is_file(path: Path) -> bool:
    """False also where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _apply_environment(values: dict[str, Any], env: Mapping[str, str]) -> None:
    for variable, key in ENVIRONMENT.items():
        text = env.get(variable)
        if text is not None and (text or key in _LISTS):
            given = [part.strip() for part in text.split(",") if part.strip()] if key in _LISTS else text
            values[key] = getattr(validated(Settings, {key: given}, variable), key)
    for variable, path in _PATHS.items():
        if env.get(variable):
            _set(values, path, env[variable])


def _set(section: dict[str, Any], path: Sequence[str], text: str) -> None:
    *outer, key = path
    for name in outer:
        inner: object = section.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # it is refused as such
        section = cast("dict[str, Any]", inner)
    section[key] = text


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


def is_openai(client: object) -> bool:
    """Whether it is a client of OpenAI's library, or of one like it."""
    return hasattr(client, "base_url") and hasattr(client, "api_key")


def settings_of_client(client: Any, members: Mapping[str, str]) -> dict[str, Any]:
    """Address and credentials of an OpenAI client; those it reads from a function are asked for by it alone.

    `members`: a provider's other settings -> the members of its client that hold them.
    """
    key = client.api_key if isinstance(client.api_key, str) and not client.api_key.startswith("<") else None
    given = {
        "api_base": str(client.base_url),
        "api_key": key or None,
        "organization": getattr(client, "organization", None),
        "project": getattr(client, "project", None),
        **{setting: getattr(client, member, None) for setting, member in members.items()},
    }
    return {name: value for name, value in given.items() if value}
