"""`batch_lines`: a sample of a finished batch's requests, the same each time, priced as the batch, redacted, delivered apart."""

import random
from decimal import Decimal

import pytest

from batchmeter.errors import Rejected, RetryLater
from batchmeter.hookspecs import hookimpl
from batchmeter.models import Usage
from batchmeter.testing.bench import ENDPOINT, open_bench
from batchmeter_traces import BatchLine, LineSample
from batchmeter_traces.sample import Choice, place


class Lines:
    """Keeps each call's lines. Its sample is every line, unless told otherwise."""

    def __init__(self, *errors, **sample) -> None:
        self.line_sample = LineSample(**{"ratio": 1.0, **sample})
        self.calls, self.errors = [], list(errors)

    @hookimpl
    async def batch_lines(self, event, lines):
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append((event, lines.total, lines.failed, lines.unavailable, [line async for line in lines]))

    @property
    def lines(self) -> list[BatchLine]:
        (call,) = self.calls
        return call[-1]


class Blocking(Lines):
    """The same as a plain `def`, which runs in a thread."""

    @hookimpl
    def batch_lines(self, event, lines):
        self.calls.append((event, lines.total, lines.failed, lines.unavailable, list(lines)))


async def run(*plugins, passes=1, **batch):
    async with open_bench(*plugins) as bench:
        settlement = await bench.submit(**batch)
        await bench.deliver(passes=passes)
        return await bench.look(settlement)


@pytest.mark.parametrize("kind", [Lines, Blocking])
async def test_lines_add_up_to_their_batch(kind):
    logger = kind()
    done = await run(logger, requests=12, script="fail=0.3")
    ((event, total, failed, unavailable, lines),) = logger.calls
    assert (total, failed, unavailable, len(lines)) == (12, event.request_counts.failed, (), 12)
    assert 0 < failed < 12
    assert sum(line.cost for line in lines) == event.cost.total > 0
    assert sum((line.usage for line in lines), Usage()) == event.usage
    assert [line.reason for line in lines] == ["failed"] * failed + ["dearest"] * (12 - failed)
    assert {line.failed for line in lines[:failed]} == {True}
    assert {line.model for line in lines[failed:]} == set(event.models)
    assert {(line.request, line.response, line.left_out) for line in lines} == {(None, None, ())}
    done.assert_delivered()


async def test_delivery_is_apart_and_the_same_each_time():
    logger = Lines(RetryLater("busy", after=1), OSError("gone"))
    async with open_bench(logger) as bench:
        await bench.submit(requests=5)
        await bench.deliver()
        deliveries = await bench.deliveries()
        await bench.replay()
        kinds = {one.name: one.kinds for one in await bench.client.ledger.subscriptions()}
    name = f"{__name__}.Lines"
    assert [(one.logger, one.stored.event.type, one.state) for one in deliveries] == [
        (f"{name}.batch_lines", "batch_success", "delivered")
    ]
    assert kinds[f"{name}.batch_lines"] == {"batch_success", "batch_failure"}
    first, second = (call[-1] for call in logger.calls)
    assert first == second
    assert len({line.id for line in first}) == 5


async def test_a_refusal_is_a_dead_delivery_of_its_own():
    class Both(Lines):
        @hookimpl
        def batch_success(self, event):
            """The other logger has no trouble."""

    done = await run(Both(Rejected("never")), requests=2)
    assert {one.logger.rpartition(".")[2]: one.state for one in done.deliveries} == {
        "Both": "delivered",
        "batch_lines": "dead",
    }


async def test_a_logger_that_wants_no_lines_any_more_is_owed_none():
    logger, name = Lines(), f"{__name__}.Lines"
    async with open_bench(logger) as bench:
        await bench.submit(requests=2)
        logger.unsubscribed = ("batch_lines",)
        bench.client.plugins.unregister(name)
        bench.client.plugins.register(logger, name)
        await bench.submit(requests=2)
        await bench.deliver()
        ended = {one.name: one.ended_at for one in await bench.client.ledger.subscriptions()}
        states = [one.state for one in await bench.deliveries()]
    assert ended[f"{name}.batch_lines"] is not None
    assert (states, logger.calls) == (["dead"], [])


async def test_a_failed_batch_has_its_failed_lines():
    logger = Lines()
    await run(logger, requests=6, script="outcome=expired done=0.5")
    assert {line.reason for line in logger.lines} == {"failed", "dearest"}
    assert {line.error_code for line in logger.lines if line.failed} == {"batch_expired"}


