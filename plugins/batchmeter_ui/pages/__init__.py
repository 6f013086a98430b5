"""Every page, in the order of the list on top of each."""

from batchmeter_ui.view import Page

from . import (
    batch,
    batch_cancel,
    batch_files,
    batch_reprice,
    batch_retry,
    batches,
    health,
    jobs,
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
    jobs.PAGE,
    jobs.ONE,
    batch_cancel.PAGE,
    batch_retry.PAGE,
    batch_reprice.PAGE,
    batch_reprice.ALL,
    *batch_files.PAGES,
    *spend.MORE,
    *loggers.MORE,
    key_create.PAGE,
    *keys.MORE,
)
