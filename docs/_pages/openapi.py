"""The proxy's `openapi.json`: its operations as they are written there, its models' schemas as the code has them."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from batchmeter.access import CostReport
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Settlement
from batchmeter.models import Batch, FileDeleted, FileObject

FILE = Path(__file__).parents[2] / "plugins" / "batchmeter_proxy" / "openapi.json"
MODELS: tuple[type[BaseModel], ...] = (
    *(Batch, FileObject, FileDeleted, Settlement, CostReport),
    *(BatchCreated, BatchSucceeded, BatchFailed),
)


def page() -> str:
    """The whole file."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    _, ours = models_json_schema(
        [(model, "serialization") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= ours["$defs"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
