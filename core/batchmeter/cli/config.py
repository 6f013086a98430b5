"""`batchmeter config`: the settings as they come out, where each comes from, and whether they can be used."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, cast

import click

from batchmeter.commands.inert import inert
from batchmeter.commands.output import as_json, console, print_json, table
from batchmeter.commands.session import settings
from batchmeter.web import redact_url

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from batchmeter.accounts import Accounts
    from batchmeter.config import Settings

HIDDEN = "********"
_SECTIONS = {"accounts", "plugins", "prices", "models", "proxy", "reports", "spool", "source"}


@click.group()
def config() -> None:
    """Check the settings, or show what they are and where each comes from."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting."""

    setting: str
    value: str
    source: str


@config.command()
@click.option("--all", "everything", is_flag=True, help="Defaults of accounts and plugins, too.")
@as_json
def show(everything: bool, json_output: bool) -> None:
    """The effective settings with the file, variable or option that each comes from; secrets are hidden."""
    import dataclasses

    loaded = settings()
    found = [*_top(loaded), *_accounts(loaded, everything), *_plugins(loaded, everything), *_rest(loaded)]
    if json_output:
        print_json([dataclasses.asdict(one) for one in found])
        return
    table(None, ("setting", "value", "from"), [(one.setting, one.value, one.source) for one in found])


@config.command()
@as_json
def check(json_output: bool) -> None:
    """Whether the settings can be used: names, values, secrets that are in place. Nobody is asked; exit code 2 if not."""
    loaded = settings()
    problems = problems_of(loaded)
    source = loaded.source or "the environment (there is no settings file)"
    if json_output:
        print_json({"source": loaded.source, "problems": problems})
    elif not problems:
        console().print(f"{source}: nothing is wrong")
    for problem in problems:
        click.echo(f"error: {inert(problem)}", err=True)
    click.get_current_context().exit(2 if problems else 0)


def problems_of(loaded: "Settings") -> list[str]:
    """Every one, where a command would stop at its first."""
    from batchmeter.errors import BatchmeterError, UsageError
    from batchmeter.pricebook.book import PriceBook

    problems: list[str] = []
    accounts = _made(loaded)
    for name in sorted({*loaded.accounts, loaded.default_account, *loaded.models.values()}):
        try:
            accounts.settings(name, keys_exist=True)
        except UsageError as error:
            problems.append(str(error))
    try:
        PriceBook.load(loaded.prices)
    except BatchmeterError as error:
        problems.append(str(error))
    failed = [info for info in accounts.plugins.info() if info.state == "failed"]
    problems += [f"plugin {info.name}: {info.reason}" for info in failed]
    problems += _in_sections(loaded, {info.name for info in failed})
    return problems


def _in_sections(loaded: "Settings", broken: Collection[str]) -> Iterator[str]:
    """Faults in sections beside `[plugins]`, by the models that packages declare: `sections = ("name=module:Model",)`."""
    from batchmeter.config import validated
    from batchmeter.discovery import declared, installed_plugins
    from batchmeter.errors import ConfigError

    for plugin in installed_plugins():
        if plugin.name in broken or plugin.name in loaded.disable:
            continue
        for text in declared(plugin.module(), "sections"):
            name, _, place = text.partition("=")
            try:
                validated(resolve_name(place), getattr(loaded, name), f"{loaded.source or 'settings'}: [{name}]")
            except ConfigError as error:
                yield str(error)


def _made(loaded: "Settings") -> "Accounts":
    from batchmeter.accounts import Accounts
    from batchmeter.plugins import Plugins

    return Accounts(loaded, Plugins.load(loaded))


def _top(loaded: "Settings") -> Iterator[Shown]:
    from batchmeter.config import Settings
    from batchmeter.runtime.load_settings import ENVIRONMENT

    options = cast("Mapping[str, str | None]", click.get_current_context().find_root().obj or {})
    variables = {field: name for name, field in ENVIRONMENT.items() if os.environ.get(name) is not None}
    named = _in_file(loaded)
    for field in Settings.model_fields:
        if field in _SECTIONS:
            continue
        value = getattr(loaded, field)
        if field == "ledger" and options.get("ledger"):
            source = "--ledger"
        elif field in variables and (os.environ[variables[field]] or field in ("load", "disable")):
            source = variables[field]
        else:
            source = loaded.source or "" if field in named else "default"
        yield Shown(field, redact_url(str(value)) if "://" in str(value) else _plain(value), source)


def _in_file(loaded: "Settings") -> Mapping[str, Any]:
    import tomllib
    from pathlib import Path

    return {} if loaded.source is None else tomllib.loads(Path(loaded.source).read_text("utf-8"))


