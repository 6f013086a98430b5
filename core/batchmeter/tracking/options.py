"""What a tracker can be told."""

from dataclasses import dataclass

from .schedule import LONGEST_PAUSE


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Seconds, and numbers of things at a time."""

    lease: float = 120.0
    """A killed worker's batches are taken over after this."""
    block: int = 500
    """Batches claimed at once: enough of one account for its lists to be worth their while."""
    look: float = 60.0
    """One request to a provider, with its retries."""
    idle: float = 10.0
    """Longest sleep: other processes submit too."""
    reconcile: float = 60.0
    """Between two looks for lost creates."""
    unusable: float = 60.0
    """Before an account that is not configured here is tried again."""
    looks: int = 8
    """Requests of one account under way."""
    downloads: int = 8
    """Settlements of one account under way."""
    requests_per_second: float = 20.0
    """For one account, on average, looks only; halved whenever it answers 429."""
    longest_pause: float = LONGEST_PAUSE
    """A Retry-After counts for at most this long."""
    adopt: tuple[str, ...] = ()
    """Accounts whose every batch is tracked, whoever made it."""
    adopt_since: float = 48 * 3600.0
    """How far back a starting tracker looks for them, until it has read the account's list once."""
    list_many: bool = True
    """Ask one list for many due batches, where the provider can."""


DEFAULTS = TrackerOptions()
