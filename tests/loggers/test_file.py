"""The file logger: what a line is, and what crashes, other processes and full disks do to it."""

import json
import os
import resource
import signal
import stat
import subprocess
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from cloudevents.core.formats.json import JSONFormat
from pydantic import ValidationError
from tests.warm_python import WARM

from batchmeter.errors import ConfigError
from batchmeter_file import FileLogger, FileSettings, read_events
from batchmeter_file.cloudevent import to_line

NO_COST = {"cost": {"total": None, "known": "0.000738", "unknown": {"unknown_model": 2}}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "events.jsonl"


def logger(path, **settings) -> FileLogger:
    return FileLogger(FileSettings(path=path, **settings))


def test_each_hook_writes_a_line_the_official_reader_accepts(path, events):
    log = logger(path)
    log.acreate_batch(events.created())
    log.batch_success(events.succeeded())
    log.batch_failure(events.failed("batch_2", account="azure eu/ö"))
    lines = path.read_bytes().splitlines()
    read = [JSONFormat().read(None, line) for line in lines]
    assert [event.get_type() for event in read] == [
        "dev.batchmeter.acreate_batch.v1",
        "dev.batchmeter.batch_success.v1",
        "dev.batchmeter.batch_failure.v1",
    ]
    assert [event.get_subject() for event in read] == ["batch_abc123", "batch_abc123", "batch_2"]
    assert read[1].get_id() == events.succeeded().id
    assert read[1].get_time() == events.succeeded().time
    assert read[1].get_extension("traceparent") == events.succeeded().traceparent
    assert read[2].get_source() == "/batchmeter/openai/azure%20eu%2F%C3%B6"


def test_money_is_a_string_and_unknown_is_null(path, events):
    log = logger(path)
    log.batch_success(events.succeeded())
    log.batch_failure(events.failed(**NO_COST))
    first, second = (json.loads(line)["data"] for line in path.read_bytes().splitlines())
    assert first["cost"]["total"] == "0.1725015"
    assert first["models"]["gpt-4.1-nano-2025-04-14"]["cost"] == "0.0000015"
    assert (second["cost"]["total"], second["cost"]["known"]) == (None, "0.000738")


def test_events_read_back_equal(path, events):
    log = logger(path)
    sent = [events.created(), events.succeeded(), events.failed("batch_2", metadata={"name": "naïve\u2028\nline"})]
    log.acreate_batch(sent[0])
    log.batch_success(sent[1])
    log.batch_failure(sent[2])
    back = list(read_events(path))
    assert back == sent
    assert back[1].cost.total == Decimal("0.1725015")


def test_a_redelivery_is_the_same_bytes(path, events):
    log = logger(path)
    log.batch_success(events.succeeded())
    log.batch_success(type(events.succeeded()).model_validate_json(events.succeeded().model_dump_json()))
    first, second = path.read_bytes().splitlines()
    assert first == second


def test_the_file_is_ours_and_the_groups_only(path, events):
    old = os.umask(0)
    try:
        logger(path).acreate_batch(events.created())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_sync_modes_write_the_same(path, events, fsync):
    log = logger(path, fsync=fsync)
    for number in range(3):
        log.acreate_batch(events.created(f"batch_{number}"))
    log.shutdown()
    assert [event.batch_id for event in read_events(path)] == ["batch_0", "batch_1", "batch_2"]


def test_rotation_by_size_keeps_the_newest(path, events):
    size = len(to_line(events.created("batch_0")))
    log = logger(path, max_bytes=2 * size + 10, keep=2)
    for number in range(9):
        log.acreate_batch(events.created(f"batch_{number}"))
    names = sorted(entry.name for entry in path.parent.iterdir())
    assert names == [".events.jsonl.lock", "events.jsonl", "events.jsonl.3", "events.jsonl.4"]
    assert [event.batch_id for event in read_events(path)] == [f"batch_{number}" for number in range(4, 9)]


def test_a_record_larger_than_max_bytes_gets_a_file_of_its_own(path, events):
    log = logger(path, max_bytes=10)
    log.acreate_batch(events.created("batch_0"))
    log.acreate_batch(events.created("batch_1"))
    assert [entry.batch_id for entry in read_events(path)] == ["batch_0", "batch_1"]
    assert len(path.read_bytes().splitlines()) == 1


def test_rotation_by_age_counts_from_the_files_beginning(path, events):
    log = logger(path, max_age="1d")
    log.acreate_batch(events.created("batch_0"))
    log.acreate_batch(events.created("batch_1"))
    lock = path.with_name(".events.jsonl.lock")
    yesterday = time.time() - timedelta(days=1, minutes=1).total_seconds()
    os.utime(lock, (yesterday, yesterday))
    log.acreate_batch(events.created("batch_2"))
    log.acreate_batch(events.created("batch_3"))
    assert len(path.with_name("events.jsonl.1").read_bytes().splitlines()) == 2
    assert len(path.read_bytes().splitlines()) == 2


WRITER = """
import sys, json
from batchmeter.events import BatchCreated
from batchmeter_file import FileLogger, FileSettings
path, payload, worker = sys.argv[1:]
log = FileLogger(FileSettings(path=path, fsync="never", max_bytes=20_000))
event = BatchCreated.model_validate_json(payload)
for number in range(250):
    log.acreate_batch(event.model_copy(update={"batch_id": f"{worker}-{number}", "id": f"{worker}-{number}"}))
"""


def test_four_processes_rotation_and_logrotate_lose_and_tear_nothing(path, events):
    payload = events.created(metadata={"pad": "x" * 400}).model_dump_json()
    workers = [
        subprocess.Popen([WARM, "-c", WRITER, path, payload, str(number)], cwd=path.parent.parent)
        for number in range(4)
    ]
    moved = 0
    while any(worker.poll() is None for worker in workers):
        if path.exists() and moved < 20:
            try:  # what logrotate does, without our lock
                path.rename(path.with_name(f"moved-{moved}"))
                moved += 1
            except FileNotFoundError:
                continue
        time.sleep(0.005)
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    files = [entry for entry in path.parent.iterdir() if not entry.name.endswith(".lock")]
    ids = sorted(json.loads(line)["id"] for entry in files for line in entry.read_bytes().splitlines())
    assert ids == sorted(f"{worker}-{number}" for worker in range(4) for number in range(250))
    assert moved > 0
    assert path.with_name("events.jsonl.9").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from batchmeter_file.appender import Appender, _locked
appender = Appender(Path(sys.argv[1]))
with _locked(appender.lock_path):
    file = os.open(appender.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b'{"specversion":"1.0","id":"to')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_line_torn_by_sigkill_spoils_only_itself(path, events):
    log = logger(path)
    log.acreate_batch(events.created("batch_0"))
    killed = subprocess.run([WARM, "-c", KILLED, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    log.acreate_batch(events.created("batch_1"))
    files = read_events(path)
    assert [event.batch_id for event in files] == ["batch_0", "batch_1"]
    assert files.skipped == 1
    assert path.read_bytes().count(b"\n") == 3


def test_a_full_disk_raises_and_leaves_no_torn_line(path, events):
    log = logger(path)
    log.acreate_batch(events.created("batch_0"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="only 100 of"):
            log.acreate_batch(events.created("batch_1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    log.acreate_batch(events.created("batch_1"))
    assert [event.batch_id for event in read_events(path)] == ["batch_0", "batch_1"]


def test_an_unwritable_folder_raises(tmp_path, events):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        logger(tmp_path / "file" / "events.jsonl").acreate_batch(events.created())


def test_foreign_lines_are_skipped_and_counted(path, events):
    log = logger(path)
    log.acreate_batch(events.created())
    with path.open("ab") as file:
        file.write(b'[1]\n{"data": {"type": "other"}}\n\xff\xfe\n\n')
    files = read_events(path)
    assert (len(list(files)), files.skipped) == (1, 4)


def test_reading_a_file_that_is_not_there_says_so(path):
    path.parent.mkdir()
    with pytest.raises(FileNotFoundError, match=r"events\.jsonl"):
        list(read_events(path))


def test_a_folder_as_path_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        logger(tmp_path)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("max_age", "12h", timedelta(hours=12)),
        ("max_age", "90", timedelta(seconds=90)),
        ("max_age", 3600, timedelta(hours=1)),
        ("max_bytes", "100MB", 100_000_000),
        ("max_bytes", "4096", 4096),
    ],
)
def test_sizes_and_ages_are_written_as_people_do(path, setting, value, expected):
    assert getattr(FileSettings(path=path, **{setting: value}), setting) == expected


@pytest.mark.parametrize(
    "wrong", [{"max_age": "soon"}, {"max_age": 0}, {"max_bytes": 0}, {"keep": 0}, {"fsync": "x"}, {"file": "x"}]
)
def test_wrong_settings_are_refused(path, wrong):
    with pytest.raises(ValidationError):
        FileSettings(path=path, **wrong)