def _accounts(loaded: "Settings", everything: bool) -> Iterator[Shown]:
    from batchmeter.errors import UsageError

    accounts = _made(loaded)
    for name in sorted({*loaded.accounts, loaded.default_account}):
        section = loaded.accounts.get(name, {})
        try:
            found = accounts.settings(name)
        except UsageError as error:
            yield Shown(f"accounts.{name}", "cannot be used", str(error))
        else:
            yield from _fields(f"accounts.{name}", found, section, loaded.source or "", everything)


def _plugins(loaded: "Settings", everything: bool) -> Iterator[Shown]:
    """Of a plugin that keeps no model of its settings, the names only: nobody can tell which of them are secret."""
    from batchmeter.config import filled, validated
    from batchmeter.plugins import Plugins

    plugins = Plugins.load(loaded)
    for name in sorted({*loaded.plugins, *plugins.loggers}):
        section = {key: value for key, value in loaded.plugins.get(name, {}).items() if key != "enabled"}
        model = getattr(type(plugins.get(name)), "Settings", None)
        source = loaded.source or ""
        if model is None:
            for key in section:
                yield Shown(f"plugins.{name}.{key}", HIDDEN, source)
            continue
        where = f"{source}: [plugins.{name}]"
        found = validated(model, filled(model, section, where, must_exist=False), where)
        yield from _fields(f"plugins.{name}", found, section, source, everything)


def _fields(
    prefix: str, found: "BaseModel", section: Mapping[str, Any], source: str, everything: bool
) -> Iterator[Shown]:
    for name, field in type(found).model_fields.items():
        value = getattr(found, name)
        given = next((key for key in (name, f"{name}_env", f"{name}_file") if key in section), None)
        if given is None and (value is None or value in ("", (), {})):
            continue
        read = [] if given else _variables_of(field)
        if given:
            by = "BATCHMETER_FILE_PATH" if _by_file_path(prefix, given, section) else source
            shown = by if given == name else f"{by}: {given} = {section[given]}"
        elif read or everything:
            shown = ", ".join(read) or "default"
        else:
            continue
        raw = section.get(name)
        kept = isinstance(raw, str) and "${" in raw and not _is_secret(value)
        yield Shown(f"{prefix}.{name}", str(raw) if kept else _safe(prefix, value), shown)


def _by_file_path(prefix: str, given: str, section: Mapping[str, Any]) -> bool:
    return prefix == "plugins.file" and given == "path" and section["path"] == os.environ.get("BATCHMETER_FILE_PATH")


def _safe(prefix: str, value: object) -> str:
    """Secrets and headers hidden; of a plugin's address the host only, as some services put the secret into the path."""
    if _is_secret(value):
        return HIDDEN
    if isinstance(value, Mapping):
        names = sorted(cast("Mapping[str, object]", value))
        return ", ".join(f"{one}: {HIDDEN}" for one in names)
    text = _plain(value)
    if "://" not in text:
        return text
    if prefix.startswith("plugins."):
        scheme, _, rest = redact_url(text).partition("://")
        host, slash, _ = rest.partition("/")
        return f"{scheme}://{host}{'/…' if slash else ''}"
    return redact_url(text)


def _is_secret(value: object) -> bool:
    from pydantic import SecretStr

    if isinstance(value, tuple | list | frozenset):
        return any(_is_secret(one) for one in cast("tuple[object, ...]", value))
    return isinstance(value, SecretStr)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(str(one) for one in cast("tuple[object, ...]", value))
    return "" if value is None else str(value)


class _Watched(dict[str, str]):
    """The environment, with a note of what is read and is there."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.read: list[str] = []

    def get(self, name: str, default: Any = None, /) -> Any:
        found = super().get(name, default)
        if super().get(name):
            self.read.append(name)
        return found

    def __getitem__(self, name: str) -> str:
        found = super().__getitem__(name)
        self.read.append(name)
        return found


def _variables_of(field: "FieldInfo") -> list[str]:
    """Variables out of which the default comes now: fields say this by a function, not by a name."""
    before, watched = os.environ, _Watched(os.environ)
    os.environ = watched  # type: ignore[assignment]  # noqa: B003 - for one call, in a command's only thread
    try:
        field.get_default(call_default_factory=True)
    finally:
        os.environ = before  # noqa: B003 - the real one again
    return list(dict.fromkeys(watched.read))


def _rest(loaded: "Settings") -> Iterator[Shown]:
    source = loaded.source or ""
    for name in ("models", "proxy"):
        for key, value in sorted(getattr(loaded, name).items()):
            yield Shown(f"{name}.{key}", _plain(value), source)
    for place, row in sorted(loaded.prices.items()):
        yield Shown(f'prices."{place}"', ", ".join(f"{key} {value}" for key, value in row.items()), source)
    if loaded.reports.metadata_keys:
        yield Shown("reports.metadata_keys", _plain(loaded.reports.metadata_keys), source)
    if loaded.spool.path:
        variable = os.environ.get("BATCHMETER_SPOOL") == loaded.spool.path
        yield Shown("spool.path", loaded.spool.path, "BATCHMETER_SPOOL" if variable else source)
