"""The host: all that a plugin may ask of the process that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .events import Event
    from .models import Attribution


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that is about to be submitted."""

    account: str
    provider: str
    endpoint: str | None
    model: str | None
    region: str | None
    input_file_id: str | None
    attribution: "Attribution"
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


class Estimate(Protocol):
    """The cost of a batch before it is submitted, as far as it can be known."""

    @property
    def requests(self) -> int: ...

    @property
    def expected(self) -> Decimal | None:
        """USD; None where it is not known."""
        ...

    @property
    def upper(self) -> Decimal | None:
        """USD if every request uses all it may; None where it is not known."""
        ...


class PluginHost(Protocol):
    """What `startup(host)` gets. Its methods may be awaited in any event loop."""

    def now(self) -> int:
        """The ledger's clock: epoch milliseconds UTC."""
        ...

    async def redact(self, event: "Event") -> "Event":
        """The event as loggers may see it."""
        ...

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that the plugin brought: (plugin's name, result) of each implementation.

        One that fails is logged with its cause and left out.
        """
        ...
