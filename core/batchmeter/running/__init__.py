"""From requests in memory to answers by custom_id, in one call: `batchmeter.run([...], model="gpt-5-mini")`."""

from .job import arun, run
from .results import Result, Results

__all__ = ["Result", "Results", "arun", "run"]
