"""Any custom_id comes back byte for byte."""

import json
import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter_translate import ids
from batchmeter_vertex.answers import Answers, custom_id_of
from batchmeter_vertex.rows import RowWriter

ANYTHING = st.text(st.characters(), max_size=200)


@given(ANYTHING)
def test_keys_are_plain_text_to_any_importer(name):
    key = ids.encode(name)
    assert re.fullmatch(r"bm[cx]-[A-Za-z0-9_-]*", key)
    assert ids.decode(key) == name


@given(ANYTHING)
def test_labels_are_what_google_allows(name):
    labels = ids.to_labels(name)
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in labels)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", value) for value in labels.values())
    assert ids.from_labels(labels) == name


def test_an_id_too_long_for_labels_has_its_key():
    name = "é" * 2000
    assert ids.to_labels(name) == {}
    assert ids.decode(ids.encode(name)) == name


@settings(max_examples=30, deadline=None)
@given(
    st.lists(ANYTHING.filter(bool), min_size=1, max_size=6, unique=True),
    st.randoms(),
    st.sampled_from(["key", "labels"]),
)
async def test_through_a_whole_file_in_any_order(names, shuffling, echoed):
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}
    rows = await rows_of([(name, body) for name in names], "/v1/chat/completions")
    shuffling.shuffle(rows)
    if echoed == "labels":
        assert [custom_id_of({"request": row["request"]}) for row in rows] == [
            ids.decode(row["custom_id"]) for row in rows
        ]
    assert {custom_id_of(row) for row in rows} == set(names)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(ANYTHING.filter(bool), st.integers(1, 5), min_size=1, max_size=6), st.integers())
async def test_vectors_are_put_together_in_any_order(requests, seed):
    lines = [(name, {"model": "gemini-embedding-001", "input": ["x"] * count}) for name, count in requests.items()]
    rows = await rows_of(lines, "/v1/embeddings")
    random.Random(seed).shuffle(rows)

    async def answered():
        for row in rows:
            index = int(re.search(r"#(\d+)/", row["key"])[1])
            yield json.dumps({"key": row["key"], "response": {"embedding": {"values": [index]}}}).encode() + b"\n"

    made = b"".join([block async for block in Answers("output", "m", "/v1/embeddings").translated(answered())])
    found = {line["custom_id"]: line["response"]["body"]["data"] for line in map(json.loads, made.splitlines())}
    assert {name: [item["embedding"] for item in data] for name, data in found.items()} == {
        name: [[index] for index in range(count)] for name, count in requests.items()
    }


async def rows_of(requests, url):
    writer = RowWriter("in.jsonl", [])
    made = b""
    for name, body in requests:
        line = {"custom_id": name, "method": "POST", "url": url, "body": body}
        made += await writer.feed(json.dumps(line).encode() + b"\n")
    made += await writer.close()
    return [json.loads(line) for line in made.split(b"\n") if line]
