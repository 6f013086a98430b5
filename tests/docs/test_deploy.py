"""Files of docs/deploy are real: they parse, their commands are ours, their settings are read, their paths answer.

`.ci/deploy.sh` does the rest: the image's steps, the chart by Helm's engine, the units and nginx's file by their programs.
"""

import os
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from batchmeter.accounts import Accounts
from batchmeter.cli import main
from batchmeter.plugins import Plugins
from batchmeter.runtime.load_settings import load_settings
from batchmeter_proxy.app import ROUTES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "deploy"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
TEXTS = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*") if path.is_file()}


def parsed(words):
    """As the command line does, without running the command; UsageError for a wrong word."""
    command, context, arguments = main, click.Context(main), list(words)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=name)
    return command.make_context(name, arguments, parent=context)


def commands():
    services = [one["command"] for one in COMPOSE["services"].values() if "command" in one]
    units = [
        shlex.split(line)[1:] for text in TEXTS.values() for line in re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    ]
    image = [yaml.safe_load(text) for text in re.findall(r"^CMD (\[.+\])$", TEXTS["Dockerfile"], re.MULTILINE)]
    chart = [
        yaml.safe_load(re.sub(r"\{\{.*?\}\}", '"1"', text))
        for name in ("serve", "track")
        for text in re.findall(r"args: (\[.+\])", TEXTS[f"chart/templates/{name}.yaml"])
    ]
    shown = [shlex.split(line) for line in re.findall(r"-- batchmeter (.+)", TEXTS["chart/templates/NOTES.txt"])]
    return [*services, *units, *image, *chart, *shown]


def test_every_command_is_one_of_ours():
    found = commands()
    assert len(found) == 9
    for words in found:
        parsed([str(word) for word in words])
    for wrong in (["serve", "--nonsense"], ["tracks"]):
        with pytest.raises(click.UsageError):
            parsed(wrong)


def test_compose_has_a_database_a_proxy_and_two_trackers():
    services = COMPOSE["services"]
    assert services["track"]["deploy"]["replicas"] == 2
    ours = [services[name] for name in ("serve", "track", "keys")]
    assert all(one["depends_on"] == {"postgres": {"condition": "service_healthy"}} for one in ours)
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in ours)
    assert COMPOSE["secrets"]["openai_api_key"]["file"] == "./openai_api_key"


def test_settings_are_read_and_their_keys_come_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "openai_api_key").write_text("sk-compose\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-chart")
    unit = 'accounts.openai.api_key_file = "${CREDENTIALS_DIRECTORY}/openai_api_key"'
    assert "${CREDENTIALS_DIRECTORY}/openai_api_key" in TEXTS["systemd/batchmeter-serve.service"]
    for text in (TEXTS["batchmeter.toml"], yaml.safe_load(TEXTS["chart/values.yaml"])["settings"], unit):
        path = tmp_path / "batchmeter.toml"
        path.write_text(text.replace("/run/secrets", str(tmp_path)))
        settings = load_settings(path, environ={})
        Accounts(settings, Plugins.load(settings, {})).check()
        assert not re.search(r"sk-\w{6}", text)


def test_probes_ask_for_paths_that_answer():
    asked = {path for text in TEXTS.values() for path in re.findall(r"(?::\d+|path: )(/health[a-z/]*)", text)}
    track = (Path(__file__).parents[2] / "core" / "batchmeter" / "cli" / "track_port.py").read_text()
    known = {route.path for route in ROUTES} | {path for path in asked if f'"{path}"' in track}
    assert asked - known == set()
    assert {"/health", "/health/liveliness", "/health/readiness"} == asked


def test_scripts_of_ci_may_be_run() -> None:
    scripts = sorted((ROOT / ".ci").glob("*.sh"))
    assert len(scripts) > 5
    assert [path.name for path in (*scripts, ROOT / ".ci" / "run") if not os.access(path, os.X_OK)] == []
