"""Every `batchmeter` command that a page shows is one that there is, with options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from batchmeter.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = {"bash", "sh"}
INLINE = re.compile(r"`(batchmeter [^`]+)`")
END = {"|", ">", ">>", "2>&1", "&&", "||", ";", "&"}


def shown(text: str, page_blocks) -> Iterator[list[str]]:
    lines = [line for block in page_blocks if block.language in SHELLS for line in joined(block.text)]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in [*lines, *(" ".join(code.split()) for code in INLINE.findall(prose))]:
        found = re.search(r"(?:^|[|!;] ?)(batchmeter .*)", line)
        if found:
            yield until_the_end(shlex.split(found[1], comments=True))


def joined(script: str) -> list[str]:
    return script.replace("\\\n", " ").splitlines()


def until_the_end(words: list[str]) -> list[str]:
    return next((words[:index] for index, word in enumerate(words) if word in END), words)


def parse(words: list[str]) -> None:
    """As click does, without looking whether files are there; UsageError for what there is not."""
    command: click.Command = main
    context = click.Context(main, info_name=words.pop(0), **main.context_settings)
    while True:
        _, words, _ = command.make_parser(context).parse_args(words)
        if not isinstance(command, click.Group) or not words:
            return
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command {name!r}")
        context = click.Context(found, parent=context, info_name=name, **found.context_settings)
        command = found


def test_what_is_typed_can_be_typed(blocks):
    wrong, typed = {}, 0
    for page in PAGES:
        for words in shown(page.read_text(encoding="utf-8"), blocks(page)):
            typed += 1
            try:
                parse(list(words))
            except click.BadOptionUsage:
                pass  # prose names an option without a value for it
            except click.UsageError as error:
                wrong[f"{page.relative_to(ROOT)}: {' '.join(words)}"] = error.format_message()
    assert wrong == {}
    assert typed > 200


@pytest.mark.parametrize("wrong", ["sbmit in.jsonl", "submit in.jsonl --waits", "keys make", "--leger x.db stats"])
def test_what_cannot_be_typed_is_caught(wrong, blocks, tmp_path):
    page = tmp_path / "page.md"
    for text in (f"```sh\nbatchmeter {wrong} > out  # so\n```\n", f"Use `batchmeter {wrong}`.\n"):
        page.write_text(text)
        (words,) = shown(text, blocks(page))
        with pytest.raises(click.UsageError):
            parse(words)
