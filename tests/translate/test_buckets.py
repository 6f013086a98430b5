"""Ids of files in buckets: an object has one, any form of it is read, and nothing else is."""

from urllib.parse import quote

import pytest

from batchmeter.errors import NotFoundError, NotSupportedError
from batchmeter.models import FileObject
from batchmeter_bedrock import names as s3
from batchmeter_translate.buckets import folder_in, page_of_files
from batchmeter_vertex import names as gs

VENDORS = {"s3": s3, "gs": gs}
KEYS = ["in.jsonl", "a b+c=d%e&f.jsonl", "ü/日本.jsonl", "folder/", "a.b/..c/d..", "x" * 900, "publishers/p/models/m"]


@pytest.mark.parametrize("scheme", VENDORS)
def test_every_form_of_an_id_is_read(scheme):
    names = VENDORS[scheme]
    for key in KEYS:
        blob = names.Blob("bucket", key)
        for form in (blob.id, blob.uri, quote(blob.uri, safe="")):
            assert names.parse_file_id(form) == blob, form
        assert "/" not in blob.id, key
    for kind in ("output", "error"):
        view = names.View(kind, "job1")
        assert names.parse_file_id(view.id) == view


@pytest.mark.parametrize("scheme", VENDORS)
def test_ids_of_nothing_are_not_found(scheme):
    names, other = VENDORS[scheme], VENDORS["gs" if scheme == "s3" else "s3"]
    nothing = [
        "",
        "file-1",
        f"{scheme}-",
        f"{scheme}-!",
        f"{scheme}-/w",
        f"{scheme}-YQ",
        f"{scheme}://",
        f"{scheme}://b",
    ]
    dots = [f"{scheme}://b/..", f"{scheme}://../k", names.Blob("b", ".").id]
    theirs = [other.Blob("b", "k").id, other.Blob("b", "k").uri, other.View("output", "job1").id]
    for one in [*nothing, *dots, *theirs, f"{names.View('output', 'j').id}/x"]:
        with pytest.raises(NotFoundError, match="No such file"):
            pytest.fail(f"{one}: {names.parse_file_id(one)}")


def test_a_path_of_dots_leads_nowhere_else():
    """S3 gets a key's slashes as they are; Cloud Storage gets them escaped, and has such objects."""
    with pytest.raises(NotFoundError):
        s3.parse_file_id("s3://b/a/../c")
    assert gs.parse_file_id("gs://b/a/../c").path == "storage/v1/b/b/o/a%2F..%2Fc"


@pytest.mark.parametrize("scheme", VENDORS)
def test_a_broken_character_breaks_no_call(scheme):
    blob = VENDORS[scheme].parse_file_id(f"{scheme}://bucket/a\ud800")
    assert (blob.path[-4:], blob.id) == ("a%3F", VENDORS[scheme].Blob("bucket", "a?").id)


def test_tables_of_bigquery_are_refused():
    with pytest.raises(NotSupportedError):
        gs.parse_file_id("bq://project.table")


@pytest.mark.parametrize(
    ("bucket", "prefix", "folder"),
    [
        ("b", "batchmeter", ("b", "batchmeter")),
        ("s3://b/", "", ("b", "")),
        ("b/team/", "/p/", ("b", "team/p")),
        ("s3://b/team", "/", ("b", "team")),
    ],
)
def test_a_bucket_may_be_a_folder_in_one(bucket, prefix, folder):
    assert folder_in(bucket, prefix, "s3") == folder


def test_files_are_paged_by_any_id():
    files = [FileObject(id=name, created_at=at) for name, at in (("a", 1), ("b", 3), ("c", 3), ("d", None))]
    page = page_of_files(files, after=None, limit=3, order=None)
    assert ([one.id for one in page], page.first_id, page.last_id, page.has_more) == (["c", "b", "a"], "c", "a", True)
    page = page_of_files(files, after="a", limit=3, order=None)
    assert ([one.id for one in page], page.has_more) == (["d"], False)
    assert [one.id for one in page_of_files(files, after="a", limit=None, order="asc")] == ["b", "c"]
    page = page_of_files(files, after="d", limit=3, order="desc")
    assert (page.data, page.first_id, page.last_id, page.has_more) == ([], None, None, False)
    with pytest.raises(NotFoundError):
        page_of_files(files, after="nobody", limit=None, order=None)
