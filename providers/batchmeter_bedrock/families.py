"""Families of models and the bodies they take: which job a model's requests go in, and how a request is said to it.

Read 2026-11-30 in AWS's pages on batch inference and model parameters. A model that no row names is asked by Converse, which
every chat model takes; a job has one type, so a family has one too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from batchmeter_translate.claude_messages import ClaudeTarget
from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.converse_request import ConverseTarget, converse_request
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.shape import Json, present, sequence
from batchmeter_translate.untranslatable import Notes, UntranslatableError

CLAUDE = ClaudeTarget(version="bedrock-2023-05-31")
Invocation = Literal["InvokeModel", "Converse"]
Write = Callable[[Json, str, Notes], Json]
"""An OpenAI body, the model's id -> `modelInput`; UntranslatableError."""
_COHERE_TEXTS = 96


@dataclass(frozen=True, slots=True)
class Family:
    """Models whose requests read alike."""

    name: str
    models: re.Pattern[str]
    """Matches the foundation model's id from its beginning."""
    write: Write
    invocation: Invocation = "InvokeModel"
    endpoint: str = CHAT
    one_text: bool = False
    """An embeddings request of several inputs is several records."""


def _claude(body: Json, model: str, notes: Notes) -> Json:
    return claude_request(body, notes, CLAUDE, model)


def _nova(body: Json, model: str, notes: Notes) -> Json:
    del model
    return converse_request(body, notes, ConverseTarget(nova=True))


def _converse(body: Json, model: str, notes: Notes) -> Json:
    del model
    return converse_request(body, notes, ConverseTarget())


def _openai(body: Json, model: str, notes: Notes) -> Json:
    """The body as it is: the job names the model."""
    del model, notes
    if body.get("stream"):
        raise UntranslatableError("stream", "a batch does not stream; leave it out")
    return {name: value for name, value in body.items() if name != "model"}


def _titan(body: Json, model: str, notes: Notes) -> Json:
    _only(body, {"model", "input", "dimensions", "encoding_format", "normalize", "user"}, notes)
    resized = "embed-text-v2" in model
    if not resized and body.get("dimensions") is not None:
        raise UntranslatableError("dimensions", f"{model} has one size of vectors; leave it out")
    return present(
        inputText=texts_of(body)[0],
        dimensions=body.get("dimensions"),
        normalize=body.get("normalize") if resized else None,
    )


def _titan_image(body: Json, model: str, notes: Notes) -> Json:
    del model
    _only(body, {"model", "input", "dimensions", "encoding_format", "user"}, notes)
    size = body.get("dimensions")
    return present(inputText=texts_of(body)[0], embeddingConfig={"outputEmbeddingLength": size} if size else None)


def _cohere(body: Json, model: str, notes: Notes) -> Json:
    _only(body, {"model", "input", "dimensions", "encoding_format", "input_type", "truncate", "user"}, notes)
    texts = texts_of(body)
    if len(texts) > _COHERE_TEXTS:
        raise UntranslatableError("input", f"{len(texts)} texts; {model} takes {_COHERE_TEXTS} a request: split it")
    if "embed-v4" not in model and body.get("dimensions") is not None:
        raise UntranslatableError("dimensions", f"{model} has one size of vectors; leave it out")
    return present(
        texts=texts,
        input_type=body.get("input_type") or "search_document",
        truncate=body.get("truncate"),
        output_dimension=body.get("dimensions"),
    )


def _only(body: Json, known: set[str], notes: Notes) -> None:
    for name in body.keys() - known:
        if body[name] is not None:
            raise UntranslatableError(name, f"`{name}` has no counterpart for embeddings; leave it out")
    if body.get("user"):
        notes.drop("user", "Bedrock has no end-user id")


def texts_of(body: Json) -> list[str]:
    value: Any = body.get("input")
    texts = [value] if isinstance(value, str) else sequence(value)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise UntranslatableError(
            "input", "`input` has to be text or a list of texts; Bedrock takes no token numbers", "invalid_value"
        )
    return texts


FAMILIES = (
    Family("claude", re.compile(r"anthropic\.claude"), _claude),
    Family("titan-image", re.compile(r"amazon\.titan-embed-image"), _titan_image, endpoint=EMBEDDINGS, one_text=True),
    Family("titan", re.compile(r"amazon\.titan-embed"), _titan, endpoint=EMBEDDINGS, one_text=True),
    Family("cohere", re.compile(r"cohere\.embed"), _cohere, endpoint=EMBEDDINGS),
    Family("nova", re.compile(r"amazon\.nova-(?!.*(?:embed|canvas|reel|sonic))"), _nova),
    Family(
        "openai",
        re.compile(r"(?:openai\.|qwen\.|deepseek\.v|moonshot|zai\.|minimax|google\.gemma|nvidia\.)"),
        _openai,
    ),
    Family("converse", re.compile(r"(?!.*(?:embed|canvas|reel|sonic|stability|image|rerank))"), _converse, "Converse"),
)
"""First match wins."""


def family_of(foundation_model: str) -> Family | None:
    """None: its requests have no counterpart in OpenAI's words."""
    return next((family for family in FAMILIES if family.models.match(foundation_model)), None)
