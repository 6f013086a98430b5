"""Whether OpenTelemetry is there, without importing it: a logger that cannot work should say so at the start."""

from importlib.util import find_spec


def require(*modules: str) -> None:
    """Raises ModuleNotFoundError, which `batchmeter plugins` shows with what to install."""
    for module in modules:
        if find_spec(module) is None:  # raises by itself when a parent is missing
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
