"""Events as one sentence each, in the words that Slack, Teams and Discord take at a webhook's address."""

import json
from typing import Any, Literal
from urllib.parse import quote

from batchmeter.events import AlertEvent, BatchCreated, BatchFailed, BatchSucceeded

Chat = Literal["slack", "teams", "discord"]
Told = BatchCreated | BatchSucceeded | BatchFailed | AlertEvent
_LONGEST = 1_900
"""Characters: Discord takes 2,000."""


def chat_body(event: Told, chat: Chat, pages: str) -> bytes:
    """The same bytes for the same event. `pages`: the address of the web pages, empty for no link."""
    text, link = sentence(event)[:_LONGEST], _link(event, pages)
    return json.dumps(_BODIES[chat](text, link), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def sentence(event: Told) -> str:
    """For people, without a line break."""
    if isinstance(event, AlertEvent):
        return " ".join(event.message.split())
    whose = event.attribution.team or event.attribution.user
    by = f" for {whose}" if whose else ""
    name = f"Batch {event.batch_id} of {event.account}"
    if isinstance(event, BatchCreated):
        word = "found" if event.adopted else "submitted"
        return " ".join(f"{name} was {word}{by}: {event.endpoint or 'no endpoint'}.".split())
    counts, seconds = event.request_counts, event.times.total_seconds
    took = "" if seconds is None else f" after {_duration(seconds)}"
    again = f" Correction {event.revision}." if event.revision > 1 else ""
    done = f"{counts.succeeded:,} of {counts.total:,} requests succeeded, {_cost(event)}."
    return " ".join(f"{name}{by} is {event.status}{took}: {done}{again}".split())


def _cost(event: BatchSucceeded | BatchFailed) -> str:
    cost = event.cost
    if cost.total is not None:
        return f"${cost.total:,.4f}" if cost.total < 1 else f"${cost.total:,.2f}"
    return f"at least ${cost.known:,.4f}" if cost.known else "its cost is not known"


def _duration(seconds: float) -> str:
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.0f} s"


def _link(event: Told, pages: str) -> str:
    if not pages:
        return ""
    if isinstance(event, AlertEvent) and (budget := getattr(event, "budget", None)):
        return f"{pages}/budgets/{quote(str(budget), safe='')}"
    if isinstance(event, AlertEvent) and (found := getattr(event, "reconciliation", None)):
        return f"{pages}/reconcile/{quote(str(found), safe='')}"
    if event.batch_id:
        return f"{pages}/batches/{quote(event.account, safe='')}/{quote(event.batch_id, safe='')}"
    return pages


def _slack(text: str, link: str) -> dict[str, Any]:
    """Three characters are Slack's own: without them a name can call nobody and hide no link."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{plain} <{link}|Open>" if link else plain, "unfurl_links": False}


def _teams(text: str, link: str) -> dict[str, Any]:
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": _bare(text), "wrap": True}],
    }
    if link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": link}]
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }


def _discord(text: str, link: str) -> dict[str, Any]:
    return {"content": f"{_bare(text)} <{link}>" if link else _bare(text), "allowed_mentions": {"parse": []}}


def _bare(text: str) -> str:
    """Markdown's marks stand for themselves."""
    return "".join(f"\\{letter}" if letter in "\\*_[]()~`|<>" else letter for letter in text)


_BODIES = {"slack": _slack, "teams": _teams, "discord": _discord}
