"""Adapters for frameworks: the calls that LangChain, Pydantic AI, LlamaIndex and Instructor make become lines of a batch.

One module a framework, which imports it; nothing here is needed by batchmeter itself. All stand on `gather`.
"""

from .batched import Answers, gather, http_client

__all__ = ["Answers", "gather", "http_client"]
