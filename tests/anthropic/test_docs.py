"""The page on Anthropic names every setting, every parameter that is left out, and every provider is in the table."""

from pathlib import Path

from batchmeter.providers import AccountSettings
from batchmeter_anthropic.settings import AnthropicSettings
from batchmeter_translate.claude_request import IGNORED

PAGES = Path(__file__).parents[2] / "docs" / "providers"
PAGE = (PAGES / "anthropic.md").read_text()


def test_every_setting_is_on_the_page():
    own = AnthropicSettings.model_fields.keys() - AccountSettings.model_fields.keys()
    assert [name for name in sorted(own) if f"`{name}`" not in PAGE] == []


def test_every_dropped_parameter_is_on_the_page():
    converted = {"parallel_tool_calls", "user"}
    assert [name for name in IGNORED.keys() - converted if f"`{name}`" not in PAGE] == []


def test_every_provider_is_in_the_table():
    table = (PAGES / "index.md").read_text()
    pages = {page.name for page in PAGES.glob("*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"({name})" not in table] == []
