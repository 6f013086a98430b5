"""OpenAI lines -> Vertex AI rows, by the model of the first line and the rules of the importer."""

from collections.abc import Iterable
from typing import Any

from batchmeter.errors import UsageError
from batchmeter.inputs import InputLimits
from batchmeter_translate import ids
from batchmeter_translate.claude_messages import ClaudeTarget
from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.embedding_request import embedding_rows
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.gemini_request import gemini_request
from batchmeter_translate.lines_in import LineTranslation
from batchmeter_translate.shape import Json
from batchmeter_translate.untranslatable import UntranslatableError

from .importer import Importer
from .names import model_name, model_resource, publisher

LIMITS = InputLimits(
    bytes=1_000_000_000,
    lines=200_000,
    embedding_inputs=200_000,
    endpoints=frozenset({CHAT, EMBEDDINGS}),
)
"""Limits of one Vertex AI job."""
CLAUDE = ClaudeTarget(version="vertex-2023-10-16", importer=True)


class RowWriter(LineTranslation):
    """One file's translation."""

    def __init__(self, source: str, safety: list[dict[str, str]]) -> None:
        super().__init__(source, LIMITS)
        self._safety = safety
        self._importer = Importer()
        self.resource = ""
        """The model as the job will name it, once a line told."""
        self.endpoint = ""

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        return [self._importer.admit(row, self.number) for row in self._rows(url, custom_id, body)]

    def _rows(self, url: str, custom_id: str, body: Json) -> list[Json]:
        if not self.resource:
            self._choose(url, body.get("model"))
        if not self.resource:
            return []
        model = model_name(self.resource)
        if self.endpoint == EMBEDDINGS:
            return embedding_rows(custom_id, body, model, self.notes)
        name = ids.encode(custom_id)
        if publisher(self.resource) == "anthropic":
            return [{"custom_id": name, "request": claude_request(body, self.notes, CLAUDE, model)}]
        request = gemini_request(body, model, self.notes, self._safety, importer=True)
        return [{"custom_id": name, "request": {**request, "labels": ids.to_labels(custom_id)}}]

    def _choose(self, url: str, model: Any) -> None:
        """The first line decides for the file: a job has one model."""
        if url not in (CHAT, EMBEDDINGS) or not isinstance(model, str) or not model:
            return
        try:
            resource = model_resource(model)
        except UsageError as error:
            raise UntranslatableError("model", str(error), "model_not_found") from error
        if publisher(resource) not in ("google", "anthropic"):
            raise UntranslatableError(
                "model", f'no translation for {model!r}; send its own rows, with format = "native"', "model_not_found"
            )
        embeds = "embedding" in model_name(resource)
        if embeds != (url == EMBEDDINGS) and not resource.startswith("projects/"):
            kind = "an embedding model" if embeds else "no embedding model"
            raise UntranslatableError("model", f"{model!r} is {kind}, and the lines are for {url}", "model_not_found")
        self.resource, self.endpoint = resource, url
