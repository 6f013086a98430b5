"""The page on Gemini names every setting."""

from pathlib import Path

from batchmeter.providers import AccountSettings
from batchmeter_gemini.settings import GeminiSettings

PAGE = (Path(__file__).parents[2] / "docs" / "providers" / "gemini.md").read_text()


def test_every_setting_is_on_the_page():
    own = GeminiSettings.model_fields.keys() - AccountSettings.model_fields.keys()
    assert [name for name in sorted(own) if f"`{name}`" not in PAGE] == []
