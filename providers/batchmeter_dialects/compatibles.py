"""Vendors that write OpenAI's rows, and differ from it in what they bill."""

from dataclasses import replace

from batchmeter.metering.dialects import CHAT, OPENAI, RESPONSES, Dialects

AZURE = replace(OPENAI, provider="azure", body={}, beside={})

_PERPLEXITY = replace(CHAT, name="perplexity", harmless=CHAT.harmless | {"search_context_size"})
PERPLEXITY = Dialects(provider="perplexity", speaks=(_PERPLEXITY, RESPONSES), private=True)
"""Citation tokens of some models are billed: their lines are unknown."""
