"""For the tests of plugin authors: batches through the sandbox, and the contracts that loggers and providers keep.

    from batchmeter.testing import LoggerContract, run_batch

Nothing here hooks into pytest by itself: what an application installs must not touch its test runs.
"""

import sys
from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .bench import BatchRun, Bench, open_bench, run_batch
    from .loggers import LoggerContract
    from .providers import ProviderContract
    from .recorder import Recorder
    from .sandbox import Sandbox, manual_clock, sandbox_thread, serve_sandbox

__all__ = [
    "BatchRun",
    "Bench",
    "LoggerContract",
    "ProviderContract",
    "Recorder",
    "Sandbox",
    "manual_clock",
    "open_bench",
    "run_batch",
    "sandbox_thread",
    "serve_sandbox",
]

_HOMES = {
    "bench": "BatchRun Bench open_bench run_batch",
    "loggers": "LoggerContract",
    "providers": "ProviderContract",
    "recorder": "Recorder",
    "sandbox": "Sandbox manual_clock sandbox_thread serve_sandbox",
}

if "pytest" in sys.modules:  # a contract's failed assert shows its values, as one in a test file does
    sys.modules["pytest"].register_assert_rewrite(f"{__name__}.loggers", f"{__name__}.providers")


__getattr__ = lazy_names(__name__, _HOMES)
