"""Every status, cause, kind and layout of a reconciliation is explained on its page."""

from pathlib import Path

from batchmeter_reconcile.causes import CAUSES
from batchmeter_reconcile.document import WORST
from batchmeter_reconcile.figures import TOKEN_KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reconcile.md"


def test_statuses_causes_and_kinds_are_explained() -> None:
    text = PAGE.read_text("utf-8")
    assert [word for word in (*WORST, *CAUSES, *TOKEN_KINDS, "requests", "all") if f"`{word}`" not in text] == []
