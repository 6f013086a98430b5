"""Whether a batch answered everything is said of files that are there, and whole."""

import pytest

from batchmeter.errors import UsageError
from batchmeter.rerun.completeness import check


def line_of(custom_id):
    return (
        b'{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n' % custom_id.encode()
    )


@pytest.fixture
def provider(world):
    provider = world.provider()
    provider.files["in"] = [line_of("a") + line_of("b") + line_of("c")]
    provider.files["out"] = [world.line("a") + world.line("b") + world.line("c")]
    return provider


def ended(world, **fields):
    return world.batch(**{"request_counts": {"total": 3, "completed": 3, "failed": 0}} | fields)


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
async def test_nothing_is_missing_from_files_that_are_not_listed_yet(world, provider, status):
    batch = ended(world, status=status, output_file_id=None)
    with pytest.raises(UsageError, match="lists no file with its answers yet"):
        await check(provider, batch, "in")


async def test_a_failed_batch_has_no_files_to_wait_for(world, provider):
    counts = {"total": 0, "completed": 0, "failed": 0}
    batch = world.batch(status="failed", output_file_id=None, request_counts=counts)
    assert (await check(provider, batch, "in")).missing_ids == ("a", "b", "c")


async def test_unlisted_answers_are_missing_once_the_batch_is_settled(world, provider):
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, output_file_id=None)]
    await world.until_settled(world.tracker())
    settled, _ = await world.ledger.settlement("batch_1")
    found = await check(provider, settled.batch, "in", settled)
    assert (found.missing, found.unread) == (3, 0)


@pytest.mark.parametrize(
    ("content", "unread"),
    [
        (["a", "b", "c"], 0),
        (["a"], 2),
        (["a", "a"], 2),
        (["a", "b", '{"custom_id": "c", "resp'], 0),
        (["a", '{"custom_id": "b", "resp'], 1),
    ],
    ids=["whole", "cut between lines", "one line twice", "last line cut", "cut within a line"],
)
async def test_answers_that_a_file_should_have_are_unread(world, provider, content, unread):
    lines = [world.line(one) if len(one) == 1 else one.encode() for one in content]
    provider.files["out"] = [b"".join(lines)]
    found = await check(provider, ended(world), "in")
    assert found.unread == unread
    assert found.complete is (content == ["a", "b", "c"])


async def test_what_was_metered_is_what_a_settled_batch_has(world, provider):
    """Its provider counts three, its file has always had two."""
    await world.submitted()
    provider.batches["batch_1"] = [ended(world)]
    provider.files["out"] = [world.line("a") + world.line("b")]
    await world.until_settled(world.tracker())
    settled, _ = await world.ledger.settlement("batch_1")
    found = await check(provider, settled.batch, "in", settled)
    assert (found.missing_ids, found.unread) == (("c",), 0)
    provider.files["out"] = [world.line("a")]
    found = await check(provider, settled.batch, "in", settled)
    assert (found.missing_ids, found.unread) == (("b", "c"), 1)


@pytest.mark.parametrize(
    ("lines", "missing", "duplicates"), [("abc", 0, 0), ("aab", 1, 1), ("aa", 2, 1), ("aabc", 0, 1)]
)
async def test_a_line_that_came_twice_hides_no_missing_one(world, provider, lines, missing, duplicates):
    await world.submitted()
    provider.batches["batch_1"] = [ended(world)]
    provider.files["out"] = [b"".join(map(world.line, lines))]
    event = await world.until_settled(world.tracker())
    assert (event.missing, event.duplicates) == (missing, duplicates)


@pytest.mark.parametrize(
    ("input_file_id", "told"),
    [
        ("https://mine.blob.core.windows.net/in/a.jsonl?sig=secret", r"your own storage \(https://mine[^?]*a\.jsonl\)"),
        (None, "names no input file"),
    ],
)
async def test_an_input_that_cannot_be_read_is_told_before_anything_is(world, provider, input_file_id, told):
    with pytest.raises(UsageError, match=told) as caught:
        await check(provider, ended(world, input_file_id=None), input_file_id)
    assert "secret" not in str(caught.value)
    assert provider.calls == []
