"""The picture in the README is what the demo prints."""

import re
import runpy
from html import unescape
from pathlib import Path

from tests.warm_python import WARM

DOCS = Path(__file__).parents[2] / "docs"


def text_of(picture):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", picture.read_text(encoding="utf-8"))))


def facts(text):
    """The part that does not change from run to run."""
    return re.findall(r"\$0\.\d+|[\d,]+ requests|\w+ succeeded|(?:acreate_batch|batch_success)|gpt-[\w-]+", text)


FAST = "import batchmeter_sandbox.commands as sandbox; sandbox.SPEED = 1e6; from batchmeter.cli import main; main()"
"""The demo lets one watch its batch for four seconds."""


def test_the_script_draws_what_is_in_the_repository(tmp_path):
    drawn = tmp_path / "demo.svg"
    runpy.run_path(str(DOCS / "demo.py"))["main"](drawn, [WARM, "-c", FAST])
    found = facts(text_of(drawn))
    assert {"acreate_batch", "batch_success", "gpt-5-mini-2025-08-07"} <= set(found)
    assert found == facts(text_of(DOCS / "demo.svg")), "python docs/demo.py draws it again"
