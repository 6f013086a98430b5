"""Instructor: one response model over many requests. An answer that fails validation is asked again in the next batch."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import instructor
from pydantic import BaseModel

from openai import AsyncOpenAI

from .batched import Answers, api_key, gather, http_client, run

__all__ = ["acreate_all", "client", "create_all"]

Model = TypeVar("Model", bound=BaseModel)


def client(**settings: Any) -> instructor.AsyncInstructor:
    """`instructor.from_openai(…)`; `settings` are its own, such as `mode`."""
    return instructor.from_openai(AsyncOpenAI(api_key=api_key(), http_client=http_client()), **settings)


async def acreate_all(
    requests: Iterable[Any],
    response_model: type[Model],
    *,
    by: instructor.AsyncInstructor | None = None,
    create_options: Mapping[str, Any] | None = None,
    model: str,
    **options: Any,
) -> Answers[Model]:
    """`create(messages=…, response_model=…)` for each request: a text, or a list of messages.

    `by` is a client of yours that was made with `http_client()`. `create_options` go to each `create` (`max_retries`, `temperature`); `options` are those of `batchmeter.arun`.
    """
    chosen = by if by is not None else client()
    calls = [
        chosen.create(response_model=response_model, messages=_messages(each), model=model, **(create_options or {}))
        for each in requests
    ]
    return await gather(calls, **options)


def create_all(
    requests: Iterable[Any],
    response_model: type[Model],
    *,
    by: instructor.AsyncInstructor | None = None,
    create_options: Mapping[str, Any] | None = None,
    model: str,
    **options: Any,
) -> Answers[Model]:
    """As `acreate_all`, from code without a loop."""
    return run(acreate_all(requests, response_model, by=by, create_options=create_options, model=model, **options))


def _messages(request: Any) -> Any:
    return [{"role": "user", "content": request}] if isinstance(request, str) else request
