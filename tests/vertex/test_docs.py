"""The page on Vertex AI names every setting and every parameter that is left out."""

from pathlib import Path

from batchmeter.providers import AccountSettings
from batchmeter_translate.gemini_request import DROPPED
from batchmeter_vertex.settings import VertexSettings

PAGE = (Path(__file__).parent.parent.parent / "docs" / "providers" / "vertex.md").read_text()


def test_every_setting_is_on_the_page():
    own = VertexSettings.model_fields.keys() - AccountSettings.model_fields.keys()
    assert [name for name in sorted(own) if f"`{name}`" not in PAGE] == []


def test_every_dropped_parameter_is_on_the_page():
    assert [name for name in DROPPED if f"`{name}`" not in PAGE] == []
