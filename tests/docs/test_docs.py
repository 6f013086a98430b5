"""The documentation holds: code runs, files are what is shown, references are complete."""

import importlib
import inspect
import re
from pathlib import Path

import pluggy
import pytest
from tests.cases import case

from batchmeter import hookspecs
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.models import Cost, LineCounts, Usage

DOCS = Path(__file__).parents[2] / "docs"


async def test_what_is_marked_does_what_it_says(runnable, workshop, blocks):
    await worked(workshop, blocks(runnable))


async def worked(workshop, page):
    for block in page:
        await workshop.work(block)


def test_what_is_shown_is_no_nonsense(shown):
    assert len(shown) > 150
    for block, parse in shown:
        with case(block.where):
            parse(block)


def hooks() -> list[str]:
    """As pluggy sees them, not as the generator does."""
    manager = pluggy.PluginManager("batchmeter")
    manager.add_hookspecs(hookspecs)
    return sorted(name for name in vars(manager.hook) if not name.startswith("_"))


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_and_argument_is_documented(hook):
    arguments = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    page = (DOCS / "hooks.md").read_text()
    assert f"## `{hook}({', '.join(arguments)})`" in page
    section = page.partition(f"## `{hook}(")[2].partition("\n## ")[0]
    assert [name for name in arguments if f"- `{name}`: " not in section] == []


def test_no_hook_is_documented_that_is_not_there():
    assert sorted(re.findall(r"^## `(\w+)\(", (DOCS / "hooks.md").read_text(), flags=re.MULTILINE)) == hooks()


@pytest.mark.parametrize("model", [BatchCreated, BatchSucceeded, BatchFailed, Cost, Usage, LineCounts])
def test_every_field_of_an_event_is_documented(model):
    page = (DOCS / "events.md").read_text()
    assert [name for name in model.model_fields if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", ["hooks", "events"])
def test_a_generated_page_is_fresh(name, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    page = importlib.import_module(f"_pages.{name}").page()
    assert (DOCS / f"{name}.md").read_text() == page, "run python docs/generate.py"


@pytest.mark.parametrize(
    "wrong",
    [
        "<!-- run -->\n```python\nprint(1)\n```\n<!-- prints -->\n```text\n2\n```\n",
        "<!-- prints -->\n```text\n2\n```\n",
        "<!-- run -->\n```python\nassert False\n```\n",
        "<!-- run -->\n```bash\nfalse | true\n```\n",
        "<!-- file: LICENSE -->\n```text\nAll rights reserved\n```\n",
        "<!-- part: LICENSE -->\n```text\nAll rights reserved\n```\n",
        "<!-- runs -->\n```python\nprint(1)\n```\n",
    ],
)
async def test_a_page_that_is_wrong_is_caught(wrong, workshop, blocks):
    with pytest.raises(AssertionError):
        await worked(workshop, blocks(DOCS / "wrong.md", wrong))


async def test_blocks_of_a_page_follow_one_another(workshop, blocks):
    page = (
        "<!-- save: word.txt -->\n```text\nbatch\n```\n"
        "<!-- run -->\n```bash\ncat word.txt; batchmeter version | head -1\n```\n"
        "<!-- prints -->\n```text\nbatch\nbatchmeter ...\n```\n"
        "<!-- run -->\n```python\nimport asyncio\nfrom pathlib import Path\nword = Path('word.txt').read_text()\nawait asyncio.sleep(0)\n```\n"
        "```python\nthis_is_only_shown()\n```\n"
        "<!-- run -->\n```python\nprint(word, end='')\n```\n"
        "<!-- prints -->\n```text\nbatch\n```\n"
    )
    await worked(workshop, blocks(DOCS / "right.md", page))


def test_the_comparison_holds_every_situation_of_its_script(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    compare = importlib.import_module("compare_litellm")
    found = dict.fromkeys(("litellm", "batchmeter"), dict.fromkeys(compare.TASKS, 1))
    table = (DOCS / "coming-from-litellm.md").read_text().partition(compare.BEGIN)[2].partition(compare.END)[0]
    assert [row[0] for row in compare.rows(found)] == re.findall(
        r"^\| (.+?) \| [^|]+ \| [^|]+ \|$", table, re.MULTILINE
    )[1:]
    assert f"LiteLLM {compare.VERSION}" in table
