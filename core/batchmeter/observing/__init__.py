"""Meter the OpenAI client an app already has: `client = batchmeter.observe(OpenAI())`."""

from .attach import observe, unobserve

__all__ = ["observe", "unobserve"]
