"""The verdict on batch input files: OpenAI's codes, the line, and what to do; the same for every chunking."""

import gzip
import json
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter.errors import InvalidInputError, UsageError
from batchmeter.inputs import InputChecker, InputLimits, InputSummary, check_file, check_path

CHAT = "/v1/chat/completions"


def line(number: int, **changes) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    request = {"custom_id": f"r-{number}", "method": "POST", "url": CHAT, "body": body} | changes
    return json.dumps({name: value for name, value in request.items() if value is not ...}).encode()


def check(*lines: bytes, endpoint: str | None = None, limits: InputLimits | None = None) -> InputSummary:
    checker = InputChecker(endpoint, limits or InputLimits())
    checker.feed(b"\n".join(lines))
    return checker.close()


def body(**changes) -> dict:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]} | changes


def test_a_good_file_has_nothing_to_say():
    summary = check(*(line(number) for number in range(1000)), b"")
    assert summary.ok
    assert (summary.lines, summary.models, summary.endpoint) == (1000, ("gpt-4o-mini",), CHAT)
    assert summary.bytes == sum(len(line(number)) + 1 for number in range(1000))
    summary.check("good.jsonl")


@pytest.mark.parametrize(
    ("bad", "code", "param", "says"),
    [
        (b"{", "invalid_json_line", None, "one line"),
        (b'{"custom_id": }', "invalid_json_line", None, "not JSON"),
        (b"[1]", "invalid_json_line", None, "one request per line"),
        (line(2) + b" " + line(3), "invalid_json_line", None, "Extra data"),
        (line(2).replace(b"hi", b"caf\xe9"), "invalid_json_line", None, "0xe9"),
        (b'{"a":' * 100_000, "invalid_json_line", None, "nested"),
        (line(1), "duplicate_custom_id", "custom_id", "line 1"),
        (line(2, custom_id=...), "missing_required_parameter", "custom_id", "no `custom_id`"),
        (line(2, custom_id=7), "missing_required_parameter", "custom_id", "7"),
        (line(2, body=...), "missing_required_parameter", "body", "no `body`"),
        (line(2, body={"model": "gpt-4o-mini"}), "missing_required_parameter", "body.messages", "`messages`"),
        (line(2, body=body(messages=None)), "missing_required_parameter", "body.messages", "`messages`"),
        (line(2, body={"messages": []}), "missing_required_parameter", "body.model", "`model`"),
        (line(2, body=body(model=5)), "invalid_type", "body.model", "5"),
        (line(2, body=body(model="gpt-4o")), "mismatched_model", "body.model", "one file per model"),
        (line(2, body=body(stream=True)), "streaming_unsupported", "body.stream", "leave it out"),
        (line(2, method="GET"), "invalid_method", "method", "POST"),
        (line(2, url="/v1/nothing"), "invalid_url", "url", CHAT),
        (line(2, url="/v1/responses"), "url_mismatch", "url", "one file per endpoint"),
    ],
)
def test_one_bad_line_is_named_with_its_code(bad, code, param, says):
    summary = check(line(1), bad, line(9))
    [problem] = summary.problems
    assert (problem.code, problem.param, problem.line) == (code, param, 2)
    assert says in problem.message
    assert summary.lines == 3


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("url", "request_body", "param"),
    [
        ("/v1/embeddings", {"model": "m"}, "body.input"),
        ("/v1/completions", {"model": "m"}, "body.prompt"),
        ("/v1/moderations", {"model": "m"}, "body.input"),
        ("/v1/images/generations", {"model": "m"}, "body.prompt"),
        ("/v1/responses", {"input": "x"}, "body.model"),
    ],
)
def test_every_endpoint_has_its_own_required_parameters(url, request_body, param, place):
    good = line(1, url=url, body={"model": "m", "input": "x", "prompt": "x", "messages": []})
    lines = [good, good.replace(b"r-1", b"r-2")]
    lines.insert(place, line(3, url=url, body=request_body))
    [problem] = check(*lines).problems
    assert (problem.code, problem.param, problem.line) == ("missing_required_parameter", param, place + 1)


