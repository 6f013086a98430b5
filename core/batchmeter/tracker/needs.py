"""What tracking needs of the layers around it: accounts to ask, loggers to tell."""

from collections.abc import Mapping
from typing import Protocol

from batchmeter.events import Event
from batchmeter.ledger.records import Subscription
from batchmeter.pricing.groups import PriceQuery, Rates
from batchmeter.providers import Provider


class Accounts(Protocol):
    """Providers by account name."""

    def get(self, name: str) -> Provider:
        """UsageError when this process cannot serve the account."""
        ...

    def names(self) -> list[str]: ...

    def in_use(self) -> list[Provider]:
        """Configured ones that can be used here, and those made in this process."""
        ...

    def at_address_of(self, account: str, provider: Provider) -> bool:
        """Whether this account, which need not be known here, is where `provider` is."""
        ...

    def renew(self, account: str, provider: Provider, *, refused: bool = False) -> None:
        """`provider` was shown a batch of this account's: where its credentials are newer, it follows with them."""
        ...

    def tags(self, name: str) -> bool:
        """Whether `batchmeter_id` may be put into a new batch's metadata."""
        ...


class Logger(Protocol):
    """One enabled consumer of events."""

    @property
    def handles(self) -> frozenset[str]: ...

    @property
    def blocking(self) -> bool:
        """It has a plain `def`: one event at a time."""
        ...

    async def deliver(self, event: Event) -> None:
        """Returns when accepted; raises what the logger raises."""
        ...


class Plugins(Protocol):
    """The plugins of one client."""

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Loggers that belong to this program alone."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Who is owed events because of what this process has."""
        ...

    @property
    def loggers(self) -> Mapping[str, Logger]:
        """The enabled ones, now."""
        ...

    @property
    def redactors(self) -> frozenset[str]: ...

    @property
    def suspects(self) -> Mapping[str, str]: ...

    @property
    def prices_lines(self) -> bool: ...

    def price_lines(self, query: PriceQuery) -> Rates | None: ...

    async def redact(self, event: Event) -> Event: ...
