"""For the tests of plugin authors: batches through the sandbox, and the contracts that loggers and providers keep.

    from batchmeter.testing import LoggerContract, run_batch

Nothing here hooks into pytest by itself: what an application installs must not touch its test runs.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

if "pytest" in sys.modules:  # a contract's failed assert shows its values, as one in a test file does
    sys.modules["pytest"].register_assert_rewrite(f"{__name__}.loggers", f"{__name__}.providers")


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: the contracts need pytest, the rest does not."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
