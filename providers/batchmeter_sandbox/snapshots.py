"""The dated snapshot that answers for each alias, as OpenAI's answers name them."""

from collections.abc import Mapping

SNAPSHOTS: Mapping[str, str] = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5.1": "gpt-5.1-2025-11-13",
    "o1": "o1-2024-12-17",
    "o3": "o3-2025-04-16",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
    "omni-moderation-latest": "omni-moderation-2024-09-26",
}


def snapshot(model: str) -> str:
    """The name in the answer; a model without an alias answers as itself."""
    return SNAPSHOTS.get(model, model)


def reasons(model: str) -> bool:
    """Whether the model spends reasoning tokens."""
    return model.startswith(("o1", "o3", "o4", "gpt-5", "gpt-6"))


def caches(model: str) -> bool:
    """Whether its batch answers report cached prompt tokens (GPT-5 and later do)."""
    return model.startswith(("gpt-5", "gpt-6"))
