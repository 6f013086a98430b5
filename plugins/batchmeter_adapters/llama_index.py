"""LlamaIndex: completions and chats of an OpenAI LLM as one batch. `gather` takes any other of its async calls."""

from collections.abc import Iterable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.llms.openai import OpenAI

from .batched import Answers, api_key, gather, http_client, run

__all__ = ["achat_all", "acomplete_all", "chat_all", "complete_all", "llm"]


def llm(model: str, **settings: Any) -> OpenAI:
    """`llama_index.llms.openai.OpenAI`. Outside the functions here, and `gather`, it answers at once at the full price."""
    return OpenAI(model=model, async_http_client=http_client(), **{"api_key": api_key(), **settings})


async def acomplete_all(llm: OpenAI, prompts: Iterable[str], **options: Any) -> Answers[CompletionResponse]:
    """`llm.acomplete(prompt)` for each; `options` are those of `batchmeter.arun`."""
    return await gather([llm.acomplete(prompt) for prompt in prompts], **options)


async def achat_all(llm: OpenAI, chats: Iterable[Sequence[ChatMessage]], **options: Any) -> Answers[ChatResponse]:
    """`llm.achat(messages)` for each."""
    return await gather([llm.achat(messages) for messages in chats], **options)


def complete_all(llm: OpenAI, prompts: Iterable[str], **options: Any) -> Answers[CompletionResponse]:
    return run(acomplete_all(llm, prompts, **options))


def chat_all(llm: OpenAI, chats: Iterable[Sequence[ChatMessage]], **options: Any) -> Answers[ChatResponse]:
    return run(achat_all(llm, chats, **options))
