"""Every page, in the order of the list on top of each."""

from batchmeter_ui.page import Page

from . import (
    batch,
    batch_cancel,
    batch_files,
    batches,
    health,
    key_create,
    keys,
    loggers,
    overview,
    prices,
    spend,
    unknown,
)

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    batches.PAGE,
    spend.PAGE,
    unknown.PAGE,
    loggers.PAGE,
    prices.PAGE,
    keys.PAGE,
    health.PAGE,
    batch.PAGE,
    batch_cancel.PAGE,
    *batch_files.PAGES,
    *spend.MORE,
    *loggers.MORE,
    key_create.PAGE,
    *keys.MORE,
)
