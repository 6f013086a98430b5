"""Gauges for the proxy's `/metrics`: each bill's drift in dollars, and when it was last compared."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from batchmeter_proxy.gauges import Gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reconciler import Reconciler

_MOST = 100


async def gauges(reconciler: "Callable[[], Reconciler]") -> "Sequence[Gauge]":
    """None where nothing was compared."""
    found = await reconciler().newest(_MOST)
    if not found:
        return []
    drift = [({"account": one["account"]}, float(Decimal(one["drift_usd"]))) for one in found]
    made = [({"account": one["account"]}, datetime.fromisoformat(one["made_at"]).timestamp()) for one in found]
    return [
        Gauge("batchmeter_reconcile_drift_usd", "US dollars of drift in the newest reconciliation.", drift),
        Gauge("batchmeter_reconcile_last_run", "When the bill was last compared, in epoch seconds.", made),
    ]
