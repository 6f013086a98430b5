"""Files and batches in OpenAI's shapes, read tolerantly.

Tolerance is a rule, not a favour: unknown fields are kept, unknown statuses are open, ids are opaque, `""` means null,
numbers may be strings, times may be ISO 8601 (older APIs) or epoch seconds.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from .reading import Count, Epoch, Id, Status

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses after which the provider changes nothing more. Any word not known here counts as open."""


class Wire(BaseModel):
    """What a provider sent: unknown fields ride along."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def __getitem__(self, name: str) -> Any:
        """`batch["id"]`, for code that has dictionaries."""
        if name not in type(self).model_fields and name not in (self.__pydantic_extra__ or {}):
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


class RequestCounts(Wire):
    """The provider's own counters. Trust the files over these: they move back on a cancel."""

    total: Count = 0
    completed: Count = 0
    failed: Count = 0


class BatchUsage(Wire):
    """The provider's batch-level token sums (OpenAI since 2025-09-07): a cross-check, not the source of cost."""

    class InputDetails(Wire):
        cached_tokens: Count = 0

    class OutputDetails(Wire):
        reasoning_tokens: Count = 0

    input_tokens: Count = 0
    input_tokens_details: InputDetails | None = None
    output_tokens: Count = 0
    output_tokens_details: OutputDetails | None = None
    total_tokens: Count = 0


class BatchError(Wire):
    code: str | None = None
    message: str | None = None
    param: str | None = None
    line: int | None = None
    """1-based line of the input file."""


class BatchErrors(Wire):
    object: str = "list"
    data: list[BatchError] = Field(default_factory=list[BatchError])


class Batch(Wire):
    """A batch job. Times are epoch seconds UTC, as OpenAI sends them."""

    id: str
    object: str = "batch"
    endpoint: Id = None
    model: Id = None
    errors: BatchErrors | None = None
    input_file_id: Id = None
    completion_window: Id = None
    status: Status
    output_file_id: Id = None
    error_file_id: Id = None
    created_at: Epoch = None
    in_progress_at: Epoch = None
    expires_at: Epoch = None
    finalizing_at: Epoch = None
    completed_at: Epoch = None
    failed_at: Epoch = None
    expired_at: Epoch = None
    cancelling_at: Epoch = None
    cancelled_at: Epoch = None
    request_counts: RequestCounts | None = None
    usage: BatchUsage | None = None
    metadata: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        """True for `completed`, `failed`, `expired` and `cancelled`."""
        return self.status in TERMINAL_STATUSES

    @property
    def ended_at(self) -> int | None:
        """When it ended, by the provider's clock."""
        by_status = {
            "completed": self.completed_at,
            "failed": self.failed_at,
            "expired": self.expired_at,
            "cancelled": self.cancelled_at,
        }
        return by_status.get(self.status)


class FileObject(Wire):
    """An uploaded or produced file."""

    id: str
    object: str = "file"
    bytes: Count = 0
    created_at: Epoch = None
    expires_at: Epoch = None
    filename: Id = None
    purpose: Id = None
    status: Id = None
    status_details: Id = None


class FileDeleted(Wire):
    id: str
    object: str = "file"
    deleted: bool = True


Item = TypeVar("Item")


class Page(Wire, Generic[Item]):
    """One page of a list; iterate it for its items, pass `last_id` as `after` for the next while `has_more`."""

    object: str = "list"
    data: list[Item]
    first_id: Id = None
    last_id: Id = None
    has_more: bool = False

    def __iter__(self) -> Iterator[Item]:  # type: ignore[override]  # the items, as OpenAI's own pages do
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)
