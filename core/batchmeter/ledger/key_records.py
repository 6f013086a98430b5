"""What the ledger keeps for the proxy: keys, their limits, and answers to give again."""

from typing import Literal

from batchmeter.models import Attribution, Frozen

from .records import Millis

LimitName = Literal["requests_per_minute", "lines_per_day"]
"""Limits that are counted by period."""


Place = Literal["mine", "wait", "full"]
"""`wait`: batches that are just being submitted have the rest; some may come to nothing."""


class KeyLimits(Frozen, frozen=True, extra="forbid"):
    """None: no limit."""

    requests_per_minute: int | None = None
    open_batches: int | None = None
    lines_per_day: int | None = None
    """Requests submitted in batches, by UTC day."""


class ProxyKey(Frozen, frozen=True):
    """A key of the proxy; its secret is nowhere but with its owner."""

    id: str
    name: str | None = None
    owner: str | None = None
    """Becomes the `user` of what it submits."""
    team: str | None = None
    tags: tuple[str, ...] = ()
    accounts: tuple[str, ...] | None = None
    """None: all."""
    models: tuple[str, ...] | None = None
    """None: all."""
    admin: bool = False
    """Sees everybody's files and batches, in the accounts it may use."""
    limits: KeyLimits = KeyLimits()
    hint: str = ""
    """The secret's last characters, to tell keys apart."""
    created_at: Millis = 0
    expires_at: Millis | None = None
    revoked_at: Millis | None = None

    @property
    def attribution(self) -> Attribution:
        """What rides on the events of its batches."""
        return Attribution(key=self.id, user=self.owner, team=self.team, tags=self.tags)

    def state(self, now: Millis) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Answer(Frozen, frozen=True):
    """What a request with an idempotency key came to, or that it is still on its way."""

    state: Literal["mine", "busy", "kept"]
    """`mine`: nobody has answered; keep or drop it. `busy`: another request with the same key is being answered."""
    document: str | None = None
