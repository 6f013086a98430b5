"""An OpenAI embeddings request -> embedding rows: one vector per row, so a list of inputs becomes several.

The row's key tells how to put them together again: `<custom_id>#<index>/<count>`, with `/b64` for base64 answers.
"""

from typing import Any

from . import ids
from .shape import Json, present, sequence
from .untranslatable import Notes, UntranslatableError

_DROPPED = {"user": "Gemini has no end-user id", "metadata": "Gemini keeps no metadata"}
_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "task_type", "title"})
_WITHOUT_KEYS = ("text-embedding", "text-multilingual-embedding", "textembedding-gecko", "multimodalembedding")


def embedding_rows(custom_id: str, body: Json, model: str, notes: Notes) -> list[Json]:
    if model.startswith(_WITHOUT_KEYS):
        raise UntranslatableError(
            "model", f"rows of {model} carry no id, so answers could not be told apart; use gemini-embedding-001"
        )
    for name in body:
        if name not in _KNOWN and body[name] is not None:
            _drop(name, notes)
    texts = _texts(body.get("input"))
    base64 = "/b64" if body.get("encoding_format") == "base64" else ""
    return [
        {
            "key": f"{ids.encode(custom_id)}#{index}/{len(texts)}{base64}",
            "request": present(
                content={"parts": [{"text": text}]},
                output_dimensionality=body.get("dimensions"),
                task_type=body.get("task_type"),
                title=body.get("title"),
            ),
        }
        for index, text in enumerate(texts)
    ]


def _drop(name: str, notes: Notes) -> None:
    if name not in _DROPPED:
        raise UntranslatableError(name, f"`{name}` has no counterpart for Gemini embeddings; leave it out")
    notes.drop(name, _DROPPED[name])


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else sequence(value)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise UntranslatableError(
            "input", "`input` has to be text or a list of texts; Gemini takes no token numbers", "invalid_value"
        )
    return texts
