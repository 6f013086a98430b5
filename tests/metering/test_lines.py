"""Bytes to lines: whatever the chunks, the encoding at the edges, and the compression."""

import gzip
import itertools
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter.metering import lines as longline
from batchmeter.metering.lines import LineSplitter, Unreadable


def split(data: bytes, *cuts: int, max_line: int = 1_000) -> list[bytes | Unreadable]:
    splitter = LineSplitter(max_line)
    edges = [0, *sorted(cuts), len(data)]
    found = [line for a, b in itertools.pairwise(edges) for line in splitter.feed(data[a:b])]
    return [line if isinstance(line, Unreadable) else bytes(line) for line in [*found, *splitter.close()]]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (b"\xef\xbb\xbfa\nb", [b"a", b"b"]),
        (b"\xef\xbb\xbf", [b""]),
        ("a\u2028b\x85c\x0b\x0c\x1e\nd".encode(), ["a\u2028b\x85c\x0b\x0c\x1e".encode(), b"d"]),
        (b"\x1f", [b"\x1f"]),
    ],
)
def test_only_newlines_split(data: bytes, lines: list[bytes]):
    assert split(data) == lines


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_any_chunking_gives_the_same_lines(data: bytes, cuts: list[int], packed: bool):
    data = gzip.compress(data) if packed else data
    if data.startswith(b"\x1f\x8b") and not packed:
        return

    assert split(data, *(cut for cut in cuts if cut <= len(data))) == split(data)


def test_gzip_members_padding_and_bom():
    data = gzip.compress(b"\xef\xbb\xbfa\nb") + gzip.compress(b"c\nd") + b"\0" * 512

    assert split(data) == split(data, *range(len(data))) == [b"a", b"bc", b"d"]


def test_gzip_that_ends_early_gives_what_it_had():
    data = gzip.compress(b"a\n" * 50)

    *lines, end = split(data[:-4])

    assert lines == [b"a"] * 50
    assert end == Unreadable("gzip_truncated", b"")


def test_gzip_that_breaks_is_named_once():
    data = gzip.compress(b"a\n") + b"not gzip at all\n" * 3

    assert split(data) == [b"a", Unreadable("gzip_corrupt", b"")]


def test_a_small_file_that_inflates_to_much_comes_in_pieces():
    splitter = LineSplitter()
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(b"\n" * 300_000) + packer.flush()

    assert len(data) < 1_000
    assert sum(1 for _ in splitter.feed(data)) == 300_000


@pytest.mark.parametrize("cuts", [(), (500,), range(0, 3_000, 7)])
def test_a_line_too_long_is_skipped_and_the_next_one_is_read(cuts: tuple[int, ...]):
    data = b"a\n" + b"x" * 2_000 + b"\nb\n" + b"y" * 1_001

    lines = split(data, *cuts)

    long, last = Unreadable("line_too_long", b"x" * 120), Unreadable("line_too_long", b"y" * 120)
    assert lines == [b"a", long, b"b", last]


def test_a_line_too_long_is_not_held():
    splitter = LineSplitter(max_line=1_000_000)
    for _ in range(100):
        assert list(splitter.feed(b"x" * 100_000)) == []

    assert splitter.held <= 1_100_000


def long_line(text: str, tail: str = '"usage": {"prompt_tokens": 3}') -> bytes:
    return b'{"custom_id": "a", "text": ' + json.dumps(text).encode() + b", " + tail.encode() + b"}"


LONG_TEXTS = {
    "base64": "QUJD" * 1_000_000,
    "quotes and backslashes": 'a "quoted\\" \\\\ word ' * 200_000,
    "backslashes": "\\" * 3_000_000,
    "quotes": '"' * 3_000_000,
    "emoji": "🙂" * 300_000,
    "control characters": "\n\t\x01" * 500_000,
    "looks like usage": '"usage": {"prompt_tokens": 99}, ' * 100_000,
}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_long_line_is_held_small_and_still_says_the_same(name: str):
    data = long_line(LONG_TEXTS[name])

    (line,) = split(data, max_line=10**9)
    again = split(data, *range(0, len(data), 65_536), max_line=10**9)
    shifted = split(data, *range(17, len(data), 99_991), max_line=10**9)

    assert again == shifted == [line]
    assert isinstance(line, bytes)
    found = json.loads(line)
    assert found["usage"] == {"prompt_tokens": 3}
    assert list(found) == ["custom_id", "text", "usage"]
    assert len(line) <= len(data)


def test_a_line_of_one_long_string_needs_little_memory():
    splitter = LineSplitter()
    list(splitter.feed(b'{"text": "'))
    for _ in range(1_000):
        assert list(splitter.feed(b"x" * 65_536)) == []
        assert splitter.held < 2_000_000

    (line,) = splitter.feed(b'", "usage": 1}\n')

    assert json.loads(bytes(line))["usage"] == 1


def test_many_short_strings_are_kept_whole():
    data = json.dumps([{"text": f'item "{n}" \\', "n": n} for n in range(60_000)]).encode()

    assert split(data, *range(0, len(data), 10_007), max_line=10**8) == [data]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(alphabet='\\"abc\n🙂é\x01', max_size=40), min_size=1, max_size=6), st.integers(1, 300))
def test_long_lines_keep_their_shape(words: list[str], unit: int):
    """With units so small that every escape is cut somewhere."""
    value = {str(index): [word * 20, {"n": index}] for index, word in enumerate(words)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longline, "LONG", unit)
        patch.setattr(longline, "UNIT", 16)
        whole = longline.LongLine(json.dumps(value).encode())

    found = json.loads(bytes(whole.text()))

    assert [[entry[1]] for entry in found.values()] == [[entry[1]] for entry in value.values()]
