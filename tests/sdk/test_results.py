"""`batches.results`: a finished batch's answers by custom_id, with requests, as frames, arrays and a notebook's table."""

import base64
import json
import struct

import pytest

import batchmeter
from batchmeter import Client, Result, Results
from batchmeter.errors import UsageError
from batchmeter.testing.sandbox import sandbox_thread

from .conftest import write_requests


async def submitted(client, path) -> str:
    file = await client.files.create(path)
    batch = await client.batches.create(endpoint="/v1/chat/completions", input_file_id=file.id)
    return batch.id


async def test_results_of_a_batch_by_its_id(make_client, sandbox, requests) -> None:
    async with make_client(sandbox.url) as client:
        batch_id = await submitted(client, requests)
        await client.batches.wait(batch_id)
        results = await client.batches.results(batch_id)
        assert set(results) == {f"r-{number}" for number in range(20)}
        assert results["r-3"].text
        assert results["r-3"].request is None
        assert results.cost == (await client.batches.settlement(batch_id)).cost
        each = [result async for result in client.batches.iter_results(batch_id, requests=True)]
    assert [result.custom_id for result in each] == [f"r-{number}" for number in range(20)]
    assert each[7].request["messages"][0]["content"] == "question 7"
    assert each[7].text == results["r-7"].text


async def test_another_program_s_batch_is_settled_for_its_results(make_client, sandbox, requests, tmp_path) -> None:
    async with make_client(sandbox.url) as client, make_client(sandbox.url, ledger=str(tmp_path / "2.db")) as other:
        batch_id = await submitted(client, requests)
        await client.batches.wait(batch_id)
        results = await other.batches.results(batch_id, requests=True)
        assert await other.batches.settlement(batch_id) == results.settlement
    assert len(results) == 20


async def test_results_of_an_open_batch_are_refused(make_client, requests) -> None:
    with sandbox_thread(speed=1) as slow:
        async with make_client(slow.url) as client:
            batch_id = await submitted(client, requests)
            with pytest.raises(UsageError, match="wait for it first"):
                await client.batches.results(batch_id)


def test_results_without_a_loop(tmp_path, monkeypatch) -> None:
    with sandbox_thread() as sandbox:
        monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        path = write_requests(tmp_path / "requests.jsonl", 3)
        with Client() as client:
            batch = client.batches.create(input_file_id=client.files.create(path).id, endpoint="/v1/chat/completions")
            client.batches.wait(batch.id)
            results = client.batches.results(batch.id)
            each = client.batches.iter_results(batch.id)
            assert next(each).custom_id in results
            each.close()
        assert batchmeter.batch_results(batch.id, requests=True)["r-1"].request is not None
        batchmeter.close()


@pytest.fixture
def embedded(monkeypatch):
    with sandbox_thread() as sandbox:
        monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        yield batchmeter.run(["one", "two"], model="text-embedding-3-small", endpoint="/v1/embeddings")
        batchmeter.close()


def test_embeddings_are_an_array_in_input_order(embedded) -> None:
    array = embedded.embeddings()
    assert array.dtype == "float32"
    assert array.shape == (2, len(embedded["request-0"].embeddings[0]))
    assert array[1].tolist() == pytest.approx(embedded["request-1"].embeddings[0])


def result_of(data: object) -> Result:
    line = {"custom_id": "a", "response": {"status_code": 200, "body": {"data": data}}}
    read = Result.read(json.dumps(line).encode())
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([{"index": 0, "embedding": [0.5, 1]}], [[0.5, 1.0]]),
        ([{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}], [[1.0], [2.0]]),
        ([{"index": 0, "embedding": base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()}], [[0.5, -2.0]]),
        ("nothing", []),
        ([1, {"index": None, "embedding": [2]}, {"index": 1, "embedding": [3]}], [[2.0], [3.0]]),
    ],
)
def test_embeddings_of_one_answer(data: object, expected: object) -> None:
    assert result_of(data).embeddings == expected


def test_requests_of_several_texts_have_no_single_row(embedded) -> None:
    several = result_of([{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [2]}])
    with pytest.raises(UsageError, match=r"'a' has several texts"):
        Results(["a"], {"a": several}, embedded.settlement).embeddings()
    array = Results(["a", "b"], {"a": result_of([{"embedding": [1, 2]}])}, embedded.settlement).embeddings()
    assert str(array.tolist()) == "[[1.0, 2.0], [nan, nan]]"


def test_frames_have_a_row_a_request(embedded) -> None:
    some = Results(["gone", *embedded], {name: embedded[name] for name in embedded}, embedded.settlement)
    pandas, polars = some.to_pandas(), some.to_polars()
    assert list(pandas.columns) == polars.columns == ["custom_id", "text", "error", "body"]
    assert pandas["custom_id"].tolist() == polars["custom_id"].to_list() == ["gone", "request-0", "request-1"]
    assert polars["error"].is_null().to_list() == [False, True, True]
    assert json.loads(polars["body"][1]) == pandas["body"][1] == embedded["request-0"].body
    assert Results([], {}, embedded.settlement).to_pandas().columns.tolist() == ["custom_id", "text", "error", "body"]


def test_a_notebook_shows_a_table_that_is_inert(embedded) -> None:
    body = {"choices": [{"message": {"content": "<script>alert(1)</script>" + "x" * 1000}}]}
    results = Results(["<b>"], {"<b>": Result("<b>", body)}, embedded.settlement)
    shown = results._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "&lt;b&gt;" in shown
    assert len(shown) < 1500
    long = Results([str(number) for number in range(30)], {}, embedded.settlement)._repr_html_()
    assert "… and 10 more" in long


def test_a_missing_library_is_one_clear_error(embedded, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(UsageError, match="polars is not installed here: pip install polars"):
        embedded.to_polars()


def test_what_expired_is_retried_from_python(tmp_path, monkeypatch) -> None:
    path = write_requests(tmp_path / "requests.jsonl", 4)
    with sandbox_thread(script="outcome=expired done=0.5") as sandbox:
        monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        file = batchmeter.create_file(path)
        batch = batchmeter.create_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
        batchmeter.wait_batch(batch.id)
        made = batchmeter.retry_batch(batch.id, only=["expired"])
        again = batchmeter.retry_batch(batch.id)
        batchmeter.close()
    assert (made.requests, made.new) == (2, True)
    assert (again.batch.id, again.new) == (made.batch.id, False)
