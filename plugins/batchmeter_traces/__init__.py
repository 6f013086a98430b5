"""Per-request traces: a sample of each finished batch's lines, for loggers that have the hook `batch_lines`.

The hook is this plugin's own (`hookspecs.py`). A logger that implements it is owed each ending once more, by a
subscription of its own; the files are read again for it. Names are imported when they are first used: every start of
batchmeter loads this module.
"""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

from . import hookspecs

if TYPE_CHECKING:
    from .lines import BatchLine, BatchLines
    from .plugin import Traces
    from .sample import LineSample

__all__ = ["BatchLine", "BatchLines", "LineSample", "Traces", "hookspecs"]


__getattr__ = lazy_names(
    __name__,
    {
        "lines": "BatchLine BatchLines",
        "sample": "LineSample",
        "plugin": "Traces",
    },
)
