"""The picture in the README is what the demo prints."""

import re
import subprocess
from html import unescape
from pathlib import Path

from tests.warm_python import WARM

DOCS = Path(__file__).parents[2] / "docs"


def text_of(picture):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", picture.read_text(encoding="utf-8"))))


def facts(text):
    """The part that does not change from run to run."""
    return re.findall(r"\$0\.\d+|[\d,]+ requests|\w+ succeeded|(?:acreate_batch|batch_success)|gpt-[\w-]+", text)


def test_the_script_draws_what_is_in_the_repository(tmp_path):
    drawn = tmp_path / "demo.svg"
    done = subprocess.run([WARM, str(DOCS / "demo.py"), str(drawn)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = facts(text_of(drawn))
    assert {"acreate_batch", "batch_success", "gpt-5-mini-2025-08-07"} <= set(found)
    assert found == facts(text_of(DOCS / "demo.svg")), "python docs/demo.py draws it again"
