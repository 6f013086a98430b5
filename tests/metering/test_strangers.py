"""Files that are no output: one error says what each is and how to go on."""

import gzip
import json
import os
from pathlib import Path

import pytest

from batchmeter import ameter, meter
from batchmeter.errors import NotAnOutputError

from . import lines_of
from .prices import FLAT

GOOD = lines_of.openai("m", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
ANSWERLESS = {
    "an input file": ({"custom_id": "a", "method": "POST", "url": "/v1/x", "body": {"model": "m"}}, "input file"),
    "a Claude input file": ({"custom_id": "a", "params": {"model": "m"}}, "input file"),
    "a Gemini input file": ({"key": "a", "request": {"contents": []}}, "input file"),
    "a Bedrock input file": ({"recordId": "a", "modelInput": {}}, "input file"),
    "a batch": ({"id": "batch_1", "object": "batch", "status": "completed"}, "batch object.*output_file_id"),
    "a Claude batch": ({"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}, "batch object"),
    "a manifest": ({"totalRecordCount": 2, "inputTokenCount": 30, "outputTokenCount": 3}, "manifest.*jsonl.out"),
    "an error answer": ({"error": {"message": "No such file object", "code": None}}, "error message.*No such file"),
}


@pytest.mark.parametrize("name", ANSWERLESS)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_without_answers_is_named(tmp_path: Path, name: str, indent: int | None):
    content, message = ANSWERLESS[name]
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(content, indent=indent))

    with pytest.raises(NotAnOutputError, match=f"odd.jsonl .*{message}"):
        meter(path, prices=FLAT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16.*iconv"),
        ('{"a": 1}\n'.encode("utf-16-le"), "UTF-16.*iconv"),
        ('{"a": 1}\n'.encode("utf-16-be"), "UTF-16.*iconv"),
        (b"%PDF-1.7 \n", "PDF"),
        (gzip.compress('{"a": 1}\n'.encode("utf-16"), mtime=0), "UTF-16.*iconv"),
        (gzip.compress(b"<!DOCTYPE html><html>", mtime=0), "HTML.*fetch it again"),
        (gzip.compress(b"[{}]\n" + os.urandom(100_000), mtime=0), "JSON array.*jq"),
        (b"\n [\n{}\n]", "JSON array.*jq"),
        (b"<!DOCTYPE html><html>", "HTML.*fetch it again"),
        (b"PK\x03\x04\x14\x00\x00\x00", "zip archive"),
        (b"\x28\xb5\x2f\xfd\x00\x00\x00\x00", "zstd"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
    ],
)
def test_other_bytes_are_named(content: bytes, message: str):
    with pytest.raises(NotAnOutputError, match=message):
        meter([content[:3], content[3:]], prices=FLAT)


async def test_a_stream_that_is_no_output_is_named():
    with pytest.raises(NotAnOutputError, match="HTML"):
        await ameter([b"<html>"], prices=FLAT)


def test_a_packed_input_file_is_named(tmp_path: Path):
    path = tmp_path / "odd.jsonl.gz"
    path.write_bytes(gzip.compress(lines_of.dump(ANSWERLESS["an input file"][0])))

    with pytest.raises(NotAnOutputError, match="odd.jsonl.gz .*input file"):
        meter(path, prices=FLAT)


def test_an_input_file_among_outputs_is_named(tmp_path: Path):
    output, asked = tmp_path / "output.jsonl", tmp_path / "input.jsonl"
    output.write_bytes(lines_of.dump(GOOD))
    asked.write_bytes(lines_of.dump(ANSWERLESS["an input file"][0]))

    with pytest.raises(NotAnOutputError, match="input.jsonl .*input file"):
        meter([output, asked], prices=FLAT)


def test_a_manifest_beside_its_output_is_read(tmp_path: Path):
    (tmp_path / "a.jsonl.out").write_bytes(lines_of.dump(lines_of.bedrock({"outputs": [{"text": "x"}]})))
    (tmp_path / "manifest.json.out").write_bytes(lines_of.dump(ANSWERLESS["a manifest"][0]))

    found = meter(tmp_path, provider="bedrock", model="m", prices=FLAT)

    assert (found.usage.input_tokens, found.usage.output_tokens) == (30, 3)


def test_requests_among_answers_are_malformed_lines():
    found = meter([lines_of.dump(GOOD, ANSWERLESS["an input file"][0])], prices=FLAT)

    assert [line.reason for line in found.malformed_lines] == ["a_request"]
    assert found.cost.total is None