async def test_content_comes_when_asked_for_and_passes_redact():
    class Redactor:
        @hookimpl
        def redact(self, event):
            if not isinstance(event, BatchLine):
                return None
            return event.model_copy(update={"request": "***" if event.request else None})

    open_one, masked, small = Lines(content=True), Lines(content=True), Lines(content=True, content_bytes=100)
    await run(open_one, requests=3, script="fail=0.4")
    await run(masked, Redactor(), requests=3)
    await run(small, requests=3)
    assert {line.request["messages"][0]["role"] for line in open_one.lines} == {"user"}
    good = next(line for line in open_one.lines if not line.failed)
    assert good.response["choices"][0]["message"]["role"] == "assistant"
    assert {line.request for line in masked.lines} == {"***"}
    assert {line.left_out for line in small.lines} == {("request", "response")}


async def test_a_redactor_that_fails_holds_lines_back():
    class Broken:
        @hookimpl
        def redact(self, event):
            if isinstance(event, BatchLine):
                raise RuntimeError("cannot tell")  # noqa: TRY004 - any error

    logger = Lines()
    done = await run(logger, Broken(), requests=2)
    (held,) = (one for one in done.deliveries if one.logger.endswith("batch_lines"))
    assert (held.state, logger.calls) == ("pending", [])
    assert "cannot tell" in (held.last_error or "")


async def test_half_a_character_stops_no_delivery():
    """Both cases of hexadecimal digits; a whole pair stays one."""
    texts = (r"\ud83d", r"\uD83D", r"\uD83D\uDE00", r"\uDE00 after")
    body = r'{"custom_id": "%s", "method": "POST", "url": "%s", "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "%s"}]}}'
    rows = [body % (f"r{number}", ENDPOINT, text) for number, text in enumerate(texts)]
    logger = Lines(content=True)
    async with open_bench(logger) as bench:
        file = await bench.client.files.create(file=("half.jsonl", "\n".join(rows).encode()), purpose="batch")
        made = await bench.client.batches.create(input_file_id=file.id, endpoint=ENDPOINT)
        await bench.client.batches.wait(made.id, timeout=60)
        await bench.deliver(passes=1)
    contents = {line.custom_id: line.request["messages"][0]["content"] for line in logger.lines}
    assert contents == {"r0": "?", "r1": "?", "r2": "\N{GRINNING FACE}", "r3": "? after"}


async def test_a_deleted_file_is_a_reason_and_no_dead_delivery():
    gone, half = Lines(content=True), Lines(content=True)
    for logger, files in ((gone, ("output_file_id", "input_file_id")), (half, ("input_file_id",))):
        async with open_bench(logger) as bench:
            settlement = await bench.submit(requests=3)
            for name in files:
                await bench.client.files.delete(getattr(settlement.batch, name))
            await bench.deliver(passes=1)
            (delivery,) = await bench.deliveries()
            assert delivery.state == "delivered"
    ((_, _, _, why, lines),) = gone.calls
    assert lines == []
    assert "output file" in why[0]
    assert "is gone at its provider" in why[0]
    assert {line.left_out for line in half.lines} == {("request",)}
    assert "input file" in half.calls[0][3][0]


SAMPLES = [
    # sample, lines that are chosen of 300: 100 failed, 200 that cost 0..199
    ({"failed": 10, "dearest": 0}, {"failed": 10}),
    ({"failed": 1000, "dearest": 5}, {"failed": 100, "dearest": 5}),
    ({"failed": 0, "dearest": 5, "ratio": 1.0}, {"dearest": 5, "ratio": 195}),
    ({"failed": 0, "dearest": 5, "ratio": 1.0, "most": 20}, {"dearest": 5, "ratio": 15}),
    ({"failed": 50, "dearest": 50, "most": 60}, {"failed": 50, "dearest": 10}),
    ({"failed": 0, "dearest": 0}, {}),
]


@pytest.mark.parametrize(("sample", "expected"), SAMPLES)
def test_a_choice_depends_on_the_lines_alone(sample, expected):
    found = []
    for seed in (1, 2):
        choice = Choice[str](LineSample(**sample))
        order = list(range(300))
        random.Random(seed).shuffle(order)
        for number in order:
            name, cost = f"r-{number}", Decimal(number) if number < 200 else None
            wanted = choice.wanted(place("a", "b", name), failed=number >= 200, cost=cost, tokens=1)
            choice.add(wanted, name, name)
        found.append(list(choice.chosen()))
    assert found[0] == found[1]
    assert {kind: [reason for reason, _ in found[0]].count(kind) for kind in expected} == expected
    assert len(found[0]) == sum(expected.values())
    dearest = [name for reason, name in found[0] if reason == "dearest"]
    assert dearest == [f"r-{199 - rank}" for rank in range(len(dearest))]


def test_a_ratio_is_about_that_share():
    choice = Choice[int](LineSample(dearest=0, ratio=0.1))
    for number in range(5000):
        choice.add(choice.wanted(place("a", "b", str(number)), failed=False, cost=None, tokens=0), str(number), number)
    assert 400 < len(list(choice.chosen())) < 600