def test_the_batchs_endpoint_counts_where_it_is_given():
    [problem] = check(line(1), endpoint="/v1/responses").problems
    assert problem.code == "url_mismatch"


def test_moderations_need_no_model():
    lines = [line(number, url="/v1/moderations", body={"input": "x"}) for number in range(3)]
    summary = check(*lines)
    assert summary.ok
    assert summary.models == ()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\xef\xbb\xbf" + line(1), "byte order mark"),
        (line(1).decode().encode("utf-16"), "UTF-16"),
        (gzip.compress(line(1)), "gzipped"),
        (b"[" + line(1) + b"]", "JSON array"),
        (json.dumps([json.loads(line(1))], indent=1).encode(), "JSON array"),
        (json.dumps(json.loads(line(1)), indent=1).encode(), "several lines"),
    ],
)
def test_a_file_of_another_kind_is_recognised(raw, says):
    [problem] = check(raw).problems
    assert (problem.code, problem.line) == ("invalid_json_line", 1)
    assert says in problem.message


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"  \r\n"])
def test_an_empty_file_says_so(raw):
    [problem] = check(raw).problems
    assert (problem.code, problem.line) == ("empty_file", None)


def test_blank_lines_and_crlf_are_no_requests_and_no_problems():
    checker = InputChecker()
    checker.feed(line(1) + b"\r\n\r\n" + line(2) + b"\r\n")
    checker.feed(line(2))
    summary = checker.close()
    assert summary.lines == 3
    assert [problem.line for problem in summary.problems] == [4]


def test_line_separators_inside_strings_end_no_line():
    text = json.dumps(json.loads(line(1)) | {"custom_id": "a\u2028b\u0085c"}, ensure_ascii=False).encode()
    assert check(text, line(2)).lines == 2
    assert check(text, line(2)).ok


@pytest.mark.parametrize("oddity", [b"NaN", b"-Infinity", b'"\\ud83d"'])
def test_what_only_some_readers_take_is_a_warning(oddity):
    summary = check(line(1), line(2, body=body(seed="ODD")).replace(b'"ODD"', oddity))
    assert summary.ok
    [warning] = summary.warnings
    assert (warning.code, warning.line) == ("not_interoperable", 2)


def test_the_first_twenty_problems_are_told_and_the_others_counted():
    summary = check(line(0), *(line(number, method="PUT") for number in range(1, 31)))
    assert (len(summary.problems), summary.more) == (20, 10)
    with pytest.raises(InvalidInputError, match=r"in\.jsonl is not a valid(.|\n)*line 2: (.|\n)*and 10 more"):
        summary.check("in.jsonl")


def test_several_faults_of_one_line_are_all_told():
    problems = check(line(1), line(2, method="GET", body={"stream": True})).problems
    assert [problem.param for problem in problems] == ["method", "body.model", "body.messages", "body.stream"]
    assert {problem.custom_id for problem in problems} == {"r-2"}


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (InputLimits(lines=3), "too_many_lines"),
        (InputLimits(bytes=500), "file_too_large"),
        (InputLimits(line_bytes=50), "line_too_long"),
    ],
)
def test_limits_are_the_providers(limits, code):
    summary = check(*(line(number) for number in range(6)), limits=limits)
    assert summary.problems[0].code == code
    assert summary.lines == 6


def test_embedding_inputs_are_counted_over_all_lines():
    def embed(number: int, given: object) -> bytes:
        return line(number, url="/v1/embeddings", body={"model": "m", "input": given})

    inputs = [embed(1, "one"), embed(2, ["a", "b"]), embed(3, [1, 2, 3]), embed(4, [[1], [2]])]
    assert check(*inputs, limits=InputLimits(embedding_inputs=6)).ok
    [problem] = check(*inputs, limits=InputLimits(embedding_inputs=5)).problems
    assert (problem.code, problem.line) == ("too_many_inputs", 4)


@pytest.mark.parametrize("value", [5, True, {"text": "hi"}])
def test_an_embedding_input_of_another_type_is_a_problem_like_any(value):
    url = "/v1/embeddings"
    lines = [line(n, url=url, body={"model": "m", "input": what}) for n, what in enumerate(["a", "b", value, "c"])]
    checker = InputChecker()
    checker.feed(lines[0] + b"\n")
    checker.feed(b"".join(each + b"\n" for each in lines[1:]))
    summary = checker.close()
    (problem,) = summary.problems
    assert (problem.code, problem.line, problem.custom_id, problem.param) == ("invalid_type", 3, "r-2", "body.input")
    assert "list of texts" in problem.message
    assert summary.lines == 4


