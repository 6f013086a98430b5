"""Writes the reference pages from the code they describe; `--check` only says which are stale (exit code 1).

.venv/bin/python docs/generate.py [--check]
"""

import argparse
import sys
from pathlib import Path

from _pages import cli, configuration, events, hooks, openapi, profiles, python, views

HERE = Path(__file__).resolve().parent
PAGES = {
    "hooks.md": hooks.page,
    "events.md": events.page,
    "providers/vendors.md": profiles.page,
    "reference/cli.md": cli.page,
    "reference/configuration.md": configuration.page,
    "reference/python.md": python.page,
    "reference/views.md": views.page,
    "../plugins/batchmeter_proxy/openapi.json": openapi.page,
}
"""File below docs/ -> what makes it."""


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if not _fresh(HERE / name, page(), write=not check)]
    for name in stale:
        print(f"docs/{name} {'is stale: run docs/generate.py' if check else 'written'}")
    return 1 if check and stale else 0


def _fresh(path: Path, text: str, *, write: bool) -> bool:
    """Whether the file was what it should be."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return False


if __name__ == "__main__":
    sys.exit(main())
