"""From requests in memory to answers by custom_id, in one call: `batchmeter.run([...], model="gpt-5-mini")`."""

from batchmeter.answers.result import Result
from batchmeter.answers.results import Results

from .job import arun, run

__all__ = ["Result", "Results", "arun", "run"]
