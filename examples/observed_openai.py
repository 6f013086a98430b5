"""A script that already used the OpenAI SDK; one line meters it.

OPENAI_API_KEY=sk-… python observed_openai.py requests.jsonl
"""

import sys
import time
from pathlib import Path

import batchmeter
from openai import OpenAI


@batchmeter.on("batch_success", "batch_failure")
def report(event: batchmeter.BatchSucceeded | batchmeter.BatchFailed) -> None:
    cost = "an unknown cost" if event.cost.total is None else f"${event.cost.total:f}"
    print(f"{event.status}: {event.request_counts.succeeded} answers, {event.usage.total_tokens} tokens, {cost}")


def main(path: Path) -> None:
    client = batchmeter.observe(OpenAI(), attribution={"team": "research"})  # the one line

    file = client.files.create(file=path, purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"job": path.stem}
    )
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2 if batch.status == "validating" else 5)
        batch = client.batches.retrieve(batch.id)
    print(f"{batch.id} is {batch.status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    batchmeter.close()  # settle and report what has ended; without it, at exit
