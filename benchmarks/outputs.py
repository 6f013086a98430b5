"""Realistic batch output files, the same bytes on every run."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

CHAT_LINES, CHAT_BYTES = 50_000, 4_150
EMBEDDING_LINES, DIMENSIONS = 7_000, 1536

_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
    "word",
    "but",
    "not",
    "what",
    "all",
    "were",
    "we",
    "when",
    "your",
    "can",
    "said",
    "there",
    "use",
    "an",
    "each",
    "which",
    "she",
    "do",
    "how",
    "their",
    "if",
    "will",
    "up",
    "other",
    "about",
    "out",
    "many",
    "then",
    "them",
    "these",
    "so",
    "some",
    "her",
    "would",
    "make",
    "like",
    "him",
    "into",
    "time",
    "has",
    "look",
    "two",
    "more",
    "write",
    "go",
    "see",
    "number",
    "no",
    "way",
    "could",
    "people",
    "my",
    "than",
]
_EXOTIC = ("naïve café", "東京の天気は晴れです", "🙂🚀", 'she said "usage": {"prompt_tokens": 9}', "C:\\temp\\", "a\tb")


def chat(lines: int) -> Iterator[bytes]:
    """About 4 KB a line: half of them ASCII with escapes, half raw UTF-8; 0.7 % errors; nested usage."""
    random_ = random.Random(20261122)
    for number in range(lines):
        yield json.dumps(_chat_line(number, random_), ensure_ascii=number % 2 == 0).encode() + b"\n"


def embeddings(lines: int) -> Iterator[bytes]:
    random_ = random.Random(20261123)
    for number in range(lines):
        vector = [round(random_.uniform(-0.1, 0.1), 8) for _ in range(DIMENSIONS)]
        tokens = random_.randrange(3, 500)
        body = {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        yield json.dumps(_wrapped(number, 200, body)).encode() + b"\n"


def written(folder: Path, name: str, make: Callable[[int], Iterator[bytes]], lines: int) -> Path:
    """The file, made once."""
    path = folder / f"{name}-{lines}.jsonl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        with draft.open("wb") as file:
            file.writelines(make(lines))
        draft.rename(path)
    return path


def _chat_line(number: int, random_: random.Random) -> dict[str, object]:
    if random_.random() < 0.007:
        error = {"message": "Invalid 'temperature'", "type": "invalid_request_error", "param": None, "code": None}
        return _wrapped(number, 400, {"error": error})
    prompt, answer = random_.randrange(200, 9_000), random_.randrange(300, 900)
    cached = prompt // 128 * 128 if random_.random() < 0.3 else 0
    body = {
        "id": f"chatcmpl-{number:08x}",
        "object": "chat.completion",
        "created": 1795370993 + number,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _text(random_), "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": answer // 3,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_1a2b3c4d5e",
    }
    return _wrapped(number, 200, body)


def _wrapped(number: int, status: int, body: dict[str, object]) -> dict[str, object]:
    response = {"status_code": status, "request_id": f"req_{number:032x}", "body": body}
    return {"id": f"batch_req_{number:024x}", "custom_id": f"request-{number}", "response": response, "error": None}


def _text(random_: random.Random) -> str:
    words: list[str] = []
    size = 0
    while size < CHAT_BYTES - 950:
        word = random_.choice(_EXOTIC) if random_.random() < 0.04 else random_.choice(_WORDS)
        words.append(word if random_.random() > 0.05 else word + ".\n")
        size += len(json.dumps(word)) - 1
    return " ".join(words)
