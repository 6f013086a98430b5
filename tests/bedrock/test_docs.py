"""The page on Bedrock names every setting, every status, and every parameter that is left out."""

from pathlib import Path

from batchmeter.providers import AccountSettings
from batchmeter_bedrock.settings import BedrockSettings
from batchmeter_bedrock.states import STATUS
from batchmeter_translate.converse_request import IGNORED

PAGE = (Path(__file__).parents[2] / "docs" / "providers" / "bedrock.md").read_text()


def test_settings_statuses_and_dropped_parameters_are_on_the_page():
    own = BedrockSettings.model_fields.keys() - AccountSettings.model_fields.keys()
    assert [name for name in sorted({*own, *IGNORED}) if f"`{name}`" not in PAGE and f"{name} =" not in PAGE] == []
    assert [name for name in STATUS if name != "Stopping" and name not in PAGE] == []
