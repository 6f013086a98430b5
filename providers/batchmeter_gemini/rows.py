"""OpenAI lines -> Gemini rows, by the model of the first line; no importer stands between, so schemas go in whole."""

from collections.abc import Iterable
from typing import Any

from batchmeter.inputs import InputLimits
from batchmeter_translate.embedding_request import embedding_rows
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.gemini_request import gemini_request
from batchmeter_translate.lines_in import LineTranslation
from batchmeter_translate.shape import Json
from batchmeter_translate.untranslatable import UntranslatableError

MOST_BYTES = 2_000_000_000
LIMITS = InputLimits(
    bytes=MOST_BYTES, lines=1_000_000, embedding_inputs=1_000_000, endpoints=frozenset({CHAT, EMBEDDINGS})
)
"""Limits of one job, which has one model; Google says nothing of a number of lines."""


class RowWriter(LineTranslation):
    """One file's rows."""

    def __init__(self, source: str, safety: list[dict[str, str]]) -> None:
        super().__init__(source, LIMITS)
        self._safety = safety
        self.model = ""
        self.endpoint = ""

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        if not self.model:
            self._choose(url, body.get("model"))
        if not self.model:
            return []
        if self.endpoint == EMBEDDINGS:
            return embedding_rows(custom_id, body, self.model, self.notes)
        return [{"key": custom_id, "request": gemini_request(body, self.model, self.notes, self._safety)}]

    def _choose(self, url: str, model: Any) -> None:
        """The first line decides for the file."""
        if url not in (CHAT, EMBEDDINGS) or not isinstance(model, str) or not model:
            return
        name = model_name(model)
        if ("embedding" in name) != (url == EMBEDDINGS):
            kind = "an embedding model" if "embedding" in name else "no embedding model"
            raise UntranslatableError("model", f"{model!r} is {kind}, and the lines are for {url}", "model_not_found")
        self.model, self.endpoint = name, url


def model_name(model: str) -> str:
    """`gemini-3.8-flash`, `models/gemini-3.8-flash`, `gemini/gemini-3.8-flash` -> the bare name."""
    return model.removeprefix("gemini/").removeprefix("models/")
