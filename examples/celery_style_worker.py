"""A worker as Celery or RQ run them: tasks come through a queue, into a process that was forked from its parent.

    OPENAI_API_KEY=sk-… python celery_style_worker.py requests.jsonl more.jsonl

The task only submits. The worker's tracker follows the batch, and the callback gets the end, whichever process
submitted it: in Celery, call `start_tracking()` in the `worker_process_init` signal.
"""

import multiprocessing
import sys
import threading
from multiprocessing.queues import Queue
from pathlib import Path

import batchmeter

TIMEOUT = 24 * 3600.0


def submit(path: str) -> str:
    """The task. The name of the file is its idempotency key: a task that is delivered twice submits once."""
    file = batchmeter.create_file(file=path)
    batch = batchmeter.create_batch(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        attribution={"session": Path(path).name},
        idempotency_key=f"submit {path}",
    )
    return batch.id


def work(tasks: "Queue[str | None]", reports: "Queue[str]") -> None:
    """The worker process, until it is told None and every batch it submitted has ended."""
    submitted: set[str] = set()
    ended: set[str] = set()
    change = threading.Condition()

    @batchmeter.on("batch_success", "batch_failure", name="worker")
    def report(event: batchmeter.BatchSucceeded | batchmeter.BatchFailed) -> None:
        cost = "unknown cost" if event.cost.total is None else f"${event.cost.total:f}"
        reports.put(f"{event.attribution.session}: {event.status}, {cost}")
        with change:
            ended.add(event.batch_id)
            change.notify()

    batchmeter.start_tracking()
    while (path := tasks.get()) is not None:
        submitted.add(submit(path))
    with change:
        change.wait_for(lambda: submitted <= ended, TIMEOUT)
    batchmeter.close()


def main(paths: list[str]) -> None:
    tasks: Queue[str | None] = multiprocessing.Queue()
    reports: Queue[str] = multiprocessing.Queue()
    worker = multiprocessing.Process(target=work, args=(tasks, reports))
    worker.start()
    for path in [*paths, *paths]:  # every task twice, as queues that deliver at least once may
        tasks.put(path)
    tasks.put(None)
    for _ in paths:
        print(reports.get(timeout=TIMEOUT))
    worker.join()


if __name__ == "__main__":
    main(sys.argv[1:])
