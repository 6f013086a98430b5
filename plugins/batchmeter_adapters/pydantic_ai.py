"""Pydantic AI: one agent over many prompts. Each round of model calls is a batch; tools run in between as ever."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.run import AgentRunResult

from openai import AsyncOpenAI

from .batched import Answers, api_key, gather, http_client, run

__all__ = ["arun_all", "model", "run_all"]

Deps = TypeVar("Deps")
Output = TypeVar("Output")


def model(name: str, **settings: Any) -> OpenAIChatModel:
    """A model for `Agent(model(…))`. Outside `run_all` it answers at once, at the full price."""
    client = AsyncOpenAI(api_key=api_key(), http_client=http_client())
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client), **settings)


async def arun_all(
    agent: Agent[Deps, Output],
    prompts: Iterable[Any],
    *,
    use: str | None = None,
    agent_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Answers[AgentRunResult[Output]]:
    """`agent.run(prompt, **agent_options)` for each prompt; `use` names a model in place of the agent's own.

    `options` are those of `batchmeter.arun`. A run that fails raises; `return_exceptions=True` gives the error in its place.
    """
    chosen = {**(agent_options or {}), **({"model": model(use)} if use is not None else {})}
    return await gather([agent.run(prompt, **chosen) for prompt in prompts], **options)


def run_all(
    agent: Agent[Deps, Output],
    prompts: Iterable[Any],
    *,
    use: str | None = None,
    agent_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Answers[AgentRunResult[Output]]:
    """As `arun_all`, from code without a loop."""
    return run(arun_all(agent, prompts, use=use, agent_options=agent_options, **options))
