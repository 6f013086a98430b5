"""A batch's life as a function of time: which status it has, since when, and how much of it has run."""

from dataclasses import dataclass, field
from fractions import Fraction

from .script import Script

VALIDATING = 60.0
RUNNING = 1200.0
FINALIZING = 90.0
CANCELLING = 60.0
"""Seconds at speed 1; a batch takes 22.5 minutes in all."""
WINDOW = 86_400


@dataclass(frozen=True, slots=True)
class Job:
    """A batch as it was submitted."""

    id: str
    input_file_id: str
    endpoint: str
    created_at: float
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    script: Script = field(default_factory=Script)
    output_expires_after: int | None = None
    """Seconds."""
    cancelled_at: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Where a job stands at one instant."""

    status: str
    share: Fraction
    """Of its lines, run so far."""
    times: dict[str, float]
    """`in_progress_at` and so on, as far as they have come."""

    @property
    def ended_at(self) -> float | None:
        return self.times.get(f"{self.status}_at") if self.status in _ENDINGS else None


_ENDINGS = frozenset({"completed", "failed", "expired", "cancelled"})


def state(job: Job, now: float, speed: float, *, valid: bool) -> State:
    """`valid`: the input file passed; asked only once validation is over."""
    begun = validated_at(job, speed)
    ran = begun + RUNNING / speed
    stopped = _stopped(job, begun, ran, now)
    if stopped is not None and (valid or stopped < begun):
        return _cancelled(stopped, begun, ran, now, stopped + CANCELLING / speed)
    if now < begun:
        return State("validating", Fraction(0), {})
    if not valid:
        return State("failed", Fraction(0), {"failed_at": begun})
    if now < ran:
        reach = job.script.done if job.script.outcome == "expired" else Fraction(1)
        return State("in_progress", _share(begun, ran, now) * reach, {"in_progress_at": begun})
    return _ran(job, begun, ran, now, ran + FINALIZING / speed)


def _ran(job: Job, begun: float, ran: float, now: float, done: float) -> State:
    if job.script.outcome == "expired":
        return State("expired", job.script.done, {"in_progress_at": begun, "expired_at": ran})
    times = {"in_progress_at": begun, "finalizing_at": ran}
    if now < done:
        return State("finalizing", Fraction(1), times)
    return State("completed", Fraction(1), times | {"completed_at": done})


def validated_at(job: Job, speed: float) -> float:
    return job.created_at + VALIDATING / speed


def _stopped(job: Job, begun: float, ran: float, now: float) -> float | None:
    """When the job was cancelled, by its user or by its script."""
    if job.cancelled_at is not None:
        return job.cancelled_at
    scripted = begun + float(job.script.done) * (ran - begun)
    return scripted if job.script.outcome == "cancelled" and now >= scripted else None


def _cancelled(stopped: float, begun: float, ran: float, now: float, end: float) -> State:
    times = {"cancelling_at": stopped} | ({"in_progress_at": begun} if stopped >= begun else {})
    share = _share(begun, ran, stopped)
    if now < end:
        return State("cancelling", share, times)
    return State("cancelled", share, times | {"cancelled_at": end})


def _share(start: float, end: float, at: float) -> Fraction:
    """Between 0 and 1, to the thousandth."""
    return Fraction(max(0, min(1000, round(1000 * (at - start) / (end - start)))), 1000)
