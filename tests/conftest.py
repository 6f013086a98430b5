"""Every test starts without the machine's settings: no plugins from entry points, no keys, a ledger of its own."""

import os
from pathlib import Path

import pytest

VENDORS = ("BATCHMETER_", "OPENAI_", "AZURE_", "GOOGLE_", "VERTEXAI_", "GCS_", "LANGFUSE_", "OTEL_", "DD_")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(VENDORS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BATCHMETER_PLUGINS", "")
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
