"""`@batchmeter.on`: plain functions as loggers, before and after the client is there."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batchmeter
from batchmeter.errors import UsageError
from batchmeter.faces.callbacks import AnyFunction
from batchmeter.testing.sandbox import Sandbox

COMPLETIONS = "/v1/chat/completions"
heard: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def default_client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    heard.clear()
    yield
    batchmeter.close()


@pytest.fixture
def register() -> Iterator[Callable[[Any], Any]]:
    """Registered functions are forgotten at the test's end."""
    functions: list[AnyFunction] = []

    def keep(function: AnyFunction) -> AnyFunction:
        functions.append(function)
        return function

    yield keep
    for function in functions:
        batchmeter.off(function)


def run_batch(requests: bytes, **metadata: str) -> str:
    file = batchmeter.create_file(file=requests)
    batch = batchmeter.create_batch(input_file_id=file.id, endpoint=COMPLETIONS, metadata=metadata)
    batchmeter.wait_batch(batch.id)
    return batch.id


def success(event: batchmeter.BatchSucceeded) -> None:
    heard.append((event.type, event.batch_id))


async def failure(event: batchmeter.BatchFailed) -> None:
    heard.append((event.type, event.batch_id))


def every(any_name_will_do: batchmeter.Event) -> None:
    heard.append((any_name_will_do.type, any_name_will_do.batch_id))


def test_before_the_default_client_exists(register: Callable[[Any], Any], requests: bytes) -> None:
    assert batchmeter.on("batch_success")(register(success)) is success
    batchmeter.on("batch_failure")(register(failure))
    good, bad = run_batch(requests), run_batch(requests, sandbox="outcome=expired")
    batchmeter.close()
    assert heard == [("batch_success", good), ("batch_failure", bad)]


def test_after_the_default_client_exists(register: Callable[[Any], Any], requests: bytes) -> None:
    batchmeter.list_batches()
    batchmeter.on(register(every))
    batch_id = run_batch(requests)
    batchmeter.close()
    assert heard == [("acreate_batch", batch_id), ("batch_success", batch_id)]


def test_stacked_and_listed_types_add_up(register: Callable[[Any], Any], requests: bytes) -> None:
    batchmeter.on("acreate_batch")(batchmeter.on("batch_success", "batch_failure")(register(every)))
    batch_id = run_batch(requests)
    batchmeter.close()
    assert heard == [("acreate_batch", batch_id), ("batch_success", batch_id)]


def test_one_that_raises_is_asked_again(register: Callable[[Any], Any], requests: bytes) -> None:
    again = threading.Event()

    def stumble(event: batchmeter.BatchSucceeded) -> None:
        heard.append((event.type, event.id))
        if len(heard) == 1:
            raise batchmeter.RetryLater("not yet", after=0.01)
        again.set()

    batchmeter.on("batch_success", name="stumble")(register(stumble))
    run_batch(requests)
    assert again.wait(20)
    batchmeter.close()
    assert len(heard) == 2
    assert heard[0] == heard[1], "the same event, with the same id"


def test_off_is_off(register: Callable[[Any], Any], requests: bytes) -> None:
    batchmeter.on(register(every))
    batchmeter.list_batches()
    batchmeter.off(every)
    batchmeter.off(every)
    run_batch(requests)
    batchmeter.close()
    assert heard == []


def test_the_ledger_keeps_what_was_due_for_the_same_function_s_return(
    register: Callable[[Any], Any], requests: bytes
) -> None:
    def away(event: batchmeter.Event) -> None:
        raise batchmeter.RetryLater("closed for today", after=0.01)

    batchmeter.on("batch_success", name="night")(register(away))
    batch_id = run_batch(requests)
    batchmeter.close()
    come = threading.Event()

    def back(event: batchmeter.BatchSucceeded) -> None:
        heard.append((event.type, event.batch_id))
        come.set()

    batchmeter.on("batch_success", name="night")(register(back))
    batchmeter.list_batches()
    assert come.wait(20)
    assert heard == [("batch_success", batch_id)]


def test_clients_of_one_s_own_hear_too(
    register: Callable[[Any], Any], requests: bytes, sandbox: Sandbox, tmp_path: Path
) -> None:
    batchmeter.on("batch_success")(register(success))
    with batchmeter.Client(ledger=tmp_path / "other.db") as client:
        assert f"on:{__name__}.success@{__file__}" in client.plugins.loggers
        file = client.files.create(file=requests)
        batch = client.batches.create(input_file_id=file.id, endpoint=COMPLETIONS)
        client.batches.wait(batch.id)
    assert heard == [("batch_success", batch.id)]


def test_mistakes_say_what_is_wrong() -> None:
    with pytest.raises(batchmeter.BatchmeterError, match="no event type 'batch_succes'; did you mean 'batch_success'"):
        batchmeter.on("batch_succes")(success)  # type: ignore[call-overload]
    with pytest.raises(batchmeter.BatchmeterError, match="name='…'"):
        batchmeter.on("batch_success")(lambda event: None)
    with pytest.raises(batchmeter.BatchmeterError, match="decorates a function, not str"):
        batchmeter.on("batch_success")("success")  # type: ignore[type-var]


class Team:
    def __init__(self, name: str) -> None:
        self.name = name

    def tell(self, event: batchmeter.Event) -> None:
        heard.append((self.name, event.batch_id))


def test_a_method_is_turned_off_again(requests: bytes) -> None:
    team = Team("a")
    batchmeter.on(team.tell)
    batchmeter.off(team.tell)
    run_batch(requests)
    batchmeter.close()
    assert heard == []


def test_two_objects_need_two_names(register: Callable[[Any], Any], requests: bytes) -> None:
    """Under one name the second would take the place of the first, which would hear nothing."""
    first, second = Team("a"), Team("b")
    batchmeter.on("batch_success")(register(first.tell))
    with pytest.raises(UsageError, match="for another object: say name="):
        batchmeter.on(second.tell)
    batchmeter.on("batch_success", name="b")(register(second.tell))
    batch_id = run_batch(requests)
    batchmeter.close()
    assert sorted(heard) == [("a", batch_id), ("b", batch_id)]


def test_two_closures_need_two_names(register: Callable[[Any], Any]) -> None:
    def make(channel: str) -> AnyFunction:
        def tell(event: batchmeter.Event) -> None:
            heard.append((channel, event.batch_id))

        return tell

    register(batchmeter.on(make("x")))
    with pytest.raises(UsageError, match="for another object"):
        batchmeter.on(make("y"))


def test_a_generator_is_refused() -> None:
    async def tell(event: batchmeter.Event) -> Any:
        yield event

    with pytest.raises(UsageError, match="has a `yield`"):
        batchmeter.on(tell)
