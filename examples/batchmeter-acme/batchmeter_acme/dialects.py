"""How Acme's rows count: which counters are what. This module imports nothing else of the project."""

from batchmeter.metering.dialects import Dialect, Dialects

DIALECTS = Dialects(
    provider="acme",
    speaks=(
        Dialect(
            name="acme",
            needs="tokens_read tokens_written",
            prompt="tokens_read",
            buckets={
                "input": "tokens_read - tokens_remembered",
                "cached_input": "tokens_remembered",
                "output": "tokens_written",
            },
        ),
    ),
)
"""A counter that no formula names makes its line's cost unknown: better than too low."""
