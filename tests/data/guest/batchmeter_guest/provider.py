"""The guest's provider: files in memory, and a batch that is completed when it is looked at."""

import json
from contextlib import asynccontextmanager

from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.providers import AccountSettings, Capabilities, ContentStream, OutputFile

CREATED = 1_760_000_000


class GuestProvider:
    """One account."""

    name = "guest"
    Settings = AccountSettings
    capabilities = Capabilities()

    def __init__(self, account, settings):
        self.account, self.region, self.endpoint = account, settings.region, "guest:memory"
        self.contents, self.batches = {}, {}

    async def create_file(self, upload, options):
        file_id = f"file-{len(self.contents)}"
        self.contents[file_id] = b"".join([chunk async for chunk in upload.open()])
        return self._file(file_id)

    async def retrieve_file(self, file_id, options):
        return self._file(file_id)

    async def list_files(self, *, purpose, after, limit, order, options):
        return Page[FileObject](data=[self._file(name) for name in self.contents])

    async def delete_file(self, file_id, options):
        del self.contents[file_id]
        return FileDeleted(id=file_id)

    @asynccontextmanager
    async def file_content(self, file_id, options=None):
        async def chunks():
            yield self.contents[file_id]

        yield ContentStream(chunks(), "application/jsonl", len(self.contents[file_id]))

    async def create_batch(self, request, options):
        batch_id = f"batch-{len(self.batches)}"
        self.contents[f"{batch_id}-out"] = b"".join(
            answer(json.loads(line)) for line in self.contents[request.input_file_id].splitlines()
        )
        self.batches[batch_id] = Batch(
            id=batch_id,
            status="in_progress",
            endpoint=request.endpoint,
            input_file_id=request.input_file_id,
            created_at=CREATED,
            metadata=dict(request.metadata or {}),
        )
        return self.batches[batch_id]

    async def retrieve_batch(self, batch_id, options):
        found = self.batches[batch_id]
        return found.model_copy(
            update={"status": "completed", "completed_at": CREATED + 60, "output_file_id": f"{batch_id}-out"}
        )

    async def cancel_batch(self, batch_id, options):
        return self.batches[batch_id].model_copy(update={"status": "cancelled", "cancelled_at": CREATED})

    async def list_batches(self, *, after, limit, options):
        return Page[Batch](data=list(self.batches.values()))

    async def outputs(self, batch):
        output = batch.output_file_id
        return [OutputFile(output, "output", lambda: self.file_content(output))] if output else []

    def price_model(self, model):
        return model

    async def aclose(self):
        """There is no connection to close."""

    def _file(self, file_id):
        return FileObject(id=file_id, bytes=len(self.contents[file_id]), created_at=CREATED, purpose="batch")


def answer(line):
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    body = {"object": "chat.completion", "model": line["body"]["model"], "choices": [], "usage": usage}
    row = {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(row).encode() + b"\n"
