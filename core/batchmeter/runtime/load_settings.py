"""Reads the settings: code beats environment beats `batchmeter.toml`."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from batchmeter.config import Settings, default_ledger, filled, user_folder, validated
from batchmeter.errors import ConfigError

FILE_NAME = "batchmeter.toml"
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
