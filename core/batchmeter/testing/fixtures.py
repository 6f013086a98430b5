"""`pytest_plugins = ["batchmeter.testing.fixtures"]` in a test file or the top conftest.py brings these fixtures.

No entry point does it by itself: batchmeter is installed beside applications, whose test runs are none of its business.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from . import bench

__all__ = ["run_batch"]


@pytest.fixture
def run_batch() -> Callable[..., Coroutine[Any, Any, bench.BatchRun]]:
    """`run = await run_batch(MyLogger())`, then `run.events`, `run.deliveries`, `run.settlement`."""
    return bench.run_batch
