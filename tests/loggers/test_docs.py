"""docs/loggers.md names every setting of every logger."""

import re
from pathlib import Path

import pytest

from batchmeter_datadog import DatadogSettings
from batchmeter_file import FileSettings
from batchmeter_langfuse import LangfuseSettings
from batchmeter_otel import OTelSettings

PAGE = Path(__file__).parents[2] / "docs" / "loggers.md"


@pytest.mark.parametrize(
    ("name", "settings"),
    [("file", FileSettings), ("otel", OTelSettings), ("langfuse", LangfuseSettings), ("datadog", DatadogSettings)],
)
def test_the_page_has_each_setting_and_no_other(name, settings):
    section = PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {setting for row in rows for setting in re.findall(r"`(\w+)`", row)}
    assert documented == set(settings.model_fields)
