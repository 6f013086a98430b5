"""LangChain: a ChatOpenAI whose `batch` and `abatch` are provider batches, by itself and as a step of a chain."""

from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_openai import ChatOpenAI
from pydantic import Field

from .batched import api_key, gather, http_client, run

__all__ = ["BatchChatOpenAI"]


class BatchChatOpenAI(ChatOpenAI):
    """`invoke` and `stream` are ChatOpenAI's own, at once and at the full price.

    A chain's `batch` gives each step all inputs at once: `(prompt | model | parser).batch(inputs)` is one batch. So are
    `model.with_structured_output(…)` and `model.bind_tools(…)`.
    """

    batch_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Arguments of `batchmeter.arun`: `provider`, `metadata`, `attribution`, `timeout`, …"""

    def __init__(self, **settings: Any) -> None:
        if not {"api_key", "openai_api_key"} & settings.keys():
            settings["api_key"] = api_key()
        settings.setdefault("http_async_client", http_client())
        super().__init__(**settings)

    async def abatch(  # type: ignore[override]
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`Answers`: a list that knows its cost. With `return_exceptions`, errors stand in their calls' places."""
        configs = get_config_list(config, len(inputs))
        calls = [self.ainvoke(each, own, **kwargs) for each, own in zip(inputs, configs, strict=True)]
        return await gather(calls, return_exceptions=return_exceptions, **self.batch_options)

    def batch(  # type: ignore[override]
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        return run(self.abatch(inputs, config, return_exceptions=return_exceptions, **kwargs))
