"""The contract every provider keeps, as tests: subclass `ProviderContract`, give it an account, run pytest.

    class TestMine(ProviderContract):
        @pytest.fixture
        async def provider(self):
            provider = MyProvider("mine", MySettings(...))
            yield provider
            await provider.aclose()

What a vendor cannot do goes into the class attributes. Tests need `pytest-asyncio` with `asyncio_mode = "auto"`.
"""

import asyncio
import hashlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from batchmeter import errors
from batchmeter.events import BatchSucceeded
from batchmeter.metering import Job, meter_outputs
from batchmeter.models import Batch, FileObject, Page, Usage
from batchmeter.pricebook.book import embedded
from batchmeter.providers import BatchRequest, CallOptions, FileUpload, OutputFile, Provider
from batchmeter.reports.line_costs import LinePricer, PricedLine

from .requests import lines_of

__all__ = ["ProviderContract", "lines_of", "upload_of"]

PLAIN = CallOptions()
LARGE = 400_000
"""Bytes: more than a chunk."""


class ProviderContract:
    """Files, batches, pages, errors and outputs, as the rest of batchmeter relies on them."""

    endpoint: ClassVar[str] = "/v1/chat/completions"
    model: ClassVar[str] = "gpt-4o-mini"
    requests: ClassVar[int] = 3
    """Lines in a test's batch."""
    looks: ClassVar[int] = 200
    """Retrieves within which a batch has to end, …"""
    pause: ClassVar[float] = 0.01
    """… and the seconds between two of them."""
    lists_files: ClassVar[bool] = True
    deletes_files: ClassVar[bool] = True
    tells_times: ClassVar[bool] = True
    """Whether a batch tells when it was created and ended, to the second."""
    unknown_file: ClassVar[str] = "file-nobodyhasthis"
    unknown_batch: ClassVar[str] = "batch_nobodyhasthis"
    checks_keys: ClassVar[bool] = False
    """Set it, and bring the fixture `locked_out`: the same provider with a wrong key."""

    @pytest.fixture
    async def provider(self) -> Any:
        """A ready account; override it."""
        raise NotImplementedError("a ProviderContract needs a `provider` fixture")

    @pytest.fixture
    async def locked_out(self) -> Any:
        """The same provider with a wrong key, where `checks_keys`."""
        return None

    def lines(self) -> bytes:
        """The input file of a test's batch."""
        return lines_of(self.requests, self.model, self.endpoint)

    async def submit(self, provider: Provider, metadata: Mapping[str, str] | None = None) -> Batch:
        file = await provider.create_file(upload_of(self.lines()), PLAIN)
        request = BatchRequest(file.id, self.endpoint, metadata=metadata, model=self.model)
        return await provider.create_batch(request, PLAIN)

    async def finish(self, provider: Provider, batch: Batch) -> Batch:
        """Looks until the batch has ended and, when it answered anything, names its files."""
        for _ in range(self.looks):
            batch = await provider.retrieve_batch(batch.id, PLAIN)
            if batch.ended and (batch.status != "completed" or await provider.outputs(batch)):
                return batch
            await asyncio.sleep(self.pause)
        pytest.fail(f"{batch.id} is still {batch.status} after {self.looks} looks")

    # -- what it is --------------------------------------------------------------------------------------------------

    async def test_it_says_what_it_is(self, provider: Provider) -> None:
        assert isinstance(provider, Provider)
        assert provider.name
        assert provider.account
        assert "@" not in provider.endpoint
        assert "?" not in provider.endpoint
        assert isinstance(provider.price_model(self.model), str)

    # -- files -------------------------------------------------------------------------------------------------------

    async def test_a_file_comes_back_as_it_went(self, provider: Provider) -> None:
        content = self.lines()
        file = await provider.create_file(upload_of(content), PLAIN)
        assert file.id
        assert file.bytes in (0, len(content))
        assert (await provider.retrieve_file(file.id, PLAIN)).id == file.id
        assert await read_file(provider, file.id) == content

    async def test_an_upload_of_unknown_length(self, provider: Provider) -> None:
        content = self.lines()
        file = await provider.create_file(upload_of(content, sized=False), PLAIN)
        assert await read_file(provider, file.id) == content

    async def test_a_reader_s_own_error_is_its_own(self, provider: Provider) -> None:
        """An error that a reader raises between two chunks is none of the provider's, and is not renamed."""
        file = await provider.create_file(upload_of(self.lines()), PLAIN)
        for kind, status in ((errors.NotFoundError, 404), (errors.BadRequestError, 400)):
            own = kind("the reader's own api key", status_code=status)
            with pytest.raises(kind) as caught:
                async with provider.file_content(file.id, PLAIN):
                    raise own
            assert caught.value is own

    async def test_a_large_file_streams(self, provider: Provider) -> None:
        """Some hundred kilobytes that never is in one piece, on its way up and down; every line has an id of its own."""
        first = json.loads(self.lines().split(b"\n")[0])
        sent, got, sizes = hashlib.sha256(), hashlib.sha256(), list[int]()

        async def chunks() -> AsyncIterator[bytes]:
            written = 0
            for number in itertools.count():
                chunk = b"".join(_numbered(first, number * 100 + line) for line in range(100))
                sent.update(chunk)
                yield chunk
                written += len(chunk)
                if written > LARGE:
                    return

        file = await provider.create_file(FileUpload("large.jsonl", "batch", chunks, replayable=False), PLAIN)
        async with provider.file_content(file.id, PLAIN) as stream:
            async for chunk in stream.chunks:
                got.update(chunk)
                sizes.append(len(chunk))
        assert sum(sizes) > LARGE
        assert got.digest() == sent.digest()
        assert len(sizes) > 1

    async def test_files_are_listed(self, provider: Provider) -> None:
        if not self.lists_files:
            pytest.skip("this provider lists no files")
        mine = {(await provider.create_file(upload_of(self.lines()), PLAIN)).id for _ in range(3)}
        listed = await all_files(provider, limit=2)
        assert mine <= set(listed)
        assert len(listed) == len(set(listed))

    async def test_a_deleted_file_is_gone(self, provider: Provider) -> None:
        if not self.deletes_files:
            pytest.skip("this provider deletes no files")
        file = await provider.create_file(upload_of(self.lines()), PLAIN)
        deleted = await provider.delete_file(file.id, PLAIN)
        assert (deleted.id, deleted.deleted) == (file.id, True)
        with pytest.raises(errors.NotFoundError):
            await read_file(provider, file.id)

    # -- batches -----------------------------------------------------------------------------------------------------

    async def test_a_batch_is_created_as_asked(self, provider: Provider) -> None:
        batch = await self.submit(provider, {"team": "search"})
        assert batch.id
        assert (batch.created_at is not None) == self.tells_times
        again = await provider.retrieve_batch(batch.id, PLAIN)
        assert again.id == batch.id
        if provider.capabilities.metadata_tag:
            assert (again.metadata or {}).get("team") == "search"

    async def test_a_batch_runs_to_its_end(self, provider: Provider) -> None:
        batch = await self.finish(provider, await self.submit(provider))
        assert batch.status == "completed"
        assert (batch.ended_at is not None) == self.tells_times
        assert batch.request_counts is not None
        assert (batch.request_counts.total, batch.request_counts.completed) == (self.requests, self.requests)

    async def test_outputs_hold_every_line(self, provider: Provider) -> None:
        batch = await self.finish(provider, await self.submit(provider))
        outputs = await provider.outputs(batch)
        assert outputs
        assert [output.kind for output in outputs] == sorted((output.kind for output in outputs), reverse=True)
        answers = [await read_output(output) for output in outputs if output.kind != "manifest"]
        rows = [json.loads(line) for content in answers for line in content.split(b"\n") if line]
        assert len(rows) == self.requests
        if not provider.capabilities.native_lines:
            assert {row["custom_id"] for row in rows} == {f"r-{number}" for number in range(self.requests)}
            assert all(isinstance(row["response"]["body"]["usage"], dict) for row in rows)
        await _assert_lines_add_up(provider, batch, outputs)

    async def test_outputs_can_be_read_again(self, provider: Provider) -> None:
        """A settlement that was interrupted starts over."""
        batch = await self.finish(provider, await self.submit(provider))
        for output in await provider.outputs(batch):
            assert await read_output(output) == await read_output(output)

    async def test_batches_are_listed_newest_first(self, provider: Provider) -> None:
        mine = [(await self.submit(provider)).id for _ in range(3)]
        batches = await all_batches(provider, limit=2)
        assert set(mine) <= set(batches)
        assert len(batches) == len(set(batches))
        if provider.capabilities.list_after_any_id:
            assert [batch_id for batch_id in batches if batch_id in mine] == mine[::-1]
            page = await provider.list_batches(after=mine[1], limit=100, options=PLAIN)
            listed = [batch.id for batch in page]
            assert mine[0] in listed
            assert not {mine[1], mine[2]} & set(listed)

    async def test_metadata_comes_back_in_lists(self, provider: Provider) -> None:
        """A create whose answer was lost is found by its tag."""
        if not provider.capabilities.metadata_tag:
            pytest.skip("this provider keeps no metadata")
        tag = str(uuid.uuid4())
        batch = await self.submit(provider, {"batchmeter_id": tag})
        page = await provider.list_batches(after=None, limit=100, options=PLAIN)
        assert [found.id for found in page if (found.metadata or {}).get("batchmeter_id") == tag] == [batch.id]

    async def test_a_cancel_ends_the_batch(self, provider: Provider) -> None:
        batch = await self.submit(provider)
        with suppress(errors.BadRequestError, errors.ConflictError):  # it may have completed before
            cancelled = await provider.cancel_batch(batch.id, PLAIN)
            assert cancelled.id == batch.id
        assert (await self.finish(provider, batch)).status in ("cancelled", "completed")

    # -- errors ------------------------------------------------------------------------------------------------------

    async def test_an_unknown_file_is_not_found(self, provider: Provider) -> None:
        with pytest.raises(errors.NotFoundError) as caught:
            await read_file(provider, self.unknown_file)
        assert_telling(caught.value)

    async def test_an_unknown_batch_is_not_found(self, provider: Provider) -> None:
        with pytest.raises(errors.NotFoundError) as caught:
            await provider.retrieve_batch(self.unknown_batch, PLAIN)
        assert_telling(caught.value)

    async def test_a_wrong_key_is_refused(self, locked_out: Provider | None) -> None:
        if not self.checks_keys or locked_out is None:
            pytest.skip("no key to be wrong")
        with pytest.raises((errors.AuthenticationError, errors.PermissionDeniedError)):
            await locked_out.list_batches(after=None, limit=1, options=PLAIN)

    async def test_an_upload_that_breaks_raises_what_broke(self, provider: Provider) -> None:
        """No file may come of half an upload, and the caller's own error reaches the caller."""

        async def breaking() -> AsyncIterator[bytes]:
            yield self.lines()[:10]
            raise UploadBrokenError

        with pytest.raises(UploadBrokenError):
            await provider.create_file(FileUpload("half.jsonl", "batch", breaking, replayable=False), PLAIN)

    async def test_it_can_be_closed_twice(self, provider: Provider) -> None:
        await provider.aclose()
        await provider.aclose()


