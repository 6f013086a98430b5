"""Rounds: a tracker's work for whole accounts: adoption, lost creates, late files, histories, and polling by lists.

The tracker does not import this package: it finds it by its entry point, and follows batches without it, too.
"""

from batchmeter.tracker.tracker import Tracker

from .adoption import Adoption
from .durations import Histories, durations_of
from .late_files import LateFiles
from .list_polling import ListPolling
from .lost_creates import LostCreates, find_lost_create


def extend(tracker: Tracker) -> None:
    """Give a new tracker its rounds."""
    tracker.rounds["adoption"] = Adoption(tracker, tracker.options.adopt).sweep_all
    tracker.rounds["lost_creates"] = LostCreates(tracker).reconcile
    tracker.find_lost_create = find_lost_create
    tracker.upkeep["histories"] = Histories(tracker.ledger, durations_of(tracker.timetable)).refresh
    late_files = LateFiles(tracker)
    tracker.rounds["late_files"] = late_files.look
    tracker.late_files = late_files.observed
    tracker.poller.cover = ListPolling(tracker.ledger, tracker.timetable).cover
