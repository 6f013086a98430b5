"""The importer's rules, refused before a job could fail on them."""

import json

import pytest

from batchmeter.errors import InvalidInputError
from batchmeter.providers import CallOptions
from batchmeter_translate.untranslatable import UntranslatableError
from batchmeter_vertex.importer import MAX_DEPTH, Importer, pruned

OPTIONS = CallOptions()


def deep(levels):
    value = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


def admit(*rows):
    importer = Importer()
    return [importer.admit(row, line) for line, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": "x"}, {"a": 1}], "`a` is a number here and text on line 1"),
        ([{"a": "x"}, {"a": ["x"]}], "an array here and text on line 1"),
        ([{"a": [{"b": 1}]}, {"a": [{"b": True}]}], "`a[].b` is a boolean here"),
        ([{"a": [1, "x"]}], "`a[]` is text here and a number on line 1"),
        ([{"Name": 1}, {"name": 1}], "spelt `Name` on line 1"),
        ([{"$defs": {"a": 1}}], "'$defs' cannot be a column name"),
        ([{"first name": 1}], "cannot be a column name"),
        ([{"1st": 1}], "cannot be a column name"),
        ([{"_PARTITIONTIME": 1}], "cannot be a column name"),
        ([{"a": [None]}], "null in an array"),
        ([{"a": [{}]}], "an empty object in an array"),
        ([{"a": [[1]]}], "an array directly in an array"),
        ([deep(MAX_DEPTH + 2)], "nested more than 15 deep"),
    ],
)
def test_refused(rows, said):
    with pytest.raises(UntranslatableError) as caught:
        admit(*rows)
    assert said in str(caught.value)


def test_admitted():
    rows = [{"a": 1, "b": {"c": []}}, {"a": 1.5}, {"b": {"d": "x"}}, deep(MAX_DEPTH + 1)]
    assert admit(*rows[:3]) == rows[:3]
    assert admit(rows[3]) == [rows[3]]


def test_a_refused_row_fixes_nothing():
    importer = Importer()
    with pytest.raises(UntranslatableError):
        importer.admit({"x": "text", "y": [None]}, 1)
    assert importer.admit({"x": 1}, 2) == {"x": 1}


def test_nulls_and_empty_objects_go():
    assert pruned({"a": None, "b": {}, "c": {"d": {"e": None}}, "f": 0, "g": "", "h": []}) == {"f": 0, "g": "", "h": []}


def test_tool_results_that_clash_travel_as_text():
    def row(response):
        return {"request": {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": response}}]}]}}

    rows = admit(row({"x": 1}), row({"x": "one"}), row({"bad key": 1}))
    results = [r["request"]["contents"][0]["parts"][0]["functionResponse"]["response"] for r in rows]
    assert results == [{"x": 1}, {"result": '{"x": "one"}'}, {"result": '{"bad key": 1}'}]


async def test_every_fault_of_a_file_by_line_and_id(provider, upload, vertex, chat):
    def calling(name, arguments):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps(arguments)}}
        line = chat(name)
        line["body"]["messages"].append({"role": "assistant", "tool_calls": [call]})
        return line

    rows = [
        calling("a", {"x": 1}),
        calling("b", {"x": "one"}),
        chat("c", n=99),
        chat("a"),
        chat("d", model="gemini-2.5-pro"),
        calling("e", {"no column": 1}),
    ]
    with pytest.raises(InvalidInputError) as caught:
        await provider.create_file(upload(rows), OPTIONS)
    found = [(problem.line, problem.custom_id, problem.code) for problem in caught.value.problems]
    assert found == [
        (2, "b", "invalid_row"),
        (3, "c", "invalid_value"),
        (4, "a", "duplicate_custom_id"),
        (5, "d", "mismatched_model"),
        (6, "e", "invalid_row"),
    ]
    assert "args.x" in str(caught.value)
    assert vertex.bucket.names() == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "empty_file"),
        (b"not json", "invalid_json_line"),
        (b'{"custom_id":"a","method":"POST","url":"/v1/responses","body":{"model":"gemini-2.5-flash"}}', "invalid_url"),
    ],
)
async def test_files_that_are_none(provider, upload, line, code):
    with pytest.raises(InvalidInputError) as caught:
        await provider.create_file(upload(line), OPTIONS)
    assert caught.value.problems[0].code == code


@pytest.mark.parametrize("model", ["meta/llama-4-maverick", "a/b/c/d"])
async def test_models_without_a_translation(provider, upload, chat, model):
    with pytest.raises(InvalidInputError) as caught:
        await provider.create_file(upload([chat("a", model=model), chat("b", model=model)]), OPTIONS)
    assert {problem.code for problem in caught.value.problems} == {"model_not_found"}


async def test_models_at_the_wrong_endpoint(provider, upload, chat):
    with pytest.raises(InvalidInputError, match="is an embedding model"):
        await provider.create_file(upload([chat("a", model="gemini-embedding-001")]), OPTIONS)
    body = {"model": "gemini-2.5-flash", "input": "a"}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    with pytest.raises(InvalidInputError, match="is no embedding model"):
        await provider.create_file(upload([row]), OPTIONS)


async def test_half_a_character_is_refused_but_an_id_may_hold_it(provider, upload, vertex, chat):
    with pytest.raises(InvalidInputError, match="half a character"):
        await provider.create_file(upload([chat("a", "\ud83d")]), OPTIONS)
    file = await provider.create_file(upload([chat("id \ud83d")]), OPTIONS)
    [row] = vertex.bucket.names("batchmeter/rows/")
    assert json.loads(vertex.bucket.get(row))["custom_id"].startswith("bmx-")
    assert file.warnings == []


async def test_many_faults_are_counted(provider, upload, chat):
    with pytest.raises(InvalidInputError) as caught:
        await provider.create_file(upload([chat(str(i), n=99) for i in range(50)]), OPTIONS)
    assert len(caught.value.problems) == 20
    assert "30 more" in str(caught.value)


async def test_warnings_are_told_with_the_file(provider, upload, chat, caplog):
    file = await provider.create_file(upload([chat("a"), chat("b", user="u"), chat("c", user="v")]), OPTIONS)
    assert file.warnings == ["`user` left out of 2 requests (first: line 2): Gemini has no end-user id"]
    assert "`user` left out" in caplog.text
