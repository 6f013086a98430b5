"""Vendors that write OpenAI's rows, and differ from it in what they bill."""

from dataclasses import replace

from batchmeter.metering.dialects import Dialects

from .openai import CHAT, RESPONSES
from .openai import DIALECTS as OPENAI

AZURE = replace(OPENAI, provider="azure", body={}, beside={})

_PERPLEXITY = replace(CHAT, name="perplexity", harmless=CHAT.harmless | {"search_context_size"})
PERPLEXITY = Dialects(provider="perplexity", speaks=(_PERPLEXITY, RESPONSES), private=True)
"""Citation tokens of some models are billed: their lines are unknown."""
