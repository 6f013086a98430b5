"""batchmeter: know what your LLM batch jobs did and cost.

    file = await batchmeter.acreate_file(file=open("requests.jsonl", "rb"), purpose="batch")
    batch = await batchmeter.acreate_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
    settlement = await batchmeter.await_batch(batch.id)     # status, counts, usage, cost

Every name is imported when it is first used: `import batchmeter` costs next to nothing.
"""

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .answers.result import Result
    from .answers.results import Results
    from .errors import BatchmeterError, Rejected, RetryLater
    from .events import BatchCreated, BatchFailed, BatchSucceeded, Event, Settlement
    from .faces.api import (
        abatch_results,
        acancel_batch,
        acreate_batch,
        acreate_file,
        adelete_file,
        afile_content,
        afile_delete,
        afile_list,
        afile_retrieve,
        alist_batches,
        alist_files,
        aretrieve_batch,
        aretrieve_file,
        aretry_batch,
        await_batch,
        batch_results,
        cancel_batch,
        close,
        create_batch,
        create_file,
        delete_file,
        file_content,
        file_delete,
        file_list,
        file_retrieve,
        list_batches,
        list_files,
        retrieve_batch,
        retrieve_file,
        retry_batch,
        start_tracking,
        tracking,
        wait_batch,
    )
    from .faces.callbacks import off, on
    from .faces.client import AsyncClient
    from .faces.meter import ameter, meter
    from .faces.sync import Client
    from .hookspecs import hookimpl
    from .jobs.jobs import Job, JobReport, Jobs
    from .metering.result import Metering
    from .models import Attribution, Batch, Cost, FileObject, Page, Usage
    from .observing import observe, unobserve
    from .rerun.rerun import Retry
    from .running import arun, run
    from .running.reprice import areprice_batches, reprice_batches

__version__ = "0.1.0"

_HOMES = {
    "faces.api": (
        "abatch_results acancel_batch acreate_batch acreate_file adelete_file afile_content afile_delete afile_list "
        "afile_retrieve alist_batches alist_files aretrieve_batch aretrieve_file aretry_batch await_batch batch_results cancel_batch "
        "close create_batch create_file delete_file file_content file_delete file_list file_retrieve "
        "list_batches list_files retrieve_batch retrieve_file retry_batch start_tracking tracking wait_batch"
    ),
    "answers.result": "Result",
    "answers.results": "Results",
    "errors": "BatchmeterError Rejected RetryLater",
    "events": "BatchCreated BatchFailed BatchSucceeded Event Settlement",
    "hookspecs": "hookimpl",
    "faces.meter": "ameter meter",
    "metering": "Metering",
    "models": "Attribution Batch Cost FileObject Page Usage",
    "observing": "observe unobserve",
    "rerun.rerun": "Retry",
    "jobs.jobs": "Job JobReport Jobs",
    "running.reprice": "areprice_batches reprice_batches",
    "running": "arun run",
    "faces.callbacks": "off on",
    "faces.client": "AsyncClient",
    "faces.sync": "Client",
}

__all__ = [
    "AsyncClient",
    "Attribution",
    "Batch",
    "BatchCreated",
    "BatchFailed",
    "BatchSucceeded",
    "BatchmeterError",
    "Client",
    "Cost",
    "Event",
    "FileObject",
    "Job",
    "JobReport",
    "Jobs",
    "Metering",
    "Page",
    "Rejected",
    "Result",
    "Results",
    "Retry",
    "RetryLater",
    "Settlement",
    "Usage",
    "__version__",
    "abatch_results",
    "acancel_batch",
    "acreate_batch",
    "acreate_file",
    "adelete_file",
    "afile_content",
    "afile_delete",
    "afile_list",
    "afile_retrieve",
    "alist_batches",
    "alist_files",
    "ameter",
    "areprice_batches",
    "aretrieve_batch",
    "aretrieve_file",
    "aretry_batch",
    "arun",
    "await_batch",
    "batch_results",
    "cancel_batch",
    "close",
    "create_batch",
    "create_file",
    "delete_file",
    "file_content",
    "file_delete",
    "file_list",
    "file_retrieve",
    "hookimpl",
    "list_batches",
    "list_files",
    "meter",
    "observe",
    "off",
    "on",
    "reprice_batches",
    "retrieve_batch",
    "retrieve_file",
    "retry_batch",
    "run",
    "start_tracking",
    "tracking",
    "unobserve",
    "wait_batch",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
