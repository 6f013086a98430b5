"""examples/batchmeter-echo-provider: a third party's provider, installed from its folder, passing the contract."""

import re
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent / "examples" / "batchmeter-echo-provider"
USE = """
import batchmeter
results = batchmeter.run(["hello there"], model="echo-1", provider="echo")
print(results.texts, results.cost.total)
batchmeter.close()
"""


def test_it_installs_is_found_and_passes_its_own_tests(site):
    site.install(PROJECT)
    found = site.plugin("echo")
    assert (found["state"], found["version"], found["distribution"]) == ("on", "0.1.0", "batchmeter-echo-provider")
    assert found["hooks"] == ["register_providers"]
    said = site.own_tests(PROJECT)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 15, said
    # Its README's configuration and call, word for word.
    readme = (PROJECT / "README.md").read_text()
    (site.working / "batchmeter.toml").write_text(re.search(r"```toml\n(.*?)```", readme, re.DOTALL)[1])
    done = site.python("-c", USE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['hello there'] 0.000006"
