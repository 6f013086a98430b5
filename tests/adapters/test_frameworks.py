"""The pages of the adapters, run with the frameworks themselves, in a process for each: they are no part of our environment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = next((ROOT / ".cache" / "adapters" / "lib").glob("python3.*/site-packages"), None)
HEAVY = bool(os.environ.get("BATCHMETER_HEAVY"))
RUN = """
import ast, asyncio, sys, warnings
sys.path.append(sys.argv[1])
sys.path.append(sys.argv[2])
code = compile(sys.stdin.read(), "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
found = eval(code, {"__name__": "__main__"})
if asyncio.iscoroutine(found):
    asyncio.run(found)
"""
PAGES = {
    "langchain": "2 titles\nAIMessage True\n['City', 'City']\n2 True\n",
    "pydantic-ai": "['City', 'City'] True\n",
    "llama-index": "2 True\nassistant\n",
    "instructor": "['City', 'City'] True\n",
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(120)
def test_a_page_does_what_it_says(page, tmp_path):
    if HOME is None or not HEAVY:
        pytest.skip("imports take seconds: run .ci/adapters.sh (390 MB) and set BATCHMETER_HEAVY=1")
    (tmp_path / "batchmeter.toml").write_text(
        'ledger = "l.db"\ndefault_account = "sandbox"\n[accounts.sandbox]\nspeed = 1e9\nfolder = "sandbox"\n'
    )
    text = (ROOT / "docs" / "adapters" / f"{page}.md").read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(HOME), str(ROOT / "plugins")]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=tmp_path, env=environ, check=False)
    assert (done.returncode, done.stdout) == (0, PAGES[page]), done.stderr[-3000:]
