"""`batchmeter new-plugin --provider`: the example is what it writes; it installs, is found, passes its own tests."""

import json
import re
from pathlib import Path

from click.testing import CliRunner

from batchmeter.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "batchmeter-acme"


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def written(name: str, folder: Path) -> dict[str, str]:
    result = CliRunner().invoke(main, ["new-plugin", "--provider", name, "--folder", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    found = files_of(folder)
    assert json.loads(result.stdout)["files"] == list(dict.fromkeys(json.loads(result.stdout)["files"]))
    assert set(json.loads(result.stdout)["files"]) == set(found)
    return found


def test_the_example_is_what_the_command_writes(tmp_path):
    ours = {path: text for path, text in files_of(EXAMPLE).items() if "__pycache__" not in path}
    assert written("acme", tmp_path / "made") == ours


def test_a_new_provider_installs_is_found_and_passes_its_own_tests(site, tmp_path):
    project = tmp_path / "made"
    texts = written("big-llm", project)
    assert not [path for path, text in texts.items() if "{{" in text or "acme" in text.lower()]
    site.install(project)
    found = site.plugin("big_llm")
    assert (found["state"], found["distribution"]) == ("on", "batchmeter-big-llm")
    assert found["hooks"] == ["register_providers"]
    said = site.own_tests(project)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 18, said


def test_the_tutorial_shows_every_line_of_the_provider():
    page = (EXAMPLE.parents[1] / "docs" / "providers" / "write-your-own.md").read_text()
    parts = re.findall(r"<!-- part: \S+/provider.py -->\n```python\n(.*?)```", page, re.DOTALL)
    shown = [line.strip() for part in parts for line in part.splitlines() if line]
    source = (EXAMPLE / "batchmeter_acme" / "provider.py").read_text()
    assert shown == [line.strip() for line in source.splitlines() if line and not line.startswith("    # -- ")]
