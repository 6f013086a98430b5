"""Alerts in every logger that takes them, and every event as a sentence in a chat."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from batchmeter.config import validated
from batchmeter.errors import ConfigError
from batchmeter.events import register_event
from batchmeter.models import Attribution
from batchmeter_budgets import Alert, BudgetAlert, register_events
from batchmeter_budgets.events import AlertPeriod
from batchmeter_datadog.notes import note_of_alert
from batchmeter_datadog.settings import DatadogSettings
from batchmeter_datadog.tags import Tags
from batchmeter_file.cloudevent import from_line
from batchmeter_file.logger import FileLogger, FileSettings
from batchmeter_reconcile import ReconcileDrift
from batchmeter_reconcile import register_events as register_drift
from batchmeter_webhook import WebhookLogger, WebhookSettings
from batchmeter_webhook.chat import sentence

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _kinds():
    register_events(register_event)
    register_drift(register_event)


def budget_alert(**changes):
    fields = {
        "id": "5b1e1f3c-0000-5000-8000-000000000001",
        "time": NOW,
        "kind": "threshold",
        "budget": "search",
        "threshold": 80,
        "limit": Decimal(500),
        "spent": Decimal("401.1"),
        "reserved": Decimal("86.5"),
        "uncertain": Decimal(0),
        "period": AlertPeriod(start=NOW),
        "message": "Budget 'search' has 80 % of $500.00 taken: $401.10 spent, $86.50 reserved.",
        "attribution": Attribution(team="search"),
        **changes,
    }
    return BudgetAlert(**fields)


def logger_alert():
    return Alert(
        id="a-1", time=NOW, kind="logger_owed", subject="langfuse", hours=2, message="Logger langfuse is owed."
    )


def test_the_file_logger_keeps_alerts_that_are_read_back(tmp_path):
    logger = FileLogger(FileSettings(path=tmp_path / "events.jsonl"))
    for event in (budget_alert(), logger_alert()):
        logger.budget_alert(event) if event.type == "budget_alert" else logger.alert(event)
    first, second = (tmp_path / "events.jsonl").read_bytes().splitlines()
    head = json.loads(first)
    assert (head["type"], head["source"], head["subject"]) == (
        "dev.batchmeter.budget_alert.v1",
        "/batchmeter",
        "budget_alert",
    )
    assert head["data"]["limit"] == "500"
    assert (from_line(first), from_line(second)) == (budget_alert(), logger_alert())


def drift():
    return ReconcileDrift(
        id="r-1", time=NOW, account="openai", kind="price_drift", reconciliation="rec_1", first_day=NOW.date(),
        last_day=NOW.date(), models=("gpt-5-mini",), difference_usd=Decimal("1.25"), message="It costs twice as much.",
    )  # fmt: skip


async def test_a_drift_reaches_every_logger_that_takes_alerts(tmp_path, post):
    logger = FileLogger(FileSettings(path=tmp_path / "events.jsonl"))
    logger.reconcile_drift(drift())
    assert from_line((tmp_path / "events.jsonl").read_bytes()) == drift()
    slack = json.loads((await post(drift(), format="slack", pages="https://b.example/ui")).body)
    assert slack["text"] == "It costs twice as much. <https://b.example/ui/reconcile/rec_1|Open>"
    note = note_of_alert(drift(), Tags(DatadogSettings()).of_alert(drift()))
    assert note.title.startswith("Reconcile drift: price drift")


def test_datadog_gets_an_alert_as_an_entry_of_its_event_stream():
    tags = Tags(DatadogSettings()).of_alert(budget_alert())
    note = note_of_alert(budget_alert(), tags)
    assert (note.title, note.alert, note.group) == ("Budget alert: threshold search", "warning", "search")
    assert {"kind:threshold", "budget:search", "team:search"} <= set(note.tags)
    assert note_of_alert(budget_alert(kind="refused"), tags).alert == "error"


def test_otel_sends_an_alert_as_a_log_event_with_numbers():
    from batchmeter_otel.logs import alert_of
    from batchmeter_otel.resource import resource

    record = alert_of(budget_alert(), resource()).log_record
    assert (record.event_name, record.severity_text) == ("batchmeter.budget_alert", "WARN")
    assert record.body == budget_alert().message
    assert record.attributes["batchmeter.alert.spent"] == 401.1
    assert record.attributes["batchmeter.alert.budget"] == "search"


def test_each_event_is_one_sentence_for_people(events):
    assert sentence(budget_alert()) == budget_alert().message
    assert sentence(events.created()).startswith("Batch batch_abc123 of openai was submitted")
    done = sentence(events.succeeded())
    assert "is completed after" in done
    assert "requests succeeded, $" in done
    assert "is expired" in sentence(events.failed())
    assert "\n" not in sentence(budget_alert(message="a\nb"))


@pytest.fixture
async def post(intake):
    made = []

    async def send(event, **settings):
        here = {"url": intake.url + "/hook", "allow_private": True, "allow_http": True, **settings}
        made.append(WebhookLogger(WebhookSettings(**here)))
        await getattr(made[-1], event.type)(event)
        return intake.requests[-1] if intake.requests else None

    yield send
    for one in made:
        await one.shutdown()


async def test_slack_teams_and_discord_get_what_they_take(post):
    event = budget_alert(message="<!channel> & *bold* [x](http://evil)")
    pages = "https://batches.example.com/ui"
    link = f"{pages}/budgets/search"
    slack = json.loads((await post(event, format="slack", pages=pages)).body)
    assert slack["text"] == f"&lt;!channel&gt; &amp; *bold* [x](http://evil) <{link}|Open>"
    teams = json.loads((await post(event, format="teams", pages=pages)).body)
    card = teams["attachments"][0]["content"]
    assert (card["type"], card["actions"][0]["url"]) == ("AdaptiveCard", link)
    assert r"\[x\]\(http://evil\)" in card["body"][0]["text"]
    discord = json.loads((await post(event, format="discord")).body)
    assert discord["allowed_mentions"] == {"parse": []}
    assert r"\<!channel\>" in discord["content"]


async def test_a_chat_needs_no_secret_and_gets_only_the_kinds_it_wants(post, events, intake):
    request = await post(events.failed(), format="slack", only=["batch_failure", "budget_alert"])
    assert "webhook-signature" not in {name.lower() for name in request.headers}
    await post(events.created(), format="slack", only=["batch_failure"])
    assert len(intake.requests) == 1


async def test_the_standard_webhook_posts_alerts_whole_and_signed(post):
    request = await post(budget_alert(), secret="whsec_" + "YSBuZXcgc2VjcmV0IG9mIDMyIGJ5dGVzLi4uLi4uLi4=")
    assert json.loads(request.body)["data"]["budget"] == "search"
    assert "webhook-signature" in {name.lower() for name in request.headers}
    with pytest.raises(ConfigError, match="secret is not set"):
        validated(WebhookSettings, {"url": "https://example.com/x"}, "[plugins.webhook]")