def _numbered(line: Mapping[str, Any], number: int) -> bytes:
    return json.dumps({**line, "custom_id": f"r-{number}"}).encode() + b"\n"


class UploadBrokenError(Exception):
    """The source of an upload failed."""


def assert_telling(error: errors.APIStatusError) -> None:
    """The provider's own status and body are there for whoever has to act on them."""
    assert error.status_code == 404  # noqa: PLR2004 - not found
    assert str(error)
    assert error.body is not None


def upload_of(content: bytes, *, filename: str = "input.jsonl", sized: bool = True) -> FileUpload:
    """An upload of bytes in memory, in chunks."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 64 * 1024):
            yield content[start : start + 64 * 1024]

    return FileUpload(filename, "batch", chunks, len(content) if sized else None)


async def read_file(provider: Provider, file_id: str) -> bytes:
    async with provider.file_content(file_id, PLAIN) as content:
        return b"".join([chunk async for chunk in content.chunks])


async def read_output(output: OutputFile) -> bytes:
    async with output.open() as content:
        return b"".join([chunk async for chunk in content.chunks])


async def all_files(provider: Provider, *, limit: int) -> Sequence[str]:
    found: list[str] = []
    page: Page[FileObject] | None = None
    while page is None or page.has_more:
        after = None if page is None else page.last_id
        page = await provider.list_files(purpose=None, after=after, limit=limit, order=None, options=PLAIN)
        assert len(page) <= limit
        assert len(page) or not page.has_more
        found += [file.id for file in page]
    return found


async def all_batches(provider: Provider, *, limit: int) -> Sequence[str]:
    found: list[str] = []
    page: Page[Batch] | None = None
    while page is None or page.has_more:
        page = await provider.list_batches(after=None if page is None else page.last_id, limit=limit, options=PLAIN)
        assert len(page) <= limit
        assert len(page) or not page.has_more
        found += [batch.id for batch in page]
    return found


async def _assert_lines_add_up(provider: Provider, batch: Batch, outputs: Sequence[OutputFile]) -> None:
    """Lines read one by one, as traces of requests show them, have the usage and cost of the batch."""
    whole = await meter_outputs(
        outputs, Job(provider=provider.name, endpoint=batch.endpoint, model=batch.model, prices=embedded())
    )
    about: dict[str, Any] = {
        "id": "",
        "time": datetime.now(UTC),
        "account": provider.account,
        "provider": provider.name,
    }
    event = BatchSucceeded(
        **about, batch_id=batch.id, batch=batch, endpoint=batch.endpoint, status=batch.status, rates=whole.rates
    )
    pricer, lines = LinePricer(event), list[PricedLine]()
    for file_id in filter(None, dict.fromkeys((batch.output_file_id, batch.error_file_id))):
        lines += [*pricer.feed(await read_file(provider, file_id)), *pricer.end_file()]
    costs = [line.cost for line in lines if line.cost is not None]
    if lines:
        assert len({line.custom_id for line in lines}) == whole.lines.total
        assert sum((line.usage for line in lines), Usage()) == whole.usage
        assert (sum(costs) if len(costs) == len(lines) else None) == whole.cost.total
