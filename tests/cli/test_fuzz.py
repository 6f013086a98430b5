"""Any arguments: a command ends with an exit code and one clear line, never with a traceback."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchmeter.cli import main

EXAMPLES = int(os.environ.get("BATCHMETER_FUZZ_EXAMPLES", "150"))
ENDLESS = {"track", "top", "ui", "demo", "sandbox serve", "sandbox", "serve", "keys", "new-plugin"}
"""Commands that go on until they are stopped, or write folders; their arguments have tests of their own."""
FILES = ("requests.jsonl", "batchmeter.toml", "ledger.db", "folder", "missing/below", "binary", "", "-", ".", "x" * 300)
TEXTS = (
    *FILES, "openai", "sandbox", "batch_1", "gpt-5-mini", "sandbox/gpt-5-mini", "2026-11-30", "2026-02-30", "90d", "99999999999999d",
    "0", "-1", "1e400", "9" * 400, "nan", "٣", "\udcff",  "a\x1b[2Jb", "é", "a=b", "=", "a=", "{}", "[]", '{"a": 1}', "--", "%s", "sqlite://", "postgresql://x:y@[::1",
    "http://[", "12:00", "0001-01-01", "9999-12-31T23:59:59Z", "P1D",
)  # fmt: skip


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name="batchmeter")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        here = (*path, name)
        if " ".join(here) in ENDLESS:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, here)
        yield here, command


COMMANDS = list(commands(main))


@st.composite
def calls(draw) -> list[str]:
    path, command = draw(st.sampled_from(COMMANDS))
    value = st.sampled_from(TEXTS) | st.text(
        st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8
    )
    words = [*path]
    for parameter in draw(st.lists(st.sampled_from(command.params), max_size=4)) if command.params else []:
        if parameter.name in {"help", "follow", "every"}:  # `--follow` has no end
            continue
        if isinstance(parameter, click.Option):
            words.append(draw(st.sampled_from(parameter.opts + parameter.secondary_opts)))
        if isinstance(parameter, click.Argument) or not (parameter.is_flag or parameter.count):
            kinds = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
            words.append(draw(st.sampled_from(list(kinds)) | value if kinds else value))
    options = draw(st.sampled_from([[], [], [], ["--ledger", draw(value)], ["--config", draw(value)]]))
    return [*options, *words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with something of each kind, and a ledger with a settled batch."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "requests.jsonl").write_text(
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
        '"body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "x"}]}}\n'
    )
    (folder / "batchmeter.toml").write_text(
        'ledger = "ledger.db"\n\n[accounts.sandbox]\nprovider = "sandbox"\nspeed = 1000000\n'
    )
    (folder / "binary").write_bytes(bytes(range(256)) * 4)
    (folder / "folder").mkdir()
    return folder


@pytest.fixture(scope="module")
def ready(folder):
    before = Path.cwd()
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "BATCHMETER_", "AZURE_"))]:
        patch.delenv(name)
    patch.setenv("BATCHMETER_PLUGINS", "file")
    patch.setenv("HOME", str(folder))
    patch.setenv("XDG_DATA_HOME", str(folder / "data"))
    os.chdir(folder)
    done = CliRunner().invoke(main, ["submit", "requests.jsonl", "--provider", "sandbox", "--wait"])
    assert done.exit_code == 0, done.output
    yield folder
    os.chdir(before)
    patch.undo()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES < 1000,
)
@given(words=calls())
def test_any_call_ends_with_an_exit_code(ready, words):
    result = CliRunner().invoke(main, words, input=b"")
    assert isinstance(result.exception, SystemExit | None), (words, result.exception)
    assert result.exit_code in {0, 1, 2}, words
    if result.exit_code:
        assert result.stderr.strip(), (words, "says nothing")
