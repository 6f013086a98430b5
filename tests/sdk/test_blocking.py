"""Client: the sync twin of AsyncClient."""

from pathlib import Path

from batchmeter import Client
from batchmeter.config import Settings
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import sandbox_thread


def test_a_batch_from_upload_to_events_without_an_event_loop(requests: Path, log: Recorder) -> None:
    with sandbox_thread() as sandbox:
        settings = Settings(
            ledger=":memory:", load=(), accounts={"openai": {"api_key": "k", "api_base": sandbox.url}}
        )  # fmt: skip
        with Client(settings=settings, plugins=[log], environ={}) as client:
            file = client.files.create(file=requests)
            batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
            settlement = client.batches.wait(batch.id, timeout=30)
            assert client.batches.settlement(batch.id) == settlement
            assert [listed.id for listed in client.batches.list()] == [batch.id]
            with client.files.stream(file.id) as chunks:
                assert b"".join(chunks) == requests.read_bytes()
            assert client.files.content(file.id).read() == requests.read_bytes()
    assert settlement.request_counts.succeeded == 20
    assert log.types == ["acreate_batch", "batch_success"]


def test_a_client_that_was_never_used_closes_quietly() -> None:
    with Client(settings=Settings(ledger=":memory:", load=()), environ={}):
        pass