def test_other_providers_may_mix_models_and_urls_of_their_own():
    limits = InputLimits(endpoints=None, one_model=False)
    summary = check(line(1, url="/x"), line(2, url="/x", body=body(model="other")), limits=limits)
    assert summary.ok
    assert summary.models == ("gpt-4o-mini", "other")


pieces = st.sampled_from(
    [
        line(1),
        line(2),
        line(3, method="GET"),
        b"{",
        b"",
        b" ",
        b"\r",
        line(4, body=body(seed=1.5)),
        b'{"a": NaN}',
        b"\xff",
        line(5) + line(6),
        line(7).replace(b"hi", b"\xff"),
        line(8).replace(b"hi", "\u00e9".encode()),
        *line(9).split(b' "body"'),
    ]
)

SIZES = [(120, 400), (300, 400), (10_000, 200), (10_000, 5_000)]
"""Of the file and of a line. Lines are taken many at once where a chunk is no longer than a line may be."""


@given(st.lists(pieces, max_size=12), st.randoms(use_true_random=False), st.sampled_from(SIZES))
def test_chunk_borders_change_nothing(lines: list[bytes], rng: random.Random, sizes: tuple[int, int]):
    raw = b"\n".join(lines)
    limits = InputLimits(bytes=sizes[0], line_bytes=sizes[1], lines=8)
    whole, cut, trickled = (InputChecker(limits=limits) for _ in range(3))
    for checker in (whole, cut, trickled):
        checker.feed(line(0) + b"\n")
    whole.feed(raw)
    for byte in raw:
        trickled.feed(bytes([byte]))
    assert trickled.close() == whole.close()
    at = 0
    while at < len(raw):
        step = rng.randint(1, 200)
        cut.feed(raw[at : at + step])
        at += step
    assert cut.close() == whole.close()


def test_two_objects_on_a_line_and_one_over_two_lines_are_both_found():
    start, end = line(5).split(b' "body"')
    for bad in (line(3) + line(4) + b"\n" + b"\n", line(3) + line(4) + b"\n" + start + b'\n"body"' + end + b"\n"):
        checker = InputChecker()
        checker.feed(line(1) + b"\n")
        checker.feed(line(2) + b"\n" + bad + line(6) + b"\n")
        assert checker.close().problems[0].line == 3


def test_many_lines_in_one_chunk_are_numbered_like_single_ones():
    checker = InputChecker()
    checker.feed(line(0) + b"\n")
    checker.feed(b"".join(line(number) + b"\n" for number in [*range(1, 500), 7, *range(500, 900)]))
    summary = checker.close()
    assert [(problem.line, problem.custom_id) for problem in summary.problems] == [(501, "r-7")]
    assert "line 8" in summary.problems[0].message
    assert summary.lines == 901


def test_text_that_is_not_utf8_is_found_among_many_lines():
    checker = InputChecker()
    checker.feed(line(0) + b"\n")
    checker.feed(line(1) + b"\n" + line(2).replace(b"hi", b"\xff") + b"\n" + line(3) + b"\n")
    summary = checker.close()
    assert [(problem.code, problem.line) for problem in summary.problems] == [("invalid_json_line", 3)]
    assert summary.lines == 4


def test_memory_stays_flat_however_long_a_line_is():
    checker = InputChecker(limits=InputLimits(line_bytes=1_000_000))
    chunk = b"x" * 65_536
    tracemalloc.start()
    for _ in range(640):
        checker.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
    assert [problem.code for problem in checker.close().problems] == ["line_too_long"]


async def test_a_file_on_disk(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(line(1) + b"\n" + line(2))
    assert check_path(path) == await check_file(path, CHAT)
    assert check_path(path).lines == 2
    with pytest.raises(UsageError, match="cannot read .*absent"):
        check_path(tmp_path / "absent")
