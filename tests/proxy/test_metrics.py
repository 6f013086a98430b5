"""Metrics: what Prometheus reads, that they are true, and that strangers cannot make them grow."""

import asyncio
from decimal import Decimal

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from batchmeter.access import CostGauge, access_of
from batchmeter.errors import LedgerError
from batchmeter.host import CostRow, CostSum, LoggerGauge
from batchmeter.spend.prune import prune
from batchmeter.spend.report import CostReport
from batchmeter_proxy import create_app
from batchmeter_proxy import metrics as metrics_module
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key
from batchmeter_proxy.metrics import Metrics
from batchmeter_proxy.traffic import Traffic

CHAT = "/v1/chat/completions"


def parsed(text):
    """Metric name -> {labels: value}."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def test_they_tell_what_happened(client, http, sdk, lines, clock):
    file = await sdk.files.create(file=("a.jsonl", lines(2)), purpose="batch")
    made = [await sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h") for _ in range(2)]
    clock.advance(60)
    await client.batches.retrieve(made[0].id)
    clock.advance(1400)
    settlement = await client.batches.wait(made[0].id, timeout=10)
    await client.deliverer.drain(5)
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = parsed(answer.text)
    assert found["batchmeter_batches_open"]["openai", "validating"] == 1
    assert found["batchmeter_batches_settled"]["openai", "completed"] == 1
    assert found["batchmeter_cost_known_usd"]["openai",] == pytest.approx(float(settlement.cost.total))
    assert found["batchmeter_cost_unpriced_lines"]["openai",] == 0
    assert found["batchmeter_deliveries_delivered"]["batchmeter.testing.recorder.Recorder",] == 3
    assert found["batchmeter_deliveries_pending"]["batchmeter.testing.recorder.Recorder",] == 0
    assert found["batchmeter_deliveries_oldest_pending_seconds"]["batchmeter.testing.recorder.Recorder",] == 0
    assert found["batchmeter_http_requests_total"]["POST", "/batches", "200"] == 2
    assert found["batchmeter_http_seconds_total"]["/batches",] > 0
    assert found["batchmeter_ledger_up"][()] == 1


async def test_strangers_cannot_make_labels(http):
    for number in range(20):
        await http.get(f"/v1/nonsense/{number}")
        await http.get(f"/v1/files/file_{number}")
        await http.request(f"X{number}", "/v1/files")
    requests = parsed((await http.get("/metrics")).text)["batchmeter_http_requests_total"]
    assert requests == {
        ("GET", "other", "404"): 20,
        ("GET", "/files/{file_id}", "404"): 20,
        ("OTHER", "other", "405"): 20,
    }


async def test_only_an_administrator_reads_them(client, http):
    _, mine = await create_key(await keyring_of(client), owner="ada")
    _, root = await create_key(await keyring_of(client), admin=True)
    assert (await http.get("/metrics")).status_code == 401
    assert (await http.get("/metrics", headers={"x-api-key": mine})).status_code == 403
    assert (await http.get("/metrics", headers={"x-api-key": root})).status_code == 200


class Ledger:
    """Two answers, and how often it was asked."""

    def __init__(self, costs=(), loggers=(), settled=()):
        self.gauged, self.loggers, self.settled, self.asked, self.broken = costs, loggers, settled, 0, False

    def now(self):
        return 100_000

    async def gauges(self):
        self.asked += 1
        if self.broken:
            raise LedgerError("away")
        return self.loggers

    async def following(self):
        return ()

    def heartbeat(self):
        return None

    async def cost_gauges(self):
        return self.gauged

    async def costs(self, **asked):
        return report(self.settled)


def settled(account, status, batches, **more):
    return CostRow(group=account, groups={"account": account, "status": status}, batches=batches, **more)


def report(rows, invented=0):
    total = CostSum(batches=sum(row.batches for row in rows))
    return CostReport(group_by="account,status", data=tuple(rows), total=total, invented=invented)


async def test_many_scrapes_ask_the_ledger_once():
    now = [0.0]
    ledger, metrics = Ledger(), Metrics(clock=lambda: now[0])
    for _ in range(50):
        await metrics.render(ledger, Traffic())
    assert ledger.asked == 1
    now[0] += 5
    ledger.broken = True
    found = parsed(await metrics.render(ledger, Traffic()))
    assert (ledger.asked, found["batchmeter_ledger_up"]) == (2, {(): 0})


async def test_accounts_and_statuses_are_bounded_and_escaped():
    costs = [CostGauge(f"openai#{n}", "in_progress", 1, 0, 0, 0) for n in range(300)]
    costs += [CostGauge('big"one\\\n', status, 50, 50, 0, 0) for status in ("completed", "weird", "odd")]
    sums = [settled('big"one\\\n', status, 50, known=Decimal("0.25")) for status in ("completed", "weird", "odd")]
    sums.append(settled("openai#299", "completed", 1))
    found = parsed(await Metrics().render(Ledger(costs, settled=sums), Traffic()))
    assert len(found["batchmeter_batches_open"]) <= 100 + 2
    assert sum(found["batchmeter_batches_open"].values()) == 300
    assert found["batchmeter_batches_open"]["other", "in_progress"] == 201
    assert found["batchmeter_batches_settled"]['big"one\\\n', "other"] == 100
    assert found["batchmeter_cost_known_usd"]['big"one\\\n',] == 0.75


async def test_sums_include_pruned_batches(client, http, sdk, lines, ended):
    file = await sdk.files.create(file=("a.jsonl", lines(2)), purpose="batch")
    made = await sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    settlement = await ended(made.id)
    await client.deliverer.drain(5)
    before = parsed(await Metrics().render(await access_of(client), Traffic()))
    assert await prune(client.ledger, settled_before=client.ledger.now() + 1) == 1
    after = parsed(await Metrics().render(await access_of(client), Traffic()))
    families = [f"batchmeter_{name}" for name in ("batches_settled", "cost_known_usd", "cost_unpriced_lines")]
    assert [after[name] for name in families] == [before[name] for name in families]
    assert after["batchmeter_cost_known_usd"]["openai",] == float(settlement.cost.known)


async def test_sums_that_are_not_added_up_yet_are_absent(monkeypatch):
    monkeypatch.setattr(metrics_module, "PATIENCE_SECONDS", 0)
    added = asyncio.Event()

    class Large(Ledger):
        async def costs(self, **asked):
            await added.wait()
            return report([settled("openai", "completed", 3)])

    now = [0.0]
    metrics = Metrics(clock=lambda: now[0])
    found = parsed(await metrics.render(Large(), Traffic()))
    assert "batchmeter_batches_open" not in found
    assert "batchmeter_batches_settled" not in found
    added.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    now[0] += 5
    assert parsed(await metrics.render(Large(), Traffic()))["batchmeter_batches_settled"] == {
        ("openai", "completed"): 3
    }


async def test_a_sandbox_s_sums_are_no_metrics():
    class Invented(Ledger):
        async def costs(self, **asked):
            return report([settled("sandbox", "completed", 3)], invented=3)

    assert "batchmeter_batches_settled" not in parsed(await Metrics().render(Invented(), Traffic()))


async def test_workers_count_together(tmp_path):
    one, other = Traffic(str(tmp_path)), Traffic(str(tmp_path))
    one.count("GET", "/batches", 200, 0.5)
    other.count("GET", "/batches", 200, 0.25)
    other.count("GET", None, 404, 0.25)
    one.write()
    other.write()
    (tmp_path / "9-cut.json").write_text('{"requests": [["GET"')
    for each in (one, other):
        found = parsed(await Metrics().render(Ledger(), each))
        assert found["batchmeter_http_requests_total"] == {("GET", "/batches", "200"): 2, ("GET", "other", "404"): 1}
        assert found["batchmeter_http_seconds_total"] == {("/batches",): 0.75, ("other",): 0.25}


async def test_a_backlog_shows():
    loggers = [LoggerGauge("otel", 7, 2, 1, 40_000), LoggerGauge("file", 0, 0, 9, None)]
    found = parsed(await Metrics().render(Ledger(loggers=loggers), Traffic()))
    assert found["batchmeter_deliveries_pending"] == {("otel",): 7, ("file",): 0}
    assert found["batchmeter_deliveries_dead"]["otel",] == 2
    assert found["batchmeter_deliveries_oldest_pending_seconds"] == {("otel",): 60, ("file",): 0}


async def test_a_client_that_left_is_counted(client):
    app = create_app(client)
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/batches", "query_string": b"", "headers": []}
    await app({**scope, "client": ("127.0.0.1", 1)}, receive, send)
    assert sent == []
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        requests = parsed((await http.get("/metrics")).text)["batchmeter_http_requests_total"]
    assert requests == {("POST", "/batches", "499"): 1}
