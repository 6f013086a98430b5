"""The ledger and its records, by name."""

from .forgotten import Forgotten
from .key_records import Answer, KeyLimits, LimitName, Place, ProxyKey
from .ledger import Ledger
from .records import (
    Again,
    Claim,
    CostGauge,
    Delivery,
    DeliveryResult,
    DeliveryState,
    Intent,
    LoggerGauge,
    Millis,
    Owner,
    Reschedule,
    Settled,
    StoredEvent,
    Submission,
    Topic,
    TrackedBatch,
)

__all__ = [
    "Again",
    "Answer",
    "Claim",
    "CostGauge",
    "Delivery",
    "DeliveryResult",
    "DeliveryState",
    "Forgotten",
    "Intent",
    "KeyLimits",
    "Ledger",
    "LimitName",
    "LoggerGauge",
    "Millis",
    "Owner",
    "Place",
    "ProxyKey",
    "Reschedule",
    "Settled",
    "StoredEvent",
    "Submission",
    "Topic",
    "TrackedBatch",
]
