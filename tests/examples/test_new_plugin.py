"""`batchmeter new-plugin`: what it writes installs, is found, passes its own tests; what it must not write it refuses."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from batchmeter.cli import main


def new_plugin(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["new-plugin", *arguments])


def test_a_new_plugin_installs_is_found_and_passes_its_own_tests(site, tmp_path):
    project = tmp_path / "made"
    result = new_plugin("batchmeter-team-costs", "--folder", str(project), "--json")
    assert json.loads(result.stdout) == {
        "name": "team_costs",
        "folder": str(project),
        "files": ["pyproject.toml", "batchmeter_team_costs.py", "tests/test_team_costs.py", "README.md"],
    }
    site.install(project)
    found = site.plugin("team_costs")
    assert (found["state"], found["version"], found["distribution"]) == ("on", "0.1.0", "batchmeter-team-costs")
    assert found["hooks"] == ["acreate_batch", "batch_failure", "batch_success"]
    said = site.own_tests(project)
    assert re.search(r"\b[78] passed", said), said
    assert sorted(path.name for path in project.iterdir()) == [
        "README.md",
        "batchmeter_team_costs.py",
        "pyproject.toml",
        "tests",
    ], "installing and testing leave nothing behind"


def test_nothing_is_left_to_fill_in(tmp_path):
    new_plugin("slack2", "--folder", str(tmp_path / "made"))
    texts = [path.read_text() for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert len(texts) == 4
    assert not [text for text in texts if "{{" in text or "}}" in text]


def test_the_folder_is_named_after_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = new_plugin("slack2")
    assert "cd batchmeter-slack2 && pip install" in result.stdout
    assert (tmp_path / "batchmeter-slack2" / "batchmeter_slack2.py").exists()


@pytest.mark.parametrize(
    "name", ["Slack", "2fast", "-x", "a b", "a.b", "a--b", "../escape", "", "batchmeter-", "é", "x" * 41, "slack\n"]
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = new_plugin("--", name)
    assert result.exit_code == 2
    assert "cannot be a plugin's name" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_plugin_is_refused(tmp_path):
    result = new_plugin("otel", "--folder", str(tmp_path / "made"))
    assert (result.exit_code, result.stderr) == (
        2,
        "error: there is a plugin 'otel' already, from batchmeter; choose another name\n",
    )


def test_nothing_is_overwritten(tmp_path):
    mine = tmp_path / "README.md"
    mine.write_text("mine")
    result = new_plugin("slack2", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "is not empty" in result.stderr
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(mine, "mine")]
    assert "is a file" in new_plugin("slack2", "--folder", str(mine)).stderr


def test_an_empty_folder_will_do(tmp_path: Path):
    assert new_plugin("slack2", "--folder", str(tmp_path)).exit_code == 0
    assert (tmp_path / "pyproject.toml").exists()
