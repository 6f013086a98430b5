"""Files and batches in OpenAI's shapes; usage and cost in ours."""

from .figures import Attribution, Cost, Frozen, LineCounts, ModelUsage, RatesUsed, ReportedCost, Usage
from .reading import Count, Epoch, Id, Secret, Status, Time, Usd, full_endpoint, plain, utc_from_epoch
from .wire import (
    TERMINAL_STATUSES,
    Batch,
    BatchError,
    BatchErrors,
    BatchUsage,
    FileDeleted,
    FileObject,
    Page,
    RequestCounts,
    Wire,
)

__all__ = [
    "TERMINAL_STATUSES",
    "Attribution",
    "Batch",
    "BatchError",
    "BatchErrors",
    "BatchUsage",
    "Cost",
    "Count",
    "Epoch",
    "FileDeleted",
    "FileObject",
    "Frozen",
    "Id",
    "LineCounts",
    "ModelUsage",
    "Page",
    "RatesUsed",
    "ReportedCost",
    "RequestCounts",
    "Secret",
    "Status",
    "Time",
    "Usage",
    "Usd",
    "Wire",
    "full_endpoint",
    "plain",
    "utc_from_epoch",
]
